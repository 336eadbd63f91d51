"""Items of bulk jobs: which are left, how they were settled."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson
from kernel_runtime.database import Connection


class Settled(NamedTuple):
    """`status`: done or failed. `problem` and `change` are JSON."""

    job: int
    item: int
    status: str
    problem: str | None = None
    change: str | None = None


async def left(connection: Connection, job: int, after: int, limit: int) -> list[tuple[int, int]]:
    """(item, pid) of the next that are not settled, behind the item `after`."""
    rows = await connection.fetch(
        "SELECT item, pid FROM job_item WHERE job = $1 AND item > $2 AND status IS NULL ORDER BY item LIMIT $3",
        job,
        after,
        limit,
    )
    return [(row["item"], row["pid"]) for row in rows]


async def unsettled(connection: Connection, wanted: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
    """Which of these (job, item) are not settled yet. Asked while their jobs are locked."""
    rows = await connection.fetch(
        "SELECT job_item.job, job_item.item FROM unnest($1::bigint[], $2::bigint[]) AS wanted (job, item)"
        " JOIN job_item ON job_item.job = wanted.job AND job_item.item = wanted.item WHERE status IS NULL",
        *zip(*wanted, strict=True),
    )
    return {(row["job"], row["item"]) for row in rows}


async def settle(connection: Connection, items: Sequence[Settled]) -> None:
    await connection.execute(
        "UPDATE job_item SET status = new.status, problem = new.problem, change = new.change"
        " FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[])"
        " AS new (job, item, status, problem, change) WHERE job_item.job = new.job AND job_item.item = new.item",
        *zip(*items, strict=True),
    )


async def page(connection: Connection, job: int, status: str | None, after: int, limit: int) -> list[dict[str, Any]]:
    """By item; `status` None is any, `pending` those that are not settled."""
    rows = await connection.fetch(
        "SELECT item, pid, status, problem, change FROM job_item WHERE job = $1 AND item > $2"
        " AND ($3::text IS NULL OR coalesce(status, 'pending') = $3) ORDER BY item LIMIT $4",
        job,
        after,
        status,
        limit,
    )
    return [
        {
            "item": row["item"],
            "pid": row["pid"],
            "status": row["status"] or "pending",
            **{name: orjson.Fragment(row[name]) for name in ("problem", "change") if row[name] is not None},
        }
        for row in rows
    ]
