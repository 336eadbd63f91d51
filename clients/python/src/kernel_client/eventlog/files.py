"""Opening a log: gzipped or not by its first bytes, XML or not by its first character."""

import gzip
import io
import zlib
from pathlib import Path
from typing import BinaryIO, cast

from kernel_client.eventlog.model import LogError

GZIP = b"\x1f\x8b"
CUT_OFF = (EOFError, gzip.BadGzipFile, zlib.error)
"""What reading a damaged gzip file raises."""


def open_log(path: Path) -> io.BufferedReader:
    """The plain bytes; raises LogError where there is no such file."""
    try:
        raw = path.open("rb")
    except OSError as error:
        raise LogError(f"{path} can't be read: {error.strerror}") from None
    if raw.peek(2)[:2] == GZIP:
        return io.BufferedReader(cast(io.RawIOBase, gzip.GzipFile(fileobj=raw)), 1 << 16)
    return raw


def is_xml(stream: io.BufferedReader) -> bool:
    try:
        head = stream.peek(64)[:64]
    except CUT_OFF:
        raise LogError("the file is gzipped, and damaged from its beginning") from None
    if not head:
        raise LogError("the file is empty")
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"<"


class Tolerant(io.RawIOBase):
    """Ends where a gzip file breaks, and remembers why."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.broken: str | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            data = self._stream.read(len(buffer))
        except CUT_OFF as error:
            self.broken = f"the file is damaged from here on: {error}"
            return 0
        buffer[: len(data)] = data
        return len(data)
