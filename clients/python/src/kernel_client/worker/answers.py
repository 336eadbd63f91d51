"""Answers on their way to the kernel: whatever is ready goes in one request, a few requests at a time."""

import asyncio
import logging
from collections import deque
from typing import Any

from kernel_client.errors import KernelError
from kernel_client.types import BatchItem
from kernel_client.work import WorkCalls

log = logging.getLogger("kernel.worker")

BATCH = 200
IN_FLIGHT = 2
PATIENCE = 60.0

Waiting = tuple[dict[str, Any], asyncio.Future[BatchItem]]


class Answers:
    def __init__(self, calls: WorkCalls) -> None:
        self._calls = calls
        self._ready: deque[Waiting] = deque()
        self._senders = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def give(self, answer: dict[str, Any]) -> BatchItem:
        """What the kernel says to it; raises KernelError where it could not be asked."""
        said: asyncio.Future[BatchItem] = asyncio.get_running_loop().create_future()
        self._ready.append((answer, said))
        if self._senders < IN_FLIGHT:
            self._senders += 1
            task = asyncio.ensure_future(self._send())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await said

    async def _send(self) -> None:
        """Until nothing is ready; counted out in the same step, so that nothing is left between two senders."""
        try:
            await self._send_all()
        finally:
            self._senders -= 1

    async def _send_all(self) -> None:
        while self._ready:
            part = [self._ready.popleft() for _ in range(min(BATCH, len(self._ready)))]
            try:
                told = await self._calls.answer([answer for answer, _ in part], patience=PATIENCE)
            except KernelError as error:
                if len(part) > 1 and getattr(error, "status", 0) == 413:
                    await self._one_by_one(part)
                else:
                    _refuse(part, error)
            else:
                for (_, said), result in zip(part, told, strict=True):
                    if not said.done():
                        said.set_result(result)

    async def _one_by_one(self, part: list[Waiting]) -> None:
        """Together they were too large."""
        for each in part:
            try:
                (result,) = await self._calls.answer([each[0]], patience=PATIENCE)
            except KernelError as error:
                _refuse([each], error)
            else:
                if not each[1].done():
                    each[1].set_result(result)


def _refuse(part: list[Waiting], error: KernelError) -> None:
    for _, said in part:
        if not said.done():
            said.set_exception(error)
