"""Reads: lists by filter, one process, its history, snapshots and family."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from kernel_runtime.database import Connection

from process_svc.domain.process import Process
from process_svc.store import rows


@dataclass(slots=True)
class Filter:
    """Conditions that all hold; texts of SQL with numbered parameters are made here alone."""

    tenant: str
    clauses: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.add("tenant = {}", self.tenant)

    def add(self, clause: str, *values: Any) -> None:
        """`clause` with a `{}` for each value."""
        numbers = []
        for value in values:
            self.values.append(value)
            numbers.append(f"${len(self.values)}")
        self.clauses.append(clause.format(*numbers))

    @property
    def where(self) -> str:
        return " AND ".join(self.clauses)


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
        f"SELECT {rows.SELECT} FROM process WHERE {where} ORDER BY {order} LIMIT ${len(values)}", *values
    )
    return [rows.process(row) for row in selected]


async def count(connection: Connection, found: Filter) -> int:
    number = await connection.fetchval(f"SELECT count(*) FROM process WHERE {found.where}", *found.values)
    assert isinstance(number, int)
    return number


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
    row = await connection.fetchrow(f"SELECT {rows.SELECT} FROM process WHERE pid = $1 AND tenant = $2", pid, tenant)
    return None if row is None else rows.process(row)


async def history(connection: Connection, pid: int) -> list[dict[str, Any]]:
    """Oldest first."""
    found = await connection.fetch("SELECT * FROM journal WHERE pid = $1 ORDER BY version", pid)
    return [
        {
            "version": row["version"],
            "type": row["type"],
            "from_state": row["from_state"],
            "state": row["state"],
            "outcome": row["outcome"],
            "at": row["at"],
            "by": row["by"],
            "reason": row["reason"],
            "cause": row["cause"],
            "correlation": row["correlation"],
            "operator": row["operator"],
            "dispatch_id": row["dispatch_id"],
            "changes": None if row["changes"] is None else orjson.Fragment(row["changes"]),
        }
        for row in found
    ]


async def snapshots(connection: Connection, pid: int) -> list[Any]:
    return list(await connection.fetch("SELECT * FROM snapshot WHERE pid = $1 ORDER BY version", pid))


async def family(connection: Connection, tenant: str, root: int, limit: int) -> list[Process]:
    """All processes below a root, the root too, by pid."""
    found = await connection.fetch(
        f"SELECT {rows.SELECT} FROM process WHERE tenant = $1 AND pid IN ("
        "WITH RECURSIVE below AS (SELECT pid FROM process WHERE pid = $2"
        " UNION SELECT child.pid FROM process child JOIN below ON child.parent = below.pid) SELECT pid FROM below)"
        " ORDER BY pid LIMIT $3",
        tenant,
        root,
        limit,
    )
    return [rows.process(row) for row in found]


async def claimable(
    connection: Connection, tenant: str, operator: str, services: Sequence[tuple[str, int]], limit: int
) -> list[Process]:
    """READY ones of these service versions that are not somebody else's, in the order of the queue."""
    found = await connection.fetch(
        f"SELECT {rows.SELECT} FROM process JOIN unnest($3::text[], $4::int[]) AS may (service, service_version)"
        " USING (service, service_version) WHERE tenant = $1 AND state = 'READY' AND coalesce(assigned, $2) = $2"
        " ORDER BY priority DESC, ready_at, pid LIMIT $5",
        tenant,
        operator,
        [name for name, _ in services],
        [version for _, version in services],
        limit,
    )
    return [rows.process(row) for row in found]


async def incidents(
    connection: Connection, tenant: str, state: str | None, pid: int | None, after: int | None, limit: int
) -> list[dict[str, Any]]:
    """Newest first."""
    found = await connection.fetch(
        "SELECT * FROM incident WHERE tenant = $1 AND ($2::text IS NULL OR state = $2) AND ($3::bigint IS NULL OR pid = $3)"
        " AND ($4::bigint IS NULL OR id < $4) ORDER BY id DESC LIMIT $5",
        tenant,
        state,
        pid,
        after,
        limit,
    )
    return [
        {
            "id": row["id"],
            "pid": row["pid"],
            "type": row["type"],
            "error": orjson.Fragment(row["error"]),
            "state": row["state"],
            "action": row["action"],
            "assignee": row["assignee"],
            "opened_at": row["opened_at"],
            "resolved_at": row["resolved_at"],
        }
        for row in found
    ]
