"""What time brings about: absences end."""

import asyncio
import uuid

import asyncpg
import structlog
from kernel_runtime.command import Cause, Command
from kernel_runtime.database import AWAY, Database
from kernel_runtime.pipeline import Pipeline

from resource_svc.handlers.presence import PresenceChange
from resource_svc.store import reads

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
            except (*AWAY, asyncpg.PostgresError) as error:
                log.warning("ticker.database_away", error=str(error) or type(error).__name__)
                continue
            for tenant, id in due:
                cause = uuid.uuid4().hex
                await self._pipeline.submit(
                    Command(cause, "end_absence", tenant, PresenceChange(id), "resource-svc", Cause(None, cause))
                )
