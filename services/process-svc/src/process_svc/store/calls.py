"""Calls and their items: saved, counted, and what has come of them."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from kernel_contracts.vocabulary import CommandName, OnChildFailure, Outcome, Rest
from kernel_runtime.database import Connection

from process_svc.domain.calls import Call

_COLUMNS = (
    "id",
    "pid",
    "kind",
    "service",
    "version",
    "lands",
    "total",
    "need",
    "most",
    "on_child_failure",
    "rest",
    "template",
    "started",
    "ended",
    "completed",
)
"""In the order of Call."""


class Item(NamedTuple):
    """What one item of a call has come to. `error` is JSON: why it has no child; `changes`, `reason`: of the child's end."""

    call: int
    position: int
    child: int | None
    error: str | None
    state: str | None
    outcome: Outcome | None
    output: str | None
    changes: str | None
    reason: str | None


async def find(connection: Connection, ids: Iterable[int]) -> dict[int, Call]:
    """Their callers are locked."""
    found = await connection.fetch(f"SELECT {', '.join(_COLUMNS)} FROM call WHERE id = ANY($1::bigint[])", list(ids))
    return {row["id"]: call(row) for row in found}


def call(row: Any) -> Call:
    values = dict(row)
    made = [values[name] for name in _COLUMNS]
    made[2] = CommandName(made[2])
    made[9], made[10] = OnChildFailure(made[9]), Rest(made[10])
    return Call(*made)


async def add(
    connection: Connection, new: Sequence[tuple[Call, str, datetime]], items: Sequence[tuple[int, int, str]]
) -> None:
    """(call, tenant, at) and (call, index, item) each."""
    records = [
        (
            *(each.id, each.pid, each.kind, each.service, each.version, each.into, each.total, each.need, each.limit),
            *(each.on_child_failure, each.rest, each.template, each.started, each.ended, each.completed),
            *(tenant, True, at),
        )
        for each, tenant, at in new
    ]
    await connection.copy_records_to_table("call", records=records, columns=(*_COLUMNS, "tenant", "open", "at"))
    await connection.copy_records_to_table("call_item", records=items, columns=("call", "index", "item"))


async def count(connection: Connection, differences: Sequence[tuple[int, int, int, int]]) -> None:
    """(call, started, ended, completed) each, to be added; their callers are locked."""
    await connection.execute(
        "UPDATE call SET started = call.started + new.started, ended = call.ended + new.ended,"
        " completed = call.completed + new.completed"
        " FROM unnest($1::bigint[], $2::int[], $3::int[], $4::int[]) AS new (id, started, ended, completed)"
        " WHERE call.id = new.id",
        *zip(*differences, strict=True),
    )


async def close(connection: Connection, ids: Iterable[int]) -> None:
    await connection.execute("UPDATE call SET open = false WHERE id = ANY($1::bigint[])", list(ids))


async def begun(connection: Connection, items: Sequence[tuple[int, int, int | None, str | None]]) -> None:
    """(call, index, child, error) each."""
    await connection.execute(
        "UPDATE call_item SET child = new.child, error = new.error"
        " FROM unnest($1::bigint[], $2::int[], $3::bigint[], $4::text[]) AS new (call, index, child, error)"
        " WHERE call_item.call = new.call AND call_item.index = new.index",
        *zip(*items, strict=True),
    )


async def items(connection: Connection, wanted: Sequence[tuple[int, int, int]]) -> list[tuple[int, int, str]]:
    """(call, index, item) each, in their order, for (call, first, number)."""
    found = await connection.fetch(
        "SELECT i.call, i.index, i.item FROM unnest($1::bigint[], $2::int[], $3::int[]) AS wanted (call, first, number)"
        " JOIN call_item i ON i.call = wanted.call AND i.index >= first AND i.index < first + number ORDER BY 1, 2",
        *zip(*wanted, strict=True),
    )
    return [(row["call"], row["index"], row["item"]) for row in found]


async def outputs(connection: Connection, wanted: Sequence[tuple[int, int]]) -> dict[int, str | None]:
    """call -> the output of its item with this index, where that has completed."""
    found = await connection.fetch(
        "SELECT i.call, child.output FROM unnest($1::bigint[], $2::int[]) AS wanted (call, index)"
        " JOIN call_item i USING (call, index) JOIN process child ON child.pid = i.child WHERE child.outcome = 'completed'",
        *zip(*wanted, strict=True),
    )
    return {row["call"]: row["output"] for row in found}


_RESULTS = """
SELECT i.call, i.index, i.child, i.error, child.state, child.outcome, child.output, last.changes, last.reason
FROM call_item i LEFT JOIN process child ON child.pid = i.child
LEFT JOIN journal last ON last.pid = child.pid AND last.version = child.version AND child.outcome <> 'completed'
"""


async def results(connection: Connection, ids: Iterable[int]) -> dict[int, list[Item]]:
    """What has become of each item, in their order."""
    found: dict[int, list[Item]] = {id: [] for id in ids}
    for row in await connection.fetch(f"{_RESULTS} WHERE i.call = ANY($1::bigint[]) ORDER BY 1, 2", list(found)):
        found[row["call"]].append(_item(row))
    return found


def _item(row: Any) -> Item:
    item = Item(*row)
    return item if item.outcome is None else item._replace(outcome=Outcome(item.outcome))


async def of(connection: Connection, tenant: str, pid: int, before: int | None, limit: int) -> list[Any]:
    """The calls of a process, newest first, with an id below `before`."""
    return list(
        await connection.fetch(
            f"SELECT {', '.join(_COLUMNS)}, open, at FROM call WHERE tenant = $1 AND pid = $2"
            " AND ($3::bigint IS NULL OR id < $3) ORDER BY id DESC LIMIT $4",
            tenant,
            pid,
            before,
            limit,
        )
    )


async def one(connection: Connection, tenant: str, id: int) -> Call | None:
    row = await connection.fetchrow(f"SELECT {', '.join(_COLUMNS)} FROM call WHERE id = $1 AND tenant = $2", id, tenant)
    return None if row is None else call(row)


async def page(connection: Connection, id: int, after: int, limit: int) -> list[tuple[Item, str]]:
    """(what has become of it, the item itself) each, behind the index `after`."""
    found = await connection.fetch(
        f"SELECT r.*, given.item FROM ({_RESULTS} WHERE i.call = $1 AND i.index > $2 ORDER BY 2 LIMIT $3) r"
        " JOIN call_item given ON given.call = r.call AND given.index = r.index ORDER BY r.index",
        id,
        after,
        limit,
    )
    return [(_item(list(row)[:9]), row["item"]) for row in found]
