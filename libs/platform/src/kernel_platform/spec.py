"""What the supervisor needs to know of a process to run it."""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kernel_platform.ports import HOST


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """One process: how it starts, when it is ready, how it is asked to stop."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    replica: int = 1
    port: int = 0
    ready: Callable[[], Awaitable[bool]] | None = None
    """Ready once this is true; with none, `GET /health/ready` on the port."""
    before_start: Callable[[], None] | None = None
    """Runs before every start, the one after a crash too."""
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout: float = 8.0
    cwd: Path | None = None
    user: int | None = None
    """The uid to run as, where it is not ours."""

    @property
    def is_service(self) -> bool:
        """One of ours; else infrastructure, of which there is one each."""
        return self.ready is None

    @property
    def label(self) -> str:
        return f"{self.name}-{self.replica}" if self.is_service else self.name

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    async def is_ready(self) -> bool:
        return await (self.ready() if self.ready else http_ready(self.port))


async def http_ready(port: int, timeout: float = 2.0) -> bool:
    """Whether `GET /health/ready` answers 200."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(b"GET /health/ready HTTP/1.1\r\nHost: kernel\r\nConnection: close\r\n\r\n")
            status = (await reader.readline()).split()
            return len(status) > 1 and status[1] == b"200"
    except (OSError, TimeoutError):
        return False
    finally:
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
