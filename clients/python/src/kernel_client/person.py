"""A simulated person: claims nothing, is told what to do by the stream, does it for a while, completes it."""

import asyncio
from collections.abc import Callable
from typing import Any

from kernel_client.client import Kernel
from kernel_client.errors import ConflictError, NotFoundError
from kernel_client.types import Process

RUNNING = "kernel.process.running.v1"

Work = Callable[[Process], tuple[float, dict[str, Any]]]
"""How long a process takes (in real seconds) and what comes of it."""


class Person:
    """Speaks to the kernel with its own token, so it can do no more than an operator may."""

    def __init__(self, kernel: Kernel, operator: str, work: Work) -> None:
        self._kernel = kernel
        self._operator = operator
        self._work = work
        self._busy: set[int] = set()

    async def run(self) -> None:
        """Forever. What it was given before it looked is not forgotten."""
        async with (
            self._kernel,
            self._kernel.stream(operator=self._operator, types=[RUNNING]) as changes,
            asyncio.TaskGroup() as group,
        ):
            for task in await self._kernel.operators.tasks(self._operator, "RUNNING"):
                self._begin(task, group)
            async for change in changes:
                self._begin(change["data"], group)

    def _begin(self, process: Any, group: asyncio.TaskGroup) -> None:
        if process["pid"] not in self._busy:
            self._busy.add(process["pid"])
            group.create_task(self._do(process))

    async def _do(self, process: Process) -> None:
        seconds, output = self._work(process)
        await asyncio.sleep(seconds)
        try:
            await self._kernel.processes.complete(process["pid"], output)
        except (ConflictError, NotFoundError):
            pass  # it was taken back meanwhile
        finally:
            self._busy.discard(process["pid"])
