"""What the HTTP door and the ticker read; no locks."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson
from kernel_runtime.database import Connection

from resource_svc.domain.resource import ENTITY, OPERATOR, State
from resource_svc.store.past import then
from resource_svc.store.records import DEFINITION, state

_ONE = f"SELECT {DEFINITION}, used, version, revision FROM resource WHERE tenant = $1 AND id = $2 AND NOT deleted"
_FILTER = """
tenant = $1 AND NOT deleted AND type <> ALL($2::text[]) AND ($3::text IS NULL OR type = $3)
AND ($4::text IS NULL OR status = $4) AND ($5::text IS NULL OR presence = $5)
AND ($6::jsonb IS NULL OR roles @> $6) AND ($7::jsonb IS NULL OR labels @> $7)
"""
_MANY = f"""
SELECT {DEFINITION}, used, version, revision FROM resource
WHERE {_FILTER} AND ($8::text IS NULL OR id > $8) ORDER BY id LIMIT $9
"""
_COUNT = f"SELECT count(*) FROM resource WHERE {_FILTER}"

_ALLOCATIONS_WHERE = """
r.tenant = $1 AND ($2::bigint IS NULL OR a.pid = $2) AND ($3::text IS NULL OR r.id = $3)
AND ($4::boolean IS NULL OR (a.released_at IS NULL) = $4)
AND ($5::timestamptz IS NULL OR (a.granted_at <= $5 AND (a.released_at IS NULL OR a.released_at > $5)))
"""
_ALLOCATIONS = f"""
SELECT r.id, r.type, a.resource, a.version, a.dispatch_id, a.pid, a.process_version, a.units, a.hold, a.granted_at,
    a.released_at, a.released_at IS NOT NULL AND a.released_version IS NULL AS used_up
FROM allocation a JOIN resource r ON r.number = a.resource
WHERE {_ALLOCATIONS_WHERE}
AND ($6::bigint IS NULL OR (a.resource, a.version) < ($6, $7::bigint))
ORDER BY a.resource DESC, a.version DESC LIMIT $8
"""
_ALLOCATIONS_COUNT = f"""
SELECT count(*) FROM allocation a JOIN resource r ON r.number = a.resource WHERE {_ALLOCATIONS_WHERE}
"""

_AT = """
SELECT c.capacity, c.definition, coalesce((
    SELECT sum(units) FROM allocation a WHERE a.resource = r.number AND a.granted_at <= $3
    AND (a.released_version IS NULL OR a.released_at > $3)), 0)::bigint AS used
FROM resource r JOIN LATERAL (
    SELECT capacity, definition, what FROM resource_change c WHERE c.resource = r.number AND c.at <= $3
    ORDER BY c.version DESC LIMIT 1
) c ON c.what <> 'deleted'
WHERE r.tenant = $1 AND r.id = $2
"""
"""Use at an instant that is past, out of the ledger. What was taken of a consumable is never given back."""


async def one(connection: Connection, tenant: str, id: str) -> tuple[State, int] | None:
    """With its revision; None where there is none, or none any more."""
    row = await connection.fetchrow(_ONE, tenant, id)
    return None if row is None else (state(row), row["revision"])


async def at(connection: Connection, tenant: str, id: str, when: datetime) -> State | None:
    """As it was then: definition, capacity, use; None where there was none. Its version is not told."""
    row = await connection.fetchrow(_AT, tenant, id, when)
    if row is None:
        return None
    return State(then(row), row["used"])


async def many(
    connection: Connection,
    tenant: str,
    *,
    type: str | None,
    status: str | None = None,
    presence: str | None = None,
    role: str | None = None,
    label: tuple[str, str] | None = None,
    after: str | None,
    limit: int,
    count: bool,
) -> tuple[list[tuple[State, int]], int | None]:
    """By id; operators and the locks of entities only where their type is asked for."""
    apart = [each for each in (OPERATOR, ENTITY) if each != type]
    filters: Sequence[Any] = (
        tenant,
        apart,
        type,
        status,
        presence,
        None if role is None else orjson.dumps([role]).decode(),
        None if label is None else orjson.dumps(dict([label])).decode(),
    )
    rows = await connection.fetch(_MANY, *filters, after, limit)
    total = await connection.fetchval(_COUNT, *filters) if count else None
    return [(state(row), row["revision"]) for row in rows], total


async def calendar(connection: Connection, tenant: str, id: str) -> tuple[dict[str, Any], int] | None:
    row = await connection.fetchrow(
        "SELECT definition, version FROM calendar WHERE tenant = $1 AND id = $2", tenant, id
    )
    return None if row is None else (orjson.loads(row["definition"]), row["version"])


async def calendars(
    connection: Connection, tenant: str, *, after: str | None, limit: int, count: bool
) -> tuple[list[tuple[str, dict[str, Any], int]], int | None]:
    """Id, definition, version; by id."""
    rows = await connection.fetch(
        "SELECT id, definition, version FROM calendar WHERE tenant = $1 AND ($2::text IS NULL OR id > $2)"
        " ORDER BY id LIMIT $3",
        tenant,
        after,
        limit,
    )
    total = await connection.fetchval("SELECT count(*) FROM calendar WHERE tenant = $1", tenant) if count else None
    return [(row["id"], orjson.loads(row["definition"]), row["version"]) for row in rows], total


async def allocations(
    connection: Connection,
    tenant: str,
    *,
    pid: int | None,
    of: str | None,
    active: bool | None,
    when: datetime | None,
    before: tuple[int, int] | None,
    limit: int,
    count: bool,
) -> tuple[list[dict[str, Any]], int | None]:
    """By resource, each one's newest first. `place` is where the next page begins."""
    filters = (tenant, pid, of, active, when)
    rows = await connection.fetch(_ALLOCATIONS, *filters, *(before or (None, None)), limit)
    total = await connection.fetchval(_ALLOCATIONS_COUNT, *filters) if count else None
    return [_allocation(row) for row in rows], total


def _allocation(row: Any) -> dict[str, Any]:
    return {
        "resource": row["id"],
        "type": row["type"],
        "pid": row["pid"],
        "process_version": row["process_version"],
        "dispatch_id": row["dispatch_id"],
        "units": row["units"],
        "hold": row["hold"],
        "granted_at": row["granted_at"],
        "released_at": row["released_at"],
        "active": row["released_at"] is None,
        "used_up": row["used_up"],
        "place": (row["resource"], row["version"]),
    }


async def openings_due(connection: Connection) -> list[tuple[str, str, str | None]]:
    """(tenant, id, calendar) of resources that may open or close now."""
    rows = await connection.fetch(
        "SELECT o.tenant, o.id, r.calendar FROM opening o LEFT JOIN resource r USING (tenant, id)"
        " WHERE o.at <= clock_timestamp() ORDER BY o.at, o.tenant, o.id LIMIT 500"
    )
    return [(row["tenant"], row["id"], row["calendar"]) for row in rows]


async def absences_over(connection: Connection) -> list[tuple[str, str]]:
    """(tenant, id) of operators that should be back."""
    rows = await connection.fetch(
        "SELECT tenant, id FROM resource WHERE presence_until <= clock_timestamp() AND NOT deleted"
        " ORDER BY presence_until LIMIT 100"
    )
    return [(row["tenant"], row["id"]) for row in rows]
