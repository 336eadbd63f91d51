"""Queues as they are defined."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kernel_contracts.scheduler import QueueDefinition
from kernel_runtime.database import Connection

DEFAULT = "default"
"""The queue that is there without being defined."""


@dataclass(frozen=True, slots=True)
class StoredQueue:
    tenant: str
    name: str
    version: int
    definition: QueueDefinition

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "version": self.version, **self.definition.model_dump(mode="json")}


def definition_from(text: str) -> QueueDefinition:
    return QueueDefinition.model_validate_json(text)


async def lock(connection: Connection, places: Sequence[tuple[str, str]]) -> dict[tuple[str, str], StoredQueue]:
    """Those of (tenant, name) that are defined, locked in that order. One that isn't yet is locked by its name."""
    for tenant, name in places:
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"queue/{tenant}/{name}")
    rows = await connection.fetch(
        "SELECT queue.* FROM queue JOIN unnest($1::text[], $2::text[]) AS wanted (tenant, name) USING (tenant, name)"
        " ORDER BY tenant, name FOR UPDATE OF queue",
        [tenant for tenant, _ in places],
        [name for _, name in places],
    )
    return {(row["tenant"], row["name"]): _from(row) for row in rows}


async def save(connection: Connection, queues: Sequence[StoredQueue]) -> None:
    await connection.execute(
        "INSERT INTO queue (tenant, name, version, definition)"
        " SELECT * FROM unnest($1::text[], $2::text[], $3::int[], $4::text[])"
        " ON CONFLICT (tenant, name) DO UPDATE SET version = EXCLUDED.version, definition = EXCLUDED.definition",
        [queue.tenant for queue in queues],
        [queue.name for queue in queues],
        [queue.version for queue in queues],
        [queue.definition.model_dump_json() for queue in queues],
    )


async def find(connection: Connection, tenant: str, names: Sequence[str]) -> dict[str, StoredQueue]:
    rows = await connection.fetch(
        "SELECT tenant, name, version, definition FROM queue WHERE tenant = $1 AND name = ANY($2::text[])",
        tenant,
        list(names),
    )
    return {row["name"]: _from(row) for row in rows}


async def listed(connection: Connection, tenant: str, after: str | None, limit: int) -> list[StoredQueue]:
    """By name, after `after`. The default queue is among them, defined or not."""
    rows = await connection.fetch(
        "SELECT * FROM (SELECT tenant, name, version, definition FROM queue WHERE tenant = $1"
        " UNION ALL SELECT $1, $4, 0, '{}' WHERE NOT EXISTS (SELECT FROM queue WHERE tenant = $1 AND name = $4)) named"
        " WHERE $2::text IS NULL OR name > $2 ORDER BY name LIMIT $3",
        tenant,
        after,
        limit,
        DEFAULT,
    )
    return [_from(row) for row in rows]


async def count(connection: Connection, tenant: str) -> int:
    total = await connection.fetchval(
        "SELECT count(*) FROM (SELECT name FROM queue WHERE tenant = $1 UNION SELECT $2) named", tenant, DEFAULT
    )
    assert isinstance(total, int)
    return total


def _from(row: Any) -> StoredQueue:
    return StoredQueue(row["tenant"], row["name"], row["version"], definition_from(row["definition"]))
