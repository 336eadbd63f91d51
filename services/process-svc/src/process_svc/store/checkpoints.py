"""Signed checkpoints: the heads of all chains that changed since the one before, and what was signed of them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from kernel_runtime.database import Connection

LARGEST = 100_000
"""Journal rows that one checkpoint covers, about: of a long time without any, several are made."""


class Checkpoint(NamedTuple):
    """`hash` is the SHA-256 of `statement`, which is what the signature is of: JSON text, see `signing.statement`."""

    tenant: str
    number: int
    upto: datetime
    statement: str
    hash: bytes
    signature: bytes
    public_key: bytes


class Due(NamedTuple):
    """What a tenant's next checkpoint covers: `digest` over (pid, version, hash) of each head, in the order of pid."""

    tenant: str
    number: int
    previous: bytes | None
    heads: int
    digest: bytes


# A row's time was read after its transaction had begun, so none can still come with a time before that of the oldest
# transaction that writes. A transaction that is about to write reads its time a moment before it shows here: hence the second.
_SETTLED = """
SELECT least(clock_timestamp() - interval '1 s', (SELECT min(xact_start) - interval '1 us' FROM pg_stat_activity
    WHERE datname = current_database() AND backend_xid IS NOT NULL AND pid <> pg_backend_pid()))
"""
DIGEST = r"sha256(coalesce(string_agg(int8send(pid) || int4send(version) || hash, ''::bytea ORDER BY pid), ''::bytea))"
"""SQL: over heads, 44 bytes each: pid (8, big-endian), version (4), hash (32)."""

_COLLECT = f"""
WITH heads AS MATERIALIZED (
    SELECT DISTINCT ON (journal.pid) process.tenant, journal.pid, journal.version, journal.hash
    FROM journal JOIN process USING (pid)
    WHERE journal.at > $1 AND journal.at <= $2 AND journal.hash IS NOT NULL ORDER BY journal.pid, journal.version DESC),
known AS (
    SELECT each_one.tenant, newest.hash AS previous, greatest(newest.number, 0,
        (SELECT max(number) FROM checkpoint_head WHERE checkpoint_head.tenant = each_one.tenant)) + 1 AS number
    FROM (SELECT DISTINCT tenant FROM heads) each_one
    LEFT JOIN LATERAL (SELECT number, hash FROM checkpoint WHERE checkpoint.tenant = each_one.tenant
        ORDER BY number DESC LIMIT 1) newest ON true),
written AS (
    INSERT INTO checkpoint_head (tenant, number, pid, version, hash)
    SELECT tenant, number, pid, version, hash FROM heads JOIN known USING (tenant))
SELECT tenant, number, previous, count(*) AS count, {DIGEST} AS digest
FROM heads JOIN known USING (tenant) GROUP BY tenant, number, previous ORDER BY tenant
"""


async def collect(connection: Connection) -> tuple[datetime, list[Due], bool]:
    """Writes the heads that changed since the last time, all of whose transactions have ended.

    Up to when, what is to be signed for it in the same transaction, and whether there is more.
    """
    since = await connection.fetchval(
        "SELECT coalesce((SELECT upto FROM checkpoint ORDER BY upto DESC LIMIT 1), (SELECT since FROM ledger))"
    )
    upto = await connection.fetchval(_SETTLED)
    part = await connection.fetchval(
        "SELECT at FROM journal WHERE at > $1 AND at <= $2 AND hash IS NOT NULL ORDER BY at LIMIT 1 OFFSET $3",
        since,
        upto,
        LARGEST,
    )
    if part is not None:
        upto = part
    rows = await connection.fetch(_COLLECT, since, upto)
    return upto, [Due(*row) for row in rows], part is not None


async def add(connection: Connection, new: Sequence[Checkpoint]) -> None:
    await connection.copy_records_to_table("checkpoint", records=new, columns=Checkpoint._fields)


_COLUMNS = ", ".join(Checkpoint._fields)


async def page(connection: Connection, tenant: str, after: int, limit: int) -> list[Checkpoint]:
    """By number."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM checkpoint WHERE tenant = $1 AND number > $2 ORDER BY number LIMIT $3",
        tenant,
        after,
        limit,
    )
    return [Checkpoint(*row) for row in rows]


async def behind(connection: Connection, reached: Mapping[str, int], limit: int) -> list[Checkpoint]:
    """Those with a greater number than their tenant has in `reached`."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM checkpoint WHERE number > coalesce(($1::text::jsonb ->> tenant)::bigint, 0)"
        " ORDER BY tenant, number LIMIT $2",
        orjson.dumps(reached).decode(),
        limit,
    )
    return [Checkpoint(*row) for row in rows]


async def newest(connection: Connection, limit: int) -> list[Checkpoint]:
    """Of all tenants, the newest first."""
    rows = await connection.fetch(f"SELECT {_COLUMNS} FROM checkpoint ORDER BY upto DESC LIMIT $1", limit)
    return [Checkpoint(*row) for row in rows]


async def one(connection: Connection, tenant: str, number: int) -> Checkpoint | None:
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM checkpoint WHERE tenant = $1 AND number = $2", tenant, number
    )
    return None if row is None else Checkpoint(*row)


async def count(connection: Connection, tenant: str) -> int:
    number = await connection.fetchval("SELECT count(*) FROM checkpoint WHERE tenant = $1", tenant)
    assert isinstance(number, int)
    return number


async def heads(connection: Connection, tenant: str, number: int, after: int, limit: int) -> list[Any]:
    """pid, version, hash each, by pid."""
    return list(
        await connection.fetch(
            "SELECT pid, version, hash FROM checkpoint_head WHERE tenant = $1 AND number = $2 AND pid > $3"
            " ORDER BY pid LIMIT $4",
            tenant,
            number,
            after,
            limit,
        )
    )
