"""What time brings about: absences end, resources open and close."""

import asyncio
import uuid

import asyncpg
import structlog
from kernel_runtime.command import Cause, Command
from kernel_runtime.database import AWAY, Database
from kernel_runtime.pipeline import Pipeline

from resource_svc.handlers.opening import Look
from resource_svc.handlers.presence import PresenceChange
from resource_svc.store import reads

CHUNK = 20
"""Calendars are put together at their first look, some milliseconds each: others get their turn in between."""

log = structlog.get_logger()


class Ticker:
    """Every replica looks; the row decides, so two at once do no harm."""

    def __init__(self, database: Database, pipeline: Pipeline, interval: float) -> None:
        self._database = database
        self._pipeline = pipeline
        self._interval = interval

    async def run(self) -> None:
        """Forever."""
        while True:
            await asyncio.sleep(self._interval)
            try:
                async with self._database.connection() as connection:
                    due = await reads.absences_over(connection)
                    turning = await reads.openings_due(connection)
            except (*AWAY, asyncpg.PostgresError) as error:
                log.warning("ticker.database_away", error=str(error) or type(error).__name__)
                continue
            for tenant, id in due:
                cause = uuid.uuid4().hex
                await self._pipeline.submit(
                    Command(cause, "end_absence", tenant, PresenceChange(id), "resource-svc", Cause(None, cause))
                )
            for begin in range(0, len(turning), CHUNK):
                looks = [self._look(*each) for each in turning[begin : begin + CHUNK]]
                for outcome in await self._pipeline.submit_all(looks):
                    if isinstance(outcome, BaseException):
                        log.warning("ticker.look_failed", error=str(outcome) or type(outcome).__name__)

    def _look(self, tenant: str, id: str, calendar: str | None) -> Command:
        cause = uuid.uuid4().hex
        return Command(cause, "look", tenant, Look(id, calendar), "resource-svc", Cause(None, cause))
