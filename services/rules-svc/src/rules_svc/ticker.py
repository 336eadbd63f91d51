"""What time drives: following what other replicas changed, and forgetting what is old."""

import asyncio
import contextlib

import asyncpg
import structlog
from kernel_runtime.command import Answer, Cause, Command
from kernel_runtime.database import AWAY, Database
from kernel_runtime.pipeline import Pipeline

from rules_svc.book import Memory
from rules_svc.received import SERVICE
from rules_svc.settings import Settings
from rules_svc.store import batch, chores, meetings
from rules_svc.work import Further

log = structlog.get_logger()

SPREADS = 20
"""Calls that go on in one batch."""
SPREAD_EVERY = 1.0
"""Seconds, at most, until a call goes on whose replica has died."""
AT_ONCE = 5_000
"""Events that are marked in one statement."""
CHORES_EVERY = 60.0
"""Seconds; then also everything is read anew that otherwise is followed by its changes."""


class Ticker:
    """Keeps `memory` close to the database. Rules of other replicas are seen as soon as Postgres tells of their commit.

    Where that news is lost with its connection, within `follow_interval`.
    """

    def __init__(
        self, database: Database, memory: Memory, settings: Settings, pipeline: Pipeline | None = None
    ) -> None:
        self._pipeline = pipeline
        self._database = database
        self._memory = memory
        self._settings = settings
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Forever; a database that is away is waited for."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tick())
            group.create_task(self._listen())
            group.create_task(self._learn())
            group.create_task(self._spread())

    async def _listen(self) -> None:
        """One connection of its own, on which Postgres tells that the rulebook has changed."""
        while True:
            try:
                async with self._database.own_connection() as connection:
                    await self._hear(connection)
            except (*AWAY, asyncpg.PostgresError) as error:
                log.warning("ticker.no_news", error=str(error) or type(error).__name__)
            await asyncio.sleep(self._settings.follow_interval)

    async def _hear(self, connection: asyncpg.Connection) -> None:
        """Until the connection has gone."""
        gone = asyncio.Event()
        connection.add_termination_listener(lambda _: gone.set())
        await connection.add_listener(batch.CHANGED, lambda *_: self._news.set())
        self._news.set()
        await gone.wait()

    async def _learn(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                async with self._database.connection() as connection:
                    self._memory.learn(await batch.read_book(connection, self._memory.book))
            except (*AWAY, asyncpg.PostgresError) as error:
                log.warning("ticker.database_away", error=str(error) or type(error).__name__)

    async def _spread(self) -> None:
        """What has not reached everybody goes on: at once where this replica left it, else soon."""
        further = self._memory.further
        while True:
            further.clear()
            try:
                while await self.spread():
                    pass
            except (*AWAY, asyncpg.PostgresError) as error:
                log.warning("ticker.database_away", error=str(error) or type(error).__name__)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(further.wait(), SPREAD_EVERY)

    async def spread(self) -> bool:
        """The oldest, a part of those that it has not reached; whether there may be more."""
        async with self._database.connection() as connection:
            found = await meetings.spreads(connection, SPREADS)
        if not found or self._pipeline is None:
            return False
        ids = [f"further-{id}" for id, _, _ in found]
        done = await self._pipeline.submit_all(
            [
                Command(name, "further", tenant, Further(id, tenant, type), SERVICE, Cause(None, name))
                for name, (id, tenant, type) in zip(ids, found, strict=True)
            ]
        )
        return all(isinstance(each, Answer) for each in done)

    async def _tick(self) -> None:
        passes = 0
        each = max(1, round(CHORES_EVERY / self._settings.follow_interval))
        while True:
            try:
                await self.follow(everything=passes % each == 0)
                await self.expire()
                if passes % each == each // 2:
                    await self.tidy()
                passes += 1
            except (*AWAY, asyncpg.PostgresError) as error:
                log.warning("ticker.database_away", error=str(error) or type(error).__name__)
                passes = 0
            await asyncio.sleep(self._settings.follow_interval)

    async def follow(self, *, everything: bool) -> None:
        """Definitions by their version; who waits by what changed lately, or from the start."""
        memory = self._memory
        async with self._database.connection() as connection:
            memory.learn(await batch.read_book(connection, memory.book))
            waiting, awaited = set(memory.waiting), set(memory.awaited)
            waiting_now = await chores.waiting_pids(connection, seconds=None if everything else 15.0)
            awaited_now = await chores.awaited_types(connection)
        # What this replica's own batches added while the queries ran must stay.
        memory.awaited = (memory.awaited - (awaited - awaited_now)) | awaited_now
        memory.waiting |= waiting_now
        if everything:
            memory.waiting -= waiting - waiting_now
            memory.loaded = True

    async def expire(self) -> None:
        """Events whose time has passed are marked, so that their senders see it."""
        async with self._database.connection() as connection:
            while await meetings.expire(connection, AT_ONCE) == AT_ONCE:
                pass

    async def tidy(self) -> None:
        async with self._database.connection() as connection:
            gone = await chores.forget(connection, self._settings.firing_days)
            gone += await chores.trim_failures(connection, self._settings.failures_kept)
        if gone:
            log.info("ticker.forgot", rows=gone)
