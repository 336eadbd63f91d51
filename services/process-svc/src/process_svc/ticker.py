"""Time: finds what has become due and what a dead replica left, and sends it through the pipeline. One replica, by lease."""

import asyncio
import uuid
from collections.abc import Sequence

import asyncpg
import structlog
from kernel_runtime.command import Cause, Command
from kernel_runtime.database import AWAY, Database
from kernel_runtime.pipeline import Pipeline

from process_svc.handlers.bodies import FollowUp, Tick
from process_svc.handlers.work import unpacked
from process_svc.store import processes as store

log = structlog.get_logger()

BATCH = 500
ABANDONED = 3.0
"""Seconds after which a follow-up counts as left behind by a process that died."""
BY = "kernel"


class Ticker:
    def __init__(self, database: Database, pipeline: Pipeline, interval: float) -> None:
        self._database = database
        self._pipeline = pipeline
        self._interval = interval

    async def run(self, _: int) -> None:
        """Forever, while the lease is held."""
        while True:
            try:
                busy = await self._pass()
            except (*AWAY, asyncpg.PostgresError) as error:
                log.warning("ticker.backs_off", error=str(error) or type(error).__name__)
                busy = False
            if not busy:
                await asyncio.sleep(self._interval)

    async def _pass(self) -> bool:
        async with self._database.connection() as connection:
            due = await store.due(connection, BATCH)
            left = await store.old_follow_ups(connection, ABANDONED, BATCH)
        commands = [tick(pid) for pid in due]
        commands += [
            follow_up(FollowUp(row["id"], row["kind"], row["pid"], row["source"]), unpacked(row["cause"]))
            for row in left
        ]
        if commands:
            await self._pipeline.submit_all(commands)
        return len(due) == BATCH or len(left) == BATCH


def tick(pid: int) -> Command:
    id = uuid.uuid4().hex
    return Command(id, "tick", "", Tick(pid), BY, Cause(None, id))


def follow_up(body: FollowUp, cause: Cause) -> Command:
    """Caused by the same as the end that it follows from."""
    return Command(f"follow-up-{body.id}", "follow_up", "", body, BY, cause)


class FollowUps:
    """Sends what a batch has left for relatives through the pipeline, right after its commit."""

    def __init__(self) -> None:
        self.pipeline: Pipeline | None = None
        self._running: set[asyncio.Task[object]] = set()

    def __call__(self, found: Sequence[tuple[FollowUp, Cause]]) -> None:
        if self.pipeline is None:
            return
        commands = [follow_up(body, cause) for body, cause in found]
        task: asyncio.Task[object] = asyncio.ensure_future(self.pipeline.submit_all(commands))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
