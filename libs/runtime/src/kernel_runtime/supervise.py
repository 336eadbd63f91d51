"""How a service's process lives: its tasks in one group, stopped by a signal, ended by the first that fails."""

import asyncio
import gc
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import structlog
import uvloop

log = structlog.get_logger()

GRACE = 4.5
"""Seconds that a process has to end after a signal; then it is cut off, as a kill would do at any time."""


class Stop:
    """Set by SIGTERM and SIGINT; `wait` returns then."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        self._event.set()

    @property
    def stopping(self) -> bool:
        return self._event.is_set()

    async def wait(self) -> None:
        await self._event.wait()


def _cut_off() -> None:
    log.error("service.cut_off", seconds=GRACE)
    os._exit(1)


def run(main: Callable[[Stop], Coroutine[Any, Any, None]]) -> None:
    """Runs `main(stop)` on uvloop until it returns; exits 1 where a task died, so that whoever supervises restarts it."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)  # a batch makes many objects that live no longer than it does

    async def guarded() -> None:
        stop = Stop()
        loop = asyncio.get_running_loop()

        def signalled() -> None:
            stop.set()
            cut = threading.Timer(GRACE, _cut_off)
            cut.daemon = True
            cut.start()

        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, signalled)
        await main(stop)

    try:
        uvloop.run(guarded())
    except BaseExceptionGroup as group:
        for error in group.exceptions:
            log.error("service.died", exc_info=error)
        sys.exit(1)
    except Exception as error:
        log.error("service.died", exc_info=error)
        sys.exit(1)


async def tasks(
    stop: Stop,
    *forever: Callable[[], Awaitable[None]],
    last: Sequence[Callable[[], Awaitable[None]]] = (),
) -> None:
    """Runs all until `stop`; a task that fails, or ends by itself, takes the others down with it.

    Those in `last` end one after the other, in that order, when all the others have ended.
    """

    async def lives(work: Callable[[], Awaitable[None]]) -> None:
        await work()
        if not stop.stopping:
            raise RuntimeError(f"a task that should run forever has ended: {work!r}")

    async with asyncio.TaskGroup() as group:
        behind = [group.create_task(lives(work)) for work in last]
        running = [group.create_task(lives(work)) for work in forever]
        await stop.wait()
        log.info("service.stopping")
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        for task in behind:
            task.cancel()
            await asyncio.wait([task])
