"""A pipeline over the counters, without HTTP and Kafka: what most tests need."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import asyncpg
from counter_service import HANDLERS, Add, Counters
from kernel_contracts.envelope import Envelope
from kernel_runtime.command import Cause, Command, fingerprint
from kernel_runtime.database import Database
from kernel_runtime.pipeline import Handler, Pipeline

_serial = iter(range(10**9))


def add(name: str, amount: int = 1, *, id: str | None = None, kafka: bool = False, text: str = "") -> Command:
    """`id` makes it one to be remembered."""
    own = id or f"c{next(_serial)}"
    return Command(
        id=own,
        name="add",
        tenant="main",
        body=Add(name=name, amount=amount, text=text),
        by="test",
        cause=Cause(None, own),
        fingerprint=fingerprint("add", f"{name}{amount}".encode()) if id else None,
        envelope=Envelope(own, "test.add", "/test", "", "main") if kafka else None,
        key=("process-commands", name.encode()) if kafka else None,
    )


@contextlib.asynccontextmanager
async def lane(
    dsn: str, *, begin: Any = Counters, handlers: Mapping[str, Handler] = HANDLERS, name: str = "lane", **options: Any
) -> AsyncIterator[tuple[Pipeline, Database]]:
    database = Database(dsn, name=name)
    await database.open()
    pipeline = Pipeline(database, begin, handlers, committed=lambda: None, **options)
    running = asyncio.create_task(pipeline.run())
    try:
        yield pipeline, database
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await database.close()


async def values(dsn: str) -> dict[str, int]:
    """Each counter with its value, checked against what was written down of each addition."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch("SELECT name, value, version FROM counter ORDER BY name")
        for row in rows:
            done = await connection.fetchrow(
                "SELECT coalesce(sum(amount), 0) AS value, count(*) AS version FROM done WHERE name = $1", row["name"]
            )
            assert (row["value"], row["version"]) == tuple(done)
        return {row["name"]: row["value"] for row in rows}
    finally:
        await connection.close()


async def scalar(dsn: str, sql: str, *arguments: Any) -> Any:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(sql, *arguments)
    finally:
        await connection.close()
