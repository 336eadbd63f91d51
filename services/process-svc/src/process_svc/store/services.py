"""Service definitions: immutable versions, and which one is the latest."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

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


async def latest(connection: Connection, names: Iterable[Name]) -> dict[Name, int]:
    """The newest version of each that exists."""
    wanted = sorted(set(names))
    found = await connection.fetch(
        "SELECT tenant, name, latest FROM service JOIN unnest($1::text[], $2::text[]) AS wanted (tenant, name)"
        " USING (tenant, name)",
        [tenant for tenant, _ in wanted],
        [name for _, name in wanted],
    )
    return {(row["tenant"], row["name"]): row["latest"] for row in found}


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
    """The newest versions, locked until the transaction ends; new names are held by an advisory lock."""
    wanted = sorted(set(names))
    for tenant, name in wanted:
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"{tenant}/{name}")
    found = await connection.fetch(
        "SELECT v.tenant, v.name, v.version, v.hash, v.definition FROM service s"
        " JOIN unnest($1::text[], $2::text[]) AS wanted (tenant, name) USING (tenant, name)"
        " JOIN service_version v ON (v.tenant, v.name, v.version) = (s.tenant, s.name, s.latest)",
        [tenant for tenant, _ in wanted],
        [name for _, name in wanted],
    )
    return {(row["tenant"], row["name"]): StoredService(**row) for row in found}


async def add(connection: Connection, new: Sequence[StoredService], at: datetime, by: str) -> None:
    await connection.execute(
        "INSERT INTO service_version (tenant, name, version, hash, definition, at, by)"
        " SELECT tenant, name, version, hash, definition, $6, $7 FROM"
        " unnest($1::text[], $2::text[], $3::int[], $4::bytea[], $5::text[]) AS new (tenant, name, version, hash, definition)",
        [each.tenant for each in new],
        [each.name for each in new],
        [each.version for each in new],
        [each.hash for each in new],
        [each.definition for each in new],
        at,
        by,
    )
    await connection.execute(
        "INSERT INTO service (tenant, name, latest) SELECT * FROM unnest($1::text[], $2::text[], $3::int[])"
        " ON CONFLICT (tenant, name) DO UPDATE SET latest = excluded.latest",
        [each.tenant for each in new],
        [each.name for each in new],
        [each.version for each in new],
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
