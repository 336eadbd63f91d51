"""Incidents: opened, resolved, listed."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from kernel_runtime.database import Connection


class Incident(NamedTuple):
    id: int
    tenant: str
    pid: int
    type: str
    error: str
    """JSON."""
    state: str
    action: str | None
    assignee: str | None
    opened_at: datetime
    resolved_at: datetime | None

    def as_dict(self) -> dict[str, Any]:
        """As the public face has it."""
        return {**self._asdict(), "error": orjson.Fragment(self.error)}


_COLUMNS = ", ".join(Incident._fields)


async def found(connection: Connection, ids: Iterable[int]) -> dict[int, Incident]:
    """Read before their processes are locked: whether one is open, the process says."""
    rows = await connection.fetch(f"SELECT {_COLUMNS} FROM incident WHERE id = ANY($1::bigint[])", list(ids))
    return {row["id"]: Incident(*row) for row in rows}


async def open_all(connection: Connection, new: Sequence[Incident]) -> None:
    await connection.execute(
        f"INSERT INTO incident ({_COLUMNS}) SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[],"
        " $5::text[], $6::text[], $7::text[], $8::text[], $9::timestamptz[], $10::timestamptz[])",
        *zip(*new, strict=True),
    )


async def resolve_all(connection: Connection, done: Sequence[tuple[int, str, datetime]]) -> None:
    """(id, action, at) each."""
    await connection.execute(
        "UPDATE incident SET state = 'resolved', action = new.action, resolved_at = new.at"
        " FROM unnest($1::bigint[], $2::text[], $3::timestamptz[]) AS new (id, action, at) WHERE incident.id = new.id",
        *zip(*done, strict=True),
    )


async def one(connection: Connection, tenant: str, id: int) -> Incident | None:
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM incident WHERE id = $1 AND tenant = $2", id, tenant)
    return None if row is None else Incident(*row)


_MATCH = "tenant = $1 AND ($2::text IS NULL OR state = $2) AND ($3::bigint IS NULL OR pid = $3)"


async def page(
    connection: Connection, tenant: str, state: str | None, pid: int | None, before: int | None, limit: int
) -> list[Incident]:
    """Newest first."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM incident WHERE {_MATCH} AND ($4::bigint IS NULL OR id < $4) ORDER BY id DESC LIMIT $5",
        tenant,
        state,
        pid,
        before,
        limit,
    )
    return [Incident(*row) for row in rows]


async def count(connection: Connection, tenant: str, state: str | None, pid: int | None) -> int:
    number = await connection.fetchval(f"SELECT count(*) FROM incident WHERE {_MATCH}", tenant, state, pid)
    assert isinstance(number, int)
    return number
