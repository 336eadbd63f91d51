"""A Postgres of the benchmark's own, as the platform starts it: fsync on."""

import asyncio
import contextlib
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from kernel_platform.home import Home
from kernel_platform.ports import free_port
from kernel_platform.postgres import Postgres
from kernel_platform.unit import Unit


@contextlib.contextmanager
def own_postgres() -> Iterator[tuple[str, int]]:
    """DSN and pid. In a thread of its own: uvloop can't start a process as another user."""
    with tempfile.TemporaryDirectory(prefix="kernel-bench-") as root:
        home = Home(Path(root)).make()
        server = Postgres(home.postgres, free_port(), home.secret("postgres"))
        unit = Unit(server.spec(), home, changed=lambda: None)
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        running = asyncio.run_coroutine_threadsafe(unit.run(), loop)
        try:
            asyncio.run_coroutine_threadsafe(asyncio.wait_for(unit.ready.wait(), 60), loop).result()
            assert unit.identity is not None
            yield server.dsn, unit.identity.pid
        finally:
            asyncio.run_coroutine_threadsafe(unit.stop(), loop).result()
            running.result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
