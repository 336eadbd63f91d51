"""Entities that processes are about: references, whose turn it is, and all processes of one."""

import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kernel_runtime.database import Connection

from process_svc.domain.process import Process
from process_svc.store import rows

Scope = tuple[str, str, str, str]
"""(tenant, service, entity type, entity id)"""

_CLASS = 0x7475726E
"""Of our advisory locks, apart from those of others."""
_BUCKETS = 256
"""A batch takes so many locks at most: Postgres' table of locks is small, and sharing one now and then costs little."""


async def refer(connection: Connection, processes: Iterable[Process]) -> None:
    """Written with their processes."""
    found = [
        (process.tenant, each.type, each.id, process.pid, each.role)
        for process in processes
        for each in process.entities
    ]
    await connection.copy_records_to_table(
        "entity_reference", records=found, columns=("tenant", "type", "id", "pid", "role")
    )


# Of a line: its lowest pids (as many as may leave, and who comes then), its highest, and each one at hand with who is before it.
_LINES = """
SELECT tenant, service, entity_type, entity_id, found.pid
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS wanted (tenant, service, entity_type, entity_id)
CROSS JOIN LATERAL (
    (SELECT pid FROM entity_turn turn WHERE {same} ORDER BY pid LIMIT $5)
    UNION (SELECT pid FROM entity_turn turn WHERE {same} ORDER BY pid DESC LIMIT 1)) found
UNION
SELECT tenant, service, entity_type, entity_id, found.pid
FROM unnest($6::text[], $7::text[], $8::text[], $9::text[], $10::bigint[])
    AS wanted (tenant, service, entity_type, entity_id, own)
CROSS JOIN LATERAL (
    SELECT pid FROM entity_turn turn WHERE {same} AND turn.pid <= wanted.own ORDER BY pid DESC LIMIT 2) found
ORDER BY pid
""".format(
    same="(turn.tenant, turn.service, turn.entity_type, turn.entity_id)"
    " = (wanted.tenant, wanted.service, wanted.entity_type, wanted.entity_id)"
)


async def lock(
    connection: Connection, scopes: Iterable[Scope], standing: Mapping[int, Scope]
) -> dict[Scope, list[int]]:
    """Who is alive there, by pid; nobody else begins or ends there until the transaction does.

    Taken after the locks on processes, by all in the same order: no deadlock. Of a long line only what decisions about
    `standing` and newcomers look at: who comes right before each, and the two ends.
    """
    wanted = sorted(scopes)
    buckets = sorted({zlib.crc32("\x1f".join(scope).encode()) % _BUCKETS for scope in wanted})
    await connection.execute(
        f"SELECT pg_advisory_xact_lock({_CLASS}, bucket) FROM unnest($1::int[]) AS bucket", buckets
    )
    lines: dict[Scope, list[int]] = {scope: [] for scope in wanted}
    at_hand = [(*scope, pid) for pid, scope in standing.items()]
    found = await connection.fetch(
        _LINES,
        *zip(*wanted, strict=True),
        max(Counter(standing.values()).values(), default=0) + 2,
        *(zip(*at_hand, strict=True) if at_hand else ([],) * 5),
    )
    for row in found:
        lines[row["tenant"], row["service"], row["entity_type"], row["entity_id"]].append(row["pid"])
    return lines


async def enter(connection: Connection, new: Sequence[tuple[Scope, int]]) -> None:
    await connection.copy_records_to_table(
        "entity_turn",
        records=[(*scope, pid) for scope, pid in new],
        columns=("tenant", "service", "entity_type", "entity_id", "pid"),
    )


async def leave(connection: Connection, gone: Sequence[tuple[Scope, int]]) -> None:
    columns = zip(*((*scope, pid) for scope, pid in gone), strict=True)
    await connection.execute(
        "DELETE FROM entity_turn turn USING unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[])"
        " AS gone (tenant, service, entity_type, entity_id, pid)"
        " WHERE (turn.tenant, turn.service, turn.entity_type, turn.entity_id, turn.pid)"
        " = (gone.tenant, gone.service, gone.entity_type, gone.entity_id, gone.pid)",
        *columns,
    )


async def ahead(connection: Connection, process: Process) -> int | None:
    """Who comes right before it on its entity, where it stands in line."""
    found = await connection.fetchval(
        "SELECT max(ahead.pid) FROM entity_turn own JOIN entity_turn ahead"
        " USING (tenant, service, entity_type, entity_id) WHERE ahead.pid < own.pid"
        " AND (own.tenant, own.service, own.entity_type, own.entity_id, own.pid) = ($1, $2, $3, $4, $5)",
        process.tenant,
        process.service,
        process.entity_type,
        process.entity_id,
        process.pid,
    )
    return found if isinstance(found, int) else None


# All processes of an entity: those whose subject it is, and those that refer to it otherwise. Each branch is an index scan.
_OF = """
SELECT pid FROM process WHERE tenant = $1 AND entity_type = $2 AND entity_id = $3
UNION SELECT pid FROM entity_reference WHERE tenant = $1 AND type = $2 AND id = $3
"""


async def counts(connection: Connection, tenant: str, type: str, id: str) -> list[Any]:
    """(service, state, outcome, number) each."""
    return list(
        await connection.fetch(
            f"SELECT service, state, outcome, count(*) AS number FROM process WHERE pid IN ({_OF})"
            " GROUP BY service, state, outcome ORDER BY service, state, outcome",
            tenant,
            type,
            id,
        )
    )


async def roles(connection: Connection, tenant: str, type: str, id: str) -> dict[str, int]:
    """role -> how many processes know it as that; without those whose subject it is."""
    found = await connection.fetch(
        "SELECT role, count(*) AS number FROM entity_reference WHERE tenant = $1 AND type = $2 AND id = $3"
        " GROUP BY role ORDER BY role",
        tenant,
        type,
        id,
    )
    return {row["role"]: row["number"] for row in found}


async def subjects(connection: Connection, tenant: str, type: str, id: str) -> int:
    """How many processes it is the subject of."""
    number = await connection.fetchval(
        "SELECT count(*) FROM process WHERE tenant = $1 AND entity_type = $2 AND entity_id = $3", tenant, type, id
    )
    assert isinstance(number, int)
    return number


async def alive(connection: Connection, tenant: str, type: str, id: str, limit: int) -> list[Process]:
    """Those that have not ended, by pid."""
    found = await connection.fetch(
        f"SELECT {rows.select('false')} FROM process WHERE pid IN ({_OF}) AND state <> 'TERMINATED' ORDER BY pid LIMIT $4",
        tenant,
        type,
        id,
        limit,
    )
    return [rows.process(row) for row in found]


async def ended(connection: Connection, tenant: str, type: str, id: str, before: int, limit: int) -> list[Process]:
    """Those that have, the newest first, with a pid below `before`."""
    found = await connection.fetch(
        f"SELECT {rows.select('false')} FROM process WHERE pid IN ({_OF}) AND state = 'TERMINATED' AND pid < $4"
        " ORDER BY pid DESC LIMIT $5",
        tenant,
        type,
        id,
        before,
        limit,
    )
    return [rows.process(row) for row in found]
