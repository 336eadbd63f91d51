"""Kafka's jars: named and hashed in kafka-jars.lock, fetched once a user from a Maven repository, kept outside the project."""

import hashlib
import os
import threading
import time
import urllib.error
import urllib.request
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

CENTRAL = "https://repo1.maven.org/maven2"
ATTEMPTS = 5
CHUNK = 1 << 16

OnBytes = Callable[[int, int], None]
"""Told how many bytes are there of how many."""


@dataclass(frozen=True, slots=True)
class Jar:
    group: str
    artifact: str
    version: str
    sha256: str
    size: int

    @property
    def path(self) -> str:
        name = f"{self.artifact}-{self.version}.jar"
        return f"{self.group.replace('.', '/')}/{self.artifact}/{self.version}/{name}"


def locked() -> list[Jar]:
    jars = []
    for line in files("kernel_platform").joinpath("kafka-jars.lock").read_text().splitlines():
        if line and not line.startswith("#"):
            coordinates, sha256, size = line.split()
            group, artifact, version = coordinates.split(":")
            jars.append(Jar(group, artifact, version, sha256, int(size)))
    return jars


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "kernel" / "jars"


def repository() -> str:
    """KERNEL_MAVEN_REPO, else the user's Maven mirror of Central, else Maven Central (by the usual proxy variables)."""
    named = os.environ.get("KERNEL_MAVEN_REPO")
    return (named or _mirror(Path.home() / ".m2" / "settings.xml") or CENTRAL).rstrip("/")


def _mirror(settings: Path) -> str | None:
    try:
        root = ElementTree.parse(settings).getroot()
    except (OSError, ElementTree.ParseError):
        return None
    for mirror in root.iterfind(".//{*}mirror"):
        of = {part.strip() for part in (mirror.findtext("{*}mirrorOf") or "").split(",")}
        if "!central" not in of and of & {"*", "central", "external:*"}:
            return mirror.findtext("{*}url")
    return None


def fetch(on_bytes: OnBytes | None = None) -> list[Path]:
    """All jars, from the cache where they are whole; the rest in parallel, each going on where it stopped before."""
    jars, folder = locked(), cache_folder()
    missing = [jar for jar in jars if not _is_whole(folder / jar.path, jar)]
    if missing:
        meter = _Meter(sum(jar.size for jar in missing), on_bytes)
        source = repository()
        with ThreadPoolExecutor(max_workers=8) as pool:
            for done in [pool.submit(_fetch_one, jar, source, folder / jar.path, meter) for jar in missing]:
                done.result()
    return [folder / jar.path for jar in jars]


def _is_whole(path: Path, jar: Jar) -> bool:
    """A file gets its final name only after its hash was right, so its size is enough here."""
    try:
        return path.stat().st_size == jar.size
    except OSError:
        return False


class _Meter:
    def __init__(self, total: int, on_bytes: OnBytes | None) -> None:
        self._lock = threading.Lock()
        self._there = 0
        self._total = total
        self._on_bytes = on_bytes

    def add(self, count: int) -> None:
        with self._lock:
            self._there += count
            if self._on_bytes:
                self._on_bytes(self._there, self._total)


def _fetch_one(jar: Jar, source: str, path: Path, meter: _Meter) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    for older in path.parent.glob(f"{path.stem}.*.part"):
        if older != part and time.time() - older.stat().st_mtime > 60:
            older.replace(part)
    counted = part.stat().st_size if part.exists() else 0
    meter.add(counted)
    problem: Exception | None = None
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(0.25 * 2**attempt)
        try:
            _download(f"{source}/{jar.path}", part, meter)
        except (urllib.error.URLError, OSError, ValueError) as error:
            problem = error
            continue
        if part.stat().st_size < jar.size:
            problem = ValueError("the connection ended early")
            continue
        if hashlib.sha256(part.read_bytes()).hexdigest() == jar.sha256:
            part.replace(path)
            return
        problem = ValueError("what came is not what kafka-jars.lock names (sha256)")
        meter.add(-part.stat().st_size)
        part.unlink()
    raise RuntimeError(f"{jar.path} could not be fetched from {source} (KERNEL_MAVEN_REPO names another): {problem}")


def _download(url: str, part: Path, meter: _Meter) -> None:
    there = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(
        url, headers={"User-Agent": "kernel", **({"Range": f"bytes={there}-"} if there else {})}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            resumed = answer.status == 206
            if not resumed:
                meter.add(-there)
            with part.open("ab" if resumed else "wb") as file:
                while chunk := answer.read(CHUNK):
                    file.write(chunk)
                    meter.add(len(chunk))
    except urllib.error.HTTPError as error:
        if error.code != 416:  # nothing is left to send
            raise
