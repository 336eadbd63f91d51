"""Reads: one process, its family, and task lists."""

from collections.abc import Sequence
from datetime import datetime

from kernel_runtime.database import Connection

from process_svc.domain.process import Process
from process_svc.store import rows

_WHOLE = rows.select("true")
_SMALL = rows.select("false")


async def one(connection: Connection, tenant: str, pid: int) -> Process | None:
    row = await connection.fetchrow(f"SELECT {_WHOLE} FROM process WHERE pid = $1 AND tenant = $2", pid, tenant)
    return None if row is None else rows.process(row)


async def family(connection: Connection, tenant: str, root: int, limit: int) -> list[Process]:
    """A root and all processes below it, by pid: parents come before their children."""
    found = await connection.fetch(
        f"SELECT {_SMALL} FROM process WHERE tenant = $1 AND (pid = $2 OR (root = $2 AND parent IS NOT NULL))"
        " ORDER BY pid LIMIT $3",
        tenant,
        root,
        limit,
    )
    return [rows.process(row) for row in found]


async def descendants(connection: Connection, tenant: str, pid: int, generations: int, limit: int) -> list[Process]:
    """A process and those below it, `generations` in all, by pid."""
    found = await connection.fetch(
        "WITH RECURSIVE below (pid, generation) AS (SELECT $2::bigint, 1 UNION ALL"
        " SELECT child.pid, generation + 1 FROM below JOIN process child ON child.parent = below.pid WHERE generation < $3)"
        f" SELECT {_SMALL} FROM process WHERE tenant = $1 AND pid IN (SELECT pid FROM below LIMIT $4) ORDER BY pid",
        tenant,
        pid,
        generations,
        limit,
    )
    return [rows.process(row) for row in found]


async def running(connection: Connection, tenant: str, operator: str, after: int, limit: int) -> list[Process]:
    """What an operator runs, by pid."""
    found = await connection.fetch(
        f"SELECT {_SMALL} FROM process WHERE tenant = $1 AND state = 'RUNNING' AND operator = $2 AND pid > $3"
        " ORDER BY pid LIMIT $4",
        tenant,
        operator,
        after,
        limit,
    )
    return [rows.process(row) for row in found]


async def claimable(
    connection: Connection,
    tenant: str,
    operator: str,
    roles: Sequence[str],
    after: tuple[int, datetime, int] | None,
    limit: int,
) -> list[Process]:
    """READY ones that its roles allow and that are not somebody else's, in the order of the queue.

    The first of each service version that the roles allow, put together with those that are assigned to it: never the whole
    queue.
    """
    priority, ready_at, pid = (None, None, None) if after is None else after
    behind = (
        " AND ($4::smallint IS NULL OR priority < $4 OR (priority = $4 AND (ready_at, pid) > ($5::timestamptz, $6::bigint)))"
        " ORDER BY priority DESC, ready_at, pid LIMIT $7"
    )
    columns = "process.pid, process.priority, process.ready_at"
    found = await connection.fetch(
        "WITH allowed AS MATERIALIZED (SELECT name, version FROM service_version v WHERE v.tenant = $1"
        " AND v.kind <> 'automatic' AND (v.roles = '{}' OR v.roles && $3::text[])),"
        " anybody AS (SELECT first.* FROM allowed CROSS JOIN LATERAL ("
        f" SELECT {columns} FROM process WHERE tenant = $1 AND state = 'READY' AND assigned IS NULL"
        f" AND service = allowed.name AND service_version = allowed.version{behind}) first),"
        f" own AS (SELECT {columns} FROM process JOIN allowed ON allowed.name = service AND allowed.version = service_version"
        f" WHERE tenant = $1 AND state = 'READY' AND assigned = $2{behind}),"
        " page AS (SELECT * FROM (SELECT * FROM anybody UNION ALL SELECT * FROM own) found"
        " ORDER BY priority DESC, ready_at, pid LIMIT $7)"
        f" SELECT {_SMALL} FROM process WHERE pid = ANY (ARRAY(SELECT pid FROM page)) ORDER BY priority DESC, ready_at, pid",
        tenant,
        operator,
        list(roles),
        priority,
        ready_at,
        pid,
        limit,
    )
    return [rows.process(row) for row in found]
