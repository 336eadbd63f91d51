"""Incidents: opened, resolved, listed."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from kernel_runtime.database import Connection


class Incident(NamedTuple):
    """`count`: how often the same failure of the process came again after a retry; `version` rises with each change."""

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
    code: str | None
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody asks
    last_at: datetime
    version: int

    def again(self, error: str, now: datetime) -> "Incident":
        """The same, after it was tried again and failed in the same way."""
        return self._replace(
            state="open",
            action=None,
            resolved_at=None,
            error=error,
            count=self.count + 1,
            last_at=now,
            version=self.version + 1,
        )

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
        " $5::text[], $6::text[], $7::text[], $8::text[], $9::timestamptz[], $10::timestamptz[], $11::text[], $12::int[],"
        " $13::timestamptz[], $14::int[])",
        *zip(*new, strict=True),
    )


async def resolve_all(connection: Connection, done: Sequence[tuple[int, str, datetime]]) -> None:
    """(id, action, at) each."""
    await connection.execute(
        "UPDATE incident SET state = 'resolved', version = version + 1, action = new.action, resolved_at = new.at"
        " FROM unnest($1::bigint[], $2::text[], $3::timestamptz[]) AS new (id, action, at) WHERE incident.id = new.id",
        *zip(*done, strict=True),
    )


async def retried(connection: Connection, pids: Sequence[int]) -> dict[int, Incident]:
    """pid -> its last incident, where that was resolved by trying again."""
    rows = await connection.fetch(
        f"SELECT DISTINCT ON (pid) {_COLUMNS} FROM incident WHERE pid = ANY($1::bigint[]) ORDER BY pid, id DESC", pids
    )
    return {row["pid"]: Incident(*row) for row in rows if row["action"] == "retry"}


async def reopen_all(connection: Connection, again: Sequence[Incident]) -> None:
    await connection.execute(
        "UPDATE incident SET state = 'open', action = NULL, resolved_at = NULL, error = new.error, count = new.count,"
        " last_at = new.at, version = new.version FROM unnest($1::bigint[], $2::text[], $3::int[], $4::timestamptz[], $5::int[])"
        " AS new (id, error, count, at, version) WHERE incident.id = new.id",
        [each.id for each in again],
        [each.error for each in again],
        [each.count for each in again],
        [each.last_at for each in again],
        [each.version for each in again],
    )


async def assign_all(connection: Connection, changed: Sequence[Incident]) -> None:
    await connection.execute(
        "UPDATE incident SET assignee = new.assignee, version = version + 1"
        " FROM unnest($1::bigint[], $2::text[]) AS new (id, assignee) WHERE incident.id = new.id",
        [each.id for each in changed],
        [each.assignee for each in changed],
    )


async def groups(connection: Connection, tenant: str, state: str) -> list[dict[str, Any]]:
    """What happened to many processes alike, the most first: 500 at most."""
    rows = await connection.fetch(
        "SELECT incident.type, incident.code, process.service, count(*) AS incidents, sum(incident.count)::bigint AS occurrences,"
        " count(*) FILTER (WHERE assignee IS NULL) AS unassigned, min(opened_at) AS first_at, max(last_at) AS last_at,"
        " (array_agg(incident.pid ORDER BY incident.id DESC))[1:5] AS examples"
        " FROM incident JOIN process USING (pid) WHERE incident.tenant = $1 AND incident.state = $2"
        " GROUP BY 1, 2, 3 ORDER BY incidents DESC, 1, 2, 3 LIMIT 500",
        tenant,
        state,
    )
    return [dict(row) for row in rows]


async def one(connection: Connection, tenant: str, id: int) -> Incident | None:
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM incident WHERE id = $1 AND tenant = $2", id, tenant)
    return None if row is None else Incident(*row)


class Wanted(NamedTuple):
    """None: whichever. `assignee` empty: nobody's."""

    tenant: str
    state: str | None = None
    pid: int | None = None
    type: str | None = None
    assignee: str | None = None


_MATCH = (
    "tenant = $1 AND ($2::text IS NULL OR state = $2) AND ($3::bigint IS NULL OR pid = $3) AND ($4::text IS NULL OR type = $4)"
    " AND ($5::text IS NULL OR coalesce(assignee, '') = $5)"
)


async def page(connection: Connection, wanted: Wanted, before: int | None, limit: int) -> list[Incident]:
    """Newest first."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM incident WHERE {_MATCH} AND ($6::bigint IS NULL OR id < $6) ORDER BY id DESC LIMIT $7",
        *wanted,
        before,
        limit,
    )
    return [Incident(*row) for row in rows]


async def count(connection: Connection, wanted: Wanted) -> int:
    number = await connection.fetchval(f"SELECT count(*) FROM incident WHERE {_MATCH}", *wanted)
    assert isinstance(number, int)
    return number
