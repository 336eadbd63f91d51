"""A TCP proxy that does to a connection what networks do."""

import asyncio
import contextlib
import socket
import struct
from typing import Literal

Direction = Literal["up", "down"]
"""`up`: from the client to the server."""


class _Cut(Exception):
    """The connection ends here, because the test said so."""


class _Link:
    """One connection through the proxy."""

    def __init__(self) -> None:
        self.severed = False


class FaultProxy:
    """Forwards host:port to the server, with the faults that are switched on. Attributes may change at any time."""

    def __init__(self, target_host: str, target_port: int) -> None:
        self._target = (target_host, target_port)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._remaining: dict[Direction, int] = {}
        self._patterns: dict[Direction, tuple[bytes, bool]] = {}
        self.host, self.port = "127.0.0.1", 0
        self.latency = 0.0
        """Seconds that each piece waits, in both directions."""
        self.blackhole = False
        """Nothing gets through, nobody is told."""
        self.refuse = False
        """New connections are reset at once."""
        self.cuts = 0
        """How many cuts (cut_after, cut_at) have fired."""

    async def start(self) -> "FaultProxy":
        self._server = await asyncio.start_server(self._accept, self.host, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def cut_after(self, count: int, direction: Direction = "up") -> None:
        """Once: drops the connection that carries the count-th byte from now on, which still gets through."""
        self._remaining[direction] = count

    def cut_at(self, pattern: bytes, direction: Direction = "up", forward: bool = True) -> None:
        """Once: drops the connection that carries the pattern, after forwarding it or before (`forward=False`)."""
        self._patterns[direction] = (pattern, forward)

    def heal(self) -> None:
        """Switches every fault off; connections that a blackhole swallowed bytes of are as good as broken."""
        self.latency, self.blackhole, self.refuse = 0.0, False, False
        self._remaining.clear()
        self._patterns.clear()

    async def reset(self) -> None:
        """Drops what is connected, with RST."""
        for writer in list(self._writers):
            _reset(writer)
        await asyncio.sleep(0)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        await self.reset()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        pair, link = [writer], _Link()
        try:
            if self.refuse:
                return
            up_reader, up_writer = await asyncio.open_connection(*self._target)
            pair.append(up_writer)
            self._writers.update(pair)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, up_writer, "up", link))
                group.create_task(self._pump(up_reader, writer, "down", link))
        except* (_Cut, OSError, asyncio.CancelledError):
            pass
        finally:
            for each in pair:
                _reset(each)
            self._writers.difference_update(pair)
            self._tasks.discard(task)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction, link: _Link
    ) -> None:
        tail = b""
        while data := await reader.read(65536):
            if self.latency:
                await asyncio.sleep(self.latency)
            if self.blackhole or link.severed:
                continue
            cut, data = self._apply_cuts(data, tail, direction)
            link.severed = cut
            writer.write(data)
            await writer.drain()
            if cut:
                self.cuts += 1
                writer.close()  # not a reset, so that what was forwarded arrives before the end does
                await writer.wait_closed()
                raise _Cut
            tail = data[-256:]
        if writer.can_write_eof():
            with contextlib.suppress(OSError):
                writer.write_eof()

    def _apply_cuts(self, data: bytes, tail: bytes, direction: Direction) -> tuple[bool, bytes]:
        """Whether to cut here, and what still gets through."""
        if direction in self._patterns:
            pattern, forward = self._patterns[direction]
            if pattern in tail[-(len(pattern) - 1) :] + data if len(pattern) > 1 else pattern in data:
                del self._patterns[direction]
                return True, data if forward else b""
        if direction in self._remaining:
            left = self._remaining[direction] - len(data)
            if left <= 0:
                del self._remaining[direction]
                return True, data[: len(data) + left]
            self._remaining[direction] = left
        return False, data


def _reset(writer: asyncio.StreamWriter) -> None:
    """Closes at once; the other side gets RST, not FIN."""
    raw = writer.get_extra_info("socket")
    if raw is not None:
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
