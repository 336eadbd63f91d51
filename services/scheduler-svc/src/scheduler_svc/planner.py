"""The one that plans: as long as it holds the lease it reads the topics, and lets time pass."""

import asyncio

import structlog
from kernel_runtime.command import Cause, Command
from kernel_runtime.consumer import Consumer
from kernel_runtime.pipeline import Pipeline
from kernel_runtime.problem import Problem

from scheduler_svc.memory import Memory

log = structlog.get_logger()


class Planner:
    def __init__(self, pipeline: Pipeline, memory: Memory, consumer: Consumer) -> None:
        self._pipeline = pipeline
        self._memory = memory
        self._consumer = consumer

    async def run(self, epoch: int) -> None:
        """Until cancelled. Loads the model and plans before the first event is read."""
        try:
            await self._tick()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._consumer.run())
                group.create_task(self._let_time_pass())
        finally:
            self._memory.drop()

    async def _let_time_pass(self) -> None:
        while True:
            await self._memory.due()
            await self._tick()

    async def _tick(self) -> None:
        """One batch without events; tried until it works. A batch that was cut off leaves the model to be read again."""
        while True:
            result = await self._pipeline.submit(_TICK)
            if not isinstance(result, Problem):
                return
            log.info("planner.waits", reason=result.detail)
            await asyncio.sleep(0.2)


_TICK = Command("tick", "tick", "", None, "scheduler-svc", Cause(None, "tick"))
