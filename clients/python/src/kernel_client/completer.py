"""Completes processes when their work is done: many at once, in few requests, each as soon as it is due."""

import asyncio
import heapq
import time
from collections.abc import Callable
from itertools import count
from typing import Any

from kernel_client.client import Kernel
from kernel_client.types import Process

BATCH = 500
IN_FLIGHT = 4
SHORTEST_ROUND = 0.005
"""Seconds between requests under load, so that they fill."""


class Completer:
    """`on_done` is told each process as it ended, `on_refused` the pid and problem of what the kernel would not have."""

    def __init__(
        self,
        kernel: Kernel,
        on_done: Callable[[Process], None],
        on_refused: Callable[[int, dict[str, Any]], None],
    ) -> None:
        self._kernel = kernel
        self._on_done = on_done
        self._on_refused = on_refused
        self._due: list[tuple[float, int, int, dict[str, Any]]] = []
        self._order = count()
        self._changed = asyncio.Event()
        self._slots = asyncio.Semaphore(IN_FLIGHT)

    def put(self, pid: int, after: float, output: dict[str, Any] | None = None) -> None:
        """Complete `pid` when `after` seconds have passed."""
        heapq.heappush(self._due, (time.monotonic() + after, next(self._order), pid, output or {}))
        self._changed.set()

    @property
    def waiting(self) -> int:
        return len(self._due)

    async def run(self) -> None:
        """Forever; a request that fails for good ends it."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._sleep_until_due()
                await self._slots.acquire()
                taken = self._take()
                if not taken:
                    self._slots.release()
                    continue
                group.create_task(self._complete(taken))
                await asyncio.sleep(SHORTEST_ROUND)

    async def _sleep_until_due(self) -> None:
        while True:
            self._changed.clear()
            pause = self._due[0][0] - time.monotonic() if self._due else None
            if pause is not None and pause <= 0:
                return
            try:
                async with asyncio.timeout(pause):
                    await self._changed.wait()
            except TimeoutError:
                return

    def _take(self) -> list[tuple[int, dict[str, Any]]]:
        now = time.monotonic()
        taken: list[tuple[int, dict[str, Any]]] = []
        while self._due and self._due[0][0] <= now and len(taken) < BATCH:
            _, _, pid, output = heapq.heappop(self._due)
            taken.append((pid, output))
        return taken

    async def _complete(self, taken: list[tuple[int, dict[str, Any]]]) -> None:
        try:
            items = [{"pid": pid, "command": "complete", "output": output} for pid, output in taken]
            answers = await self._kernel.processes.commands(items)
        finally:
            self._slots.release()
        for (pid, _), answer in zip(taken, answers, strict=True):
            if "process" in answer:
                self._on_done(answer["process"])
            else:
                self._on_refused(pid, answer.get("problem", {}))
