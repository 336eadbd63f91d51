"""What a resource was and who held how much of it, for what is asked about times past; and a calendar with its layers."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from kernel_runtime.database import Connection
from kernel_worktime import micros

from resource_svc.domain.availability import FOREVER, Change, Held
from resource_svc.domain.resource import Resource
from resource_svc.store import sql
from resource_svc.store.records import resource

_CHANGES = """
SELECT c.at, c.capacity, c.definition, c.what FROM resource r JOIN resource_change c ON c.resource = r.number
WHERE r.tenant = $1 AND r.id = $2 AND c.at < $4 AND c.version >= coalesce((
    SELECT max(version) FROM resource_change WHERE resource = r.number AND at <= $3), 0)
ORDER BY c.version
"""
_HELD = """
SELECT a.granted_at, CASE WHEN a.released_version IS NULL THEN NULL ELSE a.released_at END AS until, a.units
FROM resource r JOIN allocation a ON a.resource = r.number
WHERE r.tenant = $1 AND r.id = $2 AND a.granted_at < $4 AND (a.released_version IS NULL OR a.released_at > $3)
"""
"""What was taken of a consumable is never given back."""


class Layer(NamedTuple):
    """A calendar as it is stored; `definition` is JSON."""

    id: str
    version: int
    definition: str


async def layers(connection: Connection, tenant: str, id: str) -> list[Layer]:
    """A calendar and all that lie below it, by id; empty where there is no such calendar."""
    rows = await connection.fetch(sql.CALENDARS, [tenant], [id])
    return [Layer(row["id"], row["version"], row["definition"]) for row in rows]


async def changes(connection: Connection, tenant: str, id: str, start: datetime, end: datetime) -> list[Change]:
    """Its definitions from the one that held at `start` until `end`, oldest first."""
    rows = await connection.fetch(_CHANGES, tenant, id, start, end)
    return [Change(micros(row["at"]), None if row["what"] == "deleted" else then(row)) for row in rows]


async def held(connection: Connection, tenant: str, id: str, start: datetime, end: datetime) -> Sequence[Held]:
    """What was held of it at any time from `start` until `end`."""
    rows = await connection.fetch(_HELD, tenant, id, start, end)
    return [
        Held(micros(row["granted_at"]), FOREVER if row["until"] is None else micros(row["until"]), row["units"])
        for row in rows
    ]


def then(row: Any) -> Resource:
    """A resource out of a row of its history."""
    old = orjson.loads(row["definition"])
    fields = {name: orjson.dumps(old[name]) for name in ("labels", "roles", "skills")}
    until = old["presence_until"]
    return resource(
        {
            "closed": False,
            **old,
            **fields,
            "presence_until": until and datetime.fromisoformat(until),
            "capacity": row["capacity"],
            "deleted": False,
        }
    )
