"""Leases of automatic work: one narrow row for each process that programs carry out, as long as it runs.

They are locked after the processes that they belong to, in the order of the pids; a claim waits for no lock.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from kernel_runtime.database import Connection

from process_svc.domain.lease import Lease

_LEASE = "pid, tenant, dispatch_id, token, worker, seconds, until"


class NewLease(NamedTuple):
    """As it is written with a dispatch. `operator`: who runs it (an agent), None where nobody does."""

    pid: int
    tenant: str
    dispatch_id: str
    service: str
    roles: Sequence[str]
    operator: str | None
    priority: int
    at: datetime
    token: int
    seconds: float
    worker: str | None = None
    claimed_by: str | None = None
    until: datetime | None = None


async def lock(connection: Connection, pids: Iterable[int]) -> dict[int, Lease]:
    found = await connection.fetch(
        f"SELECT {_LEASE} FROM work_lease WHERE pid = ANY($1::bigint[]) ORDER BY pid FOR UPDATE", list(pids)
    )
    return {row["pid"]: Lease(*row) for row in found}


async def states(connection: Connection, pids: Sequence[int]) -> dict[int, tuple[str, str]]:
    """pid -> (tenant, state in words) of those that exist."""
    found = await connection.fetch(
        "SELECT pid, tenant, state || coalesce(' (' || outcome || ')', '') AS state FROM process WHERE pid = ANY($1::bigint[])",
        pids,
    )
    return {row["pid"]: (row["tenant"], row["state"]) for row in found}


async def drop(connection: Connection, pids: Iterable[int]) -> None:
    await connection.execute(
        "DELETE FROM work_lease WHERE pid IN"
        " (SELECT pid FROM work_lease WHERE pid = ANY($1::bigint[]) ORDER BY pid FOR UPDATE)",
        list(pids),
    )


async def add(connection: Connection, new: Sequence[NewLease]) -> None:
    await connection.copy_records_to_table("work_lease", records=new, columns=NewLease._fields)


async def prioritize(connection: Connection, changed: Sequence[tuple[int, int]]) -> None:
    """(pid, priority) each."""
    await connection.execute(
        "UPDATE work_lease SET priority = new.priority FROM (SELECT work_lease.pid, wanted.priority FROM work_lease"
        " JOIN unnest($1::bigint[], $2::smallint[]) AS wanted (pid, priority) USING (pid) ORDER BY 1 FOR UPDATE OF work_lease"
        ") new WHERE work_lease.pid = new.pid",
        *zip(*changed, strict=True),
    )


async def extend(connection: Connection, beats: Sequence[tuple[int, float, datetime, str | None]]) -> None:
    """(pid, seconds, until, progress as JSON or None for as it was) each, of rows that are locked."""
    await connection.execute(
        "UPDATE work_lease SET seconds = new.seconds, until = new.until, progress = coalesce(new.progress, work_lease.progress)"
        " FROM unnest($1::bigint[], $2::float[], $3::timestamptz[], $4::text[]) AS new (pid, seconds, until, progress)"
        " WHERE work_lease.pid = new.pid",
        *zip(*beats, strict=True),
    )


async def lapsed(connection: Connection, limit: int) -> list[tuple[int, str, int]]:
    """(pid, tenant, token) of those whose end has passed."""
    found = await connection.fetch(
        "SELECT pid, tenant, token FROM work_lease WHERE until <= clock_timestamp() ORDER BY until LIMIT $1", limit
    )
    return [tuple(row) for row in found]


async def give_back(connection: Connection, held: Sequence[tuple[int, int]]) -> None:
    """(pid, token) each, whose worker never heard of them: to be claimed again, in their old place."""
    await connection.execute(
        "UPDATE work_lease SET worker = NULL, claimed_by = NULL, until = NULL"
        " FROM (SELECT work_lease.pid FROM work_lease JOIN unnest($1::bigint[], $2::bigint[]) AS held (pid, token)"
        " USING (pid, token) WHERE worker IS NOT NULL ORDER BY 1 FOR UPDATE OF work_lease) mine"
        " WHERE work_lease.pid = mine.pid",
        *zip(*held, strict=True),
    )


@dataclass(frozen=True, slots=True)
class Asked:
    """What some waiting claims have in common. `roles` None: of any service that is named."""

    tenant: str
    services: tuple[str, ...]
    roles: tuple[str, ...] | None
    operator: str | None


class Slot(NamedTuple):
    """Room for one process: the index of what is asked for, which of its rooms it is (from 1), and for whom."""

    asked: int
    place: int
    worker: str
    by: str
    seconds: float | None


_CLAIM = """
WITH asked AS (
    SELECT n::int - 1 AS asked, tenant, roles::jsonb AS roles, operator, number, service, nth
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int[]) WITH ORDINALITY
        AS wanted (tenant, services, roles, operator, number, n)
    CROSS JOIN LATERAL jsonb_array_elements_text(services::jsonb) WITH ORDINALITY AS service (service, nth)
), candidate AS (
    SELECT asked.asked, asked.number, asked.nth, found.*,
        row_number() OVER (PARTITION BY asked.asked, asked.service, found.priority ORDER BY found.at, found.pid) AS turn
    FROM asked CROSS JOIN LATERAL (
        SELECT pid, priority, at FROM work_lease lease
        WHERE lease.worker IS NULL AND lease.tenant = asked.tenant AND lease.service = asked.service
            AND (asked.roles IS NULL OR lease.roles = '{}' OR asked.roles ?| lease.roles)
            AND (asked.operator IS NULL OR lease.operator IS NULL OR lease.operator = asked.operator)
        ORDER BY priority DESC, at, pid LIMIT asked.number) found
), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY asked ORDER BY priority DESC, turn, nth, pid) AS rank FROM candidate
), chosen AS MATERIALIZED (
    SELECT DISTINCT ON (pid) pid, asked, rank FROM ranked WHERE rank <= number ORDER BY pid, asked
), locked AS MATERIALIZED (
    SELECT lease.pid, chosen.asked, chosen.rank FROM work_lease lease JOIN chosen USING (pid)
    WHERE lease.worker IS NULL FOR UPDATE OF lease SKIP LOCKED
), numbered AS (
    SELECT pid, asked, row_number() OVER (PARTITION BY asked ORDER BY rank) AS place FROM locked
), slot AS (
    SELECT * FROM unnest($6::int[], $7::int[], $8::text[], $9::text[], $10::float[])
        AS slot (asked, place, worker, by, seconds)
)
UPDATE work_lease SET worker = slot.worker, claimed_by = slot.by, token = work_lease.token + 1,
    seconds = coalesce(slot.seconds, work_lease.seconds),
    until = clock_timestamp() + make_interval(secs => coalesce(slot.seconds, work_lease.seconds))
FROM numbered JOIN slot USING (asked, place) JOIN process USING (pid)
WHERE work_lease.pid = numbered.pid AND work_lease.worker IS NULL
RETURNING slot.asked, slot.place, work_lease.pid, work_lease.token, work_lease.seconds, work_lease.until,
    process.service, process.service_version,
    process.entity_type, process.entity_id, process.context, process.attempt, process.priority, process.operator, process.due
"""


async def claim(connection: Connection, asked: Sequence[Asked], slots: Sequence[Slot], turn: int = 0) -> list[Any]:
    """Hands out what there is to all these claims at once: (asked, place, pid, ...) of each process that found a room.

    The highest priority first; of the same priority in turn over the services that are asked for (`turn` says with which it
    begins), of each the one that has waited longest. What another replica is handing out at this moment is passed over. A
    process that fits several groups goes to the first, and the other may get less than there is: ask again.
    """
    numbers = [0] * len(asked)
    for slot in slots:
        numbers[slot.asked] += 1
    return list(
        await connection.fetch(
            _CLAIM,
            [each.tenant for each in asked],
            [_json(_turned(each.services, turn)) for each in asked],
            [None if each.roles is None else _json(each.roles) for each in asked],
            [each.operator for each in asked],
            numbers,
            *zip(*slots, strict=True),
        )
    )


def _turned(services: Sequence[str], turn: int) -> Sequence[str]:
    first = turn % len(services)
    return (*services[first:], *services[:first])


def _json(names: Sequence[str]) -> str:
    return orjson.dumps(names).decode()


async def page(
    connection: Connection, tenant: str, service: str | None, worker: str | None, after: int, limit: int
) -> list[dict[str, Any]]:
    """By pid, as the public face has them."""
    found = await connection.fetch(
        "SELECT pid, service, priority, at, worker, claimed_by, token, until, progress FROM work_lease"
        " WHERE tenant = $1 AND ($2::text IS NULL OR service = $2) AND ($3::text IS NULL OR worker = $3) AND pid > $4"
        " ORDER BY pid LIMIT $5",
        tenant,
        service,
        worker,
        after,
        limit,
    )
    return [told(row) for row in found]


async def one(connection: Connection, tenant: str, pid: int) -> dict[str, Any] | None:
    row = await connection.fetchrow(
        "SELECT pid, service, priority, at, worker, claimed_by, token, until, progress FROM work_lease"
        " WHERE tenant = $1 AND pid = $2",
        tenant,
        pid,
    )
    return None if row is None else told(row)


def told(row: Any) -> dict[str, Any]:
    leased = row["worker"] is not None
    return {
        "pid": row["pid"],
        "service": row["service"],
        "priority": row["priority"],
        "offered_at": row["at"],
        "worker": row["worker"],
        "claimed_by": row["claimed_by"],
        "token": row["token"] if leased else None,
        "lease_until": row["until"],
        "progress": None if row["progress"] is None else orjson.Fragment(row["progress"]),
    }


async def counts(connection: Connection) -> tuple[int, int]:
    """(that wait to be claimed, that are leased)"""
    row = await connection.fetchrow(
        "SELECT count(*) FILTER (WHERE worker IS NULL), count(*) FILTER (WHERE worker IS NOT NULL) FROM work_lease"
    )
    return row[0], row[1]
