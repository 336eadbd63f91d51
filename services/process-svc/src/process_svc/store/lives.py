"""The life of services: which version new processes get, and whether there may be any."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from kernel_runtime.database import Connection

from process_svc.domain.life import Canary, Deprecation, Life
from process_svc.store.services import Name

_COLUMNS = "latest, number, pinned, retired_at, canary, canary_share, deprecated"


class LifeChange(NamedTuple):
    """One row of its history; `body` is JSON."""

    tenant: str
    name: str
    number: int
    at: datetime
    by: str
    action: str
    body: str


async def found(connection: Connection, names: Iterable[Name]) -> dict[Name, Life]:
    """Of those services that exist."""
    wanted = sorted(set(names))
    rows = await connection.fetch(
        f"SELECT tenant, name, {_COLUMNS} FROM service JOIN unnest($1::text[], $2::text[]) AS wanted (tenant, name)"
        " USING (tenant, name)",
        [tenant for tenant, _ in wanted],
        [name for _, name in wanted],
    )
    return {(row["tenant"], row["name"]): _life(row) for row in rows}


async def change(connection: Connection, lives: Sequence[tuple[Name, Life]], told: Sequence[LifeChange]) -> None:
    """Of services that are locked."""
    await connection.execute(
        "UPDATE service SET number = new.number, pinned = new.pinned, retired_at = new.retired_at, canary = new.canary,"
        " canary_share = new.share, deprecated = new.deprecated"
        " FROM unnest($1::text[], $2::text[], $3::int[], $4::int[], $5::timestamptz[], $6::int[], $7::float[], $8::text[])"
        " AS new (tenant, name, number, pinned, retired_at, canary, share, deprecated)"
        " WHERE (service.tenant, service.name) = (new.tenant, new.name)",
        [tenant for (tenant, _), _ in lives],
        [name for (_, name), _ in lives],
        [life.number for _, life in lives],
        [life.pinned for _, life in lives],
        [life.retired_at for _, life in lives],
        [None if life.canary is None else life.canary.version for _, life in lives],
        [None if life.canary is None else life.canary.share for _, life in lives],
        [_deprecated(life) for _, life in lives],
    )
    if told:
        await connection.copy_records_to_table("service_change", records=told, columns=LifeChange._fields)


async def versions(
    connection: Connection, tenant: str, name: str, before: int, limit: int, *, counted: bool
) -> list[dict[str, Any]]:
    """version, at, by, hash, kind of versions below `before`, newest first; where `counted` how many processes are `alive`."""
    rows = await connection.fetch(
        "SELECT version, at, by, encode(hash, 'hex') AS hash, kind FROM service_version"
        " WHERE tenant = $1 AND name = $2 AND version < $3 ORDER BY version DESC LIMIT $4",
        tenant,
        name,
        before,
        limit,
    )
    items = [dict(row) for row in rows]
    if counted:
        numbers = await connection.fetch(
            "SELECT service_version, count(*) AS alive FROM process"
            " WHERE tenant = $1 AND service = $2 AND state <> 'TERMINATED' GROUP BY 1",
            tenant,
            name,
        )
        alive = {row["service_version"]: row["alive"] for row in numbers}
        for item in items:
            item["alive"] = alive.get(item["version"], 0)
    return items


async def changes(connection: Connection, tenant: str, name: str, limit: int) -> list[dict[str, Any]]:
    """Newest first."""
    rows = await connection.fetch(
        "SELECT number, at, by, action, body FROM service_change WHERE tenant = $1 AND name = $2 ORDER BY number DESC LIMIT $3",
        tenant,
        name,
        limit,
    )
    return [{**row, "body": orjson.Fragment(row["body"])} for row in rows]


def _life(row: Any) -> Life:
    deprecated = {} if row["deprecated"] is None else orjson.loads(row["deprecated"])
    return Life(
        row["latest"],
        row["number"],
        row["pinned"],
        row["retired_at"],
        None if row["canary"] is None else Canary(row["canary"], row["canary_share"]),
        {
            int(version): Deprecation(
                datetime.fromisoformat(at), None if sunset is None else datetime.fromisoformat(sunset), reason
            )
            for version, (at, sunset, reason) in deprecated.items()
        },
    )


def _deprecated(life: Life) -> str | None:
    if not life.deprecated:
        return None
    return orjson.dumps(
        {str(version): [each.at, each.sunset, each.reason] for version, each in life.deprecated.items()}
    ).decode()
