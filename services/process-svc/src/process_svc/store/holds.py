"""Legal holds: made, released, listed; never deleted."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from kernel_runtime.database import Connection


class Hold(NamedTuple):
    """`filter` is JSON: the members of a filter of processes."""

    id: int
    tenant: str
    pid: int | None
    filter: str | None
    reason: str
    by: str
    at: datetime
    released_by: str | None = None
    released_at: datetime | None = None

    @property
    def members(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.filter or "{}")
        return found

    def as_dict(self) -> dict[str, Any]:
        """As the public face has it."""
        told = {name: value for name, value in self._asdict().items() if name != "tenant"}
        return {**told, "filter": None if self.filter is None else orjson.Fragment(self.filter)}


_COLUMNS = ", ".join(Hold._fields)


async def lock(connection: Connection, ids: Sequence[int]) -> dict[int, Hold]:
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM hold WHERE id = ANY($1::bigint[]) ORDER BY id FOR UPDATE", list(ids)
    )
    return {row["id"]: Hold(*row) for row in rows}


async def save(connection: Connection, new: Sequence[Hold], released: Sequence[Hold]) -> None:
    if new:
        await connection.copy_records_to_table("hold", records=new, columns=Hold._fields)
    for each in released:
        await connection.execute(
            "UPDATE hold SET released_by = $2, released_at = $3 WHERE id = $1",
            each.id,
            each.released_by,
            each.released_at,
        )


async def active(connection: Connection) -> list[Hold]:
    """Of all tenants."""
    rows = await connection.fetch(f"SELECT {_COLUMNS} FROM hold WHERE released_at IS NULL ORDER BY id")
    return [Hold(*row) for row in rows]


async def page(connection: Connection, tenant: str, active: bool | None, after: int, limit: int) -> list[Hold]:
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM hold WHERE tenant = $1 AND id > $2"
        " AND ($3::boolean IS NULL OR (released_at IS NULL) = $3) ORDER BY id LIMIT $4",
        tenant,
        after,
        active,
        limit,
    )
    return [Hold(*row) for row in rows]
