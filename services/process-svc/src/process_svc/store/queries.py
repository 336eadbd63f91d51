"""Reads: lists by filter, one process, its history, snapshots and family."""

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson
from kernel_runtime.database import Connection

from process_svc.domain.process import Process
from process_svc.store import rows
from process_svc.store.filters import Filter

_WHOLE = rows.select("true")
_SMALL = rows.select("false")

SORTS = {
    "pid": ("pid", "bigint"),
    "created_at": ("created_at", "timestamptz"),
    "priority": ("priority", "smallint"),
    "due": ("coalesce(due, 'infinity')", "timestamptz"),
}


async def page(
    connection: Connection, found: Filter, sort: str, descending: bool, cursor: Sequence[Any] | None, limit: int
) -> list[Process]:
    """At most `limit` after `cursor` (sort value, pid) in the order of `sort`, then pid."""
    column, kind = SORTS[sort]
    direction, compare = ("DESC", "<") if descending else ("ASC", ">")
    values = list(found.values)
    where = found.where
    if cursor is not None:
        values += [str(cursor[0]), int(cursor[1])]
        where += f" AND ({column}, pid) {compare} (${len(values) - 1}::text::{kind}, ${len(values)}::bigint)"
    values.append(limit)
    order = f"{column} {direction}, pid {direction}" if sort != "pid" else f"pid {direction}"
    selected = await connection.fetch(
        f"SELECT {_SMALL} FROM process WHERE {where} ORDER BY {order} LIMIT ${len(values)}", *values
    )
    return [rows.process(row) for row in selected]


COUNTED = 100_000
"""What is counted exactly; beyond it, more is all that is said."""


async def count(connection: Connection, found: Filter) -> tuple[int, bool]:
    """How many there are, and whether there are more than that."""
    number = await connection.fetchval(
        f"SELECT count(*) FROM (SELECT FROM process WHERE {found.where} LIMIT {COUNTED + 1}) found", *found.values
    )
    assert isinstance(number, int)
    return min(number, COUNTED), number > COUNTED


def encode_cursor(process: Process, sort: str) -> str:
    value: Any = getattr(process, sort)
    if sort == "due" and value is None:
        value = "infinity"
    text = value.isoformat() if isinstance(value, datetime) else value
    return base64.urlsafe_b64encode(orjson.dumps([sort, text, process.pid])).decode().rstrip("=")


def decode_cursor(text: str, sort: str) -> list[Any] | None:
    """The (sort value, pid) in a cursor of ours, or None where it is none or of another order."""
    try:
        found = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        name, value, pid = found
        if name != sort or not isinstance(pid, int):
            return None
        if sort in ("pid", "priority"):
            int(value)
        elif value != "infinity":
            datetime.fromisoformat(value)
        return [value, pid]
    except (ValueError, TypeError, binascii.Error):
        return None


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
    """READY ones that its roles allow and that are not somebody else's, in the order of the queue."""
    priority, ready_at, pid = (None, None, None) if after is None else after
    found = await connection.fetch(
        f"SELECT {_SMALL} FROM process WHERE tenant = $1 AND state = 'READY' AND (assigned IS NULL OR assigned = $2)"
        " AND EXISTS (SELECT FROM service_version v WHERE v.tenant = process.tenant AND v.name = process.service"
        " AND v.version = process.service_version AND v.kind <> 'automatic' AND (v.roles = '{}' OR v.roles && $3::text[]))"
        " AND ($4::smallint IS NULL OR priority < $4 OR (priority = $4 AND (ready_at, pid) > ($5::timestamptz, $6::bigint)))"
        " ORDER BY priority DESC, ready_at, pid LIMIT $7",
        tenant,
        operator,
        list(roles),
        priority,
        ready_at,
        pid,
        limit,
    )
    return [rows.process(row) for row in found]
