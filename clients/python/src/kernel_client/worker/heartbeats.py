"""Heartbeats for all that is under way, in one request; what the kernel has taken back is cancelled."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Collection
from typing import Any

from kernel_client.errors import KernelError
from kernel_client.work import WorkCalls
from kernel_client.worker.work import Work

log = logging.getLogger("kernel.worker")

LONGEST = 5.0
"""Seconds between two heartbeats, at most: so soon a worker hears that a process was cancelled."""
SOONEST = 0.2
"""Seconds between two, where there is progress to tell."""
BATCH = 500


class Heartbeats:
    def __init__(self, calls: WorkCalls, active: Collection[Work]) -> None:
        self._calls = calls
        self._active = active
        self._due = 0.0
        self._woken = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def begin(self, work: Work) -> None:
        """Its first heartbeat comes in a third of its lease, at the latest."""
        self._by(time.monotonic() + work.seconds / 3)

    def sooner(self) -> None:
        """There is progress to tell. From any thread."""
        self._loop.call_soon_threadsafe(self._by, 0.0)

    def _by(self, due: float) -> None:
        if due < self._due:
            self._due = due
            self._woken.set()

    async def run(self) -> None:
        """Forever."""
        while True:
            pause = min([LONGEST, *(work.seconds / 3 for work in self._active)])
            told = any(work.told is not None for work in self._active)
            self._due = 0.0 if told else time.monotonic() + pause
            while (left := self._due - time.monotonic()) > 0:
                self._woken.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await self._woken.wait()
            began = time.monotonic()
            active = [work for work in self._active if not work.cancelled]
            for part in (active[n : n + BATCH] for n in range(0, len(active), BATCH)):
                await self._beat(part)
            for work in self._active:
                if not work.cancelled and work.seconds_left <= 0:
                    log.warning("process %s: its lease has lapsed, for the kernel does not answer", work.pid)
                    work.lose()
            await asyncio.sleep(max(0.0, SOONEST - (time.monotonic() - began)))

    async def _beat(self, works: list[Work]) -> None:
        sent = time.monotonic()
        items = [self._item(work) for work in works]
        try:
            told = await self._calls.heartbeat(items, patience=0)
        except KernelError as error:
            log.warning("heartbeat: %s", error)
            return
        for work, result in zip(works, told, strict=True):
            if result["status"] == 200:
                work.until = sent + work.seconds
            elif result["status"] in (404, 409):
                log.info("process %s: %s", work.pid, result.get("problem", {}).get("detail", "it was taken back"))
                work.lose()
            else:
                log.warning("process %s: heartbeat refused: %s", work.pid, result.get("problem"))

    def _item(self, work: Work) -> dict[str, Any]:
        item: dict[str, Any] = {"pid": work.pid, "token": work.token}
        if work.told is not None:
            item["progress"], work.told = work.told, None
        return item
