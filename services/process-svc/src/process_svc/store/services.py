"""Service definitions: immutable versions, and which one is the latest."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson
from kernel_runtime.database import Connection


@dataclass(frozen=True, slots=True)
class StoredService:
    tenant: str
    name: str
    version: int
    hash: bytes
    definition: str


Name = tuple[str, str]
"""(tenant, name)"""


async def versions(connection: Connection, wanted: Sequence[tuple[str, str, int]]) -> list[StoredService]:
    found = await connection.fetch(
        "SELECT tenant, name, version, hash, definition FROM service_version"
        " JOIN unnest($1::text[], $2::text[], $3::int[]) AS wanted (tenant, name, version) USING (tenant, name, version)",
        [tenant for tenant, _, _ in wanted],
        [name for _, name, _ in wanted],
        [version for _, _, version in wanted],
    )
    return [StoredService(**row) for row in found]


async def lock_latest(connection: Connection, names: Iterable[Name]) -> dict[Name, StoredService]:
    """The newest versions; nobody else defines these names until the transaction ends."""
    wanted = sorted(set(names))
    await connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended(name, 7)) FROM unnest($1::text[]) AS name",
        [f"{tenant}/{name}" for tenant, name in wanted],
    )
    return await newest(connection, wanted)


async def newest(connection: Connection, names: Iterable[Name]) -> dict[Name, StoredService]:
    """The newest versions of those that exist."""
    wanted = list(names)
    found = await connection.fetch(
        "SELECT v.tenant, v.name, v.version, v.hash, v.definition FROM service s"
        " JOIN unnest($1::text[], $2::text[]) AS wanted (tenant, name) USING (tenant, name)"
        " JOIN service_version v ON (v.tenant, v.name, v.version) = (s.tenant, s.name, s.latest)",
        [tenant for tenant, _ in wanted],
        [name for _, name in wanted],
    )
    return {(row["tenant"], row["name"]): StoredService(**row) for row in found}


async def add(
    connection: Connection, new: Sequence[tuple[StoredService, str, Sequence[str]]], at: datetime, by: str
) -> None:
    """Each with its kind and its roles, for which task lists are asked."""
    services = [service for service, _, _ in new]
    await connection.execute(
        "INSERT INTO service_version (tenant, name, version, hash, definition, kind, roles, at, by)"
        " SELECT tenant, name, version, hash, definition, kind, ARRAY(SELECT jsonb_array_elements_text(roles::jsonb)), $8, $9"
        " FROM unnest($1::text[], $2::text[], $3::int[], $4::bytea[], $5::text[], $6::text[], $7::text[])"
        " AS new (tenant, name, version, hash, definition, kind, roles)",
        [each.tenant for each in services],
        [each.name for each in services],
        [each.version for each in services],
        [each.hash for each in services],
        [each.definition for each in services],
        [kind for _, kind, _ in new],
        [orjson.dumps(roles).decode() for _, _, roles in new],
        at,
        by,
    )
    latest_of = {(each.tenant, each.name): each.version for each in services}
    await connection.execute(
        "INSERT INTO service (tenant, name, latest) SELECT * FROM unnest($1::text[], $2::text[], $3::int[])"
        " ON CONFLICT (tenant, name) DO UPDATE SET latest = excluded.latest",
        [tenant for tenant, _ in latest_of],
        [name for _, name in latest_of],
        list(latest_of.values()),
    )


async def one(connection: Connection, tenant: str, name: str, version: int | None) -> StoredService | None:
    row = await connection.fetchrow(
        "SELECT v.tenant, v.name, v.version, v.hash, v.definition FROM service s JOIN service_version v USING (tenant, name)"
        " WHERE s.tenant = $1 AND s.name = $2 AND v.version = coalesce($3, s.latest)",
        tenant,
        name,
        version if version is None or version < 2**31 else 0,
    )
    return None if row is None else StoredService(**row)


async def page(connection: Connection, tenant: str, after: str, limit: int) -> list[StoredService]:
    """The newest versions, by name."""
    found = await connection.fetch(
        "SELECT v.tenant, v.name, v.version, v.hash, v.definition FROM service s"
        " JOIN service_version v ON (v.tenant, v.name, v.version) = (s.tenant, s.name, s.latest)"
        " WHERE s.tenant = $1 AND s.name > $2 ORDER BY s.name LIMIT $3",
        tenant,
        after,
        limit,
    )
    return [StoredService(**row) for row in found]


async def count(connection: Connection, tenant: str) -> int:
    found = await connection.fetchval("SELECT count(*) FROM service WHERE tenant = $1", tenant)
    assert isinstance(found, int)
    return found


async def allowed(connection: Connection, tenant: str, roles: Sequence[str]) -> list[StoredService]:
    """The newest versions that people or agents run and that ask for no role or for one of these."""
    found = await connection.fetch(
        "SELECT v.tenant, v.name, v.version, v.hash, v.definition FROM service s"
        " JOIN service_version v ON (v.tenant, v.name, v.version) = (s.tenant, s.name, s.latest)"
        " WHERE s.tenant = $1 AND v.kind <> 'automatic' AND (v.roles = '{}' OR v.roles && $2::text[]) ORDER BY s.name",
        tenant,
        list(roles),
    )
    return [StoredService(**row) for row in found]
