"""The past of one process: its journal, and the chain of its snapshots."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from kernel_runtime.database import Connection

from process_svc.store.chains import SNAPSHOT_VERIFIED


class Of(NamedTuple):
    """Which rows of a history: those for which all that is given holds."""

    command: str | None = None
    type: str | None = None
    by: str | None = None
    operator: str | None = None
    since: datetime | None = None
    until: datetime | None = None


_OF = """
pid = $1 AND ($2::text IS NULL OR command = $2) AND ($3::text IS NULL OR type = $3) AND ($4::text IS NULL OR by = $4)
AND ($5::text IS NULL OR operator = $5) AND ($6::timestamptz IS NULL OR at >= $6) AND ($7::timestamptz IS NULL OR at < $7)
"""


async def journal(connection: Connection, pid: int, after: int, limit: int, wanted: Of) -> list[dict[str, Any]]:
    """From the version behind `after`, oldest first."""
    found = await connection.fetch(
        "SELECT version, command, type, from_state, state, outcome, at, by, reason, cause, correlation, operator, dispatch_id,"
        f" changes, encode(hash, 'hex') AS hash FROM journal WHERE {_OF} AND version > $8 ORDER BY version LIMIT $9",
        pid,
        *wanted,
        after,
        limit,
    )
    return [{**row, "changes": orjson.Fragment(row["changes"] or "{}")} for row in found]


async def count(connection: Connection, pid: int, wanted: Of) -> int:
    number = await connection.fetchval(f"SELECT count(*) FROM journal WHERE {_OF}", pid, *wanted)
    assert isinstance(number, int)
    return number


async def chain(connection: Connection, pid: int) -> list[Any]:
    """Its snapshots without their contexts: version, at, hash, previous_hash, verified."""
    return list(
        await connection.fetch(
            f"SELECT version, at, hash, previous_hash, {SNAPSHOT_VERIFIED} AS verified FROM snapshot"
            " WHERE pid = $1 ORDER BY version",
            pid,
        )
    )


async def contexts(connection: Connection, pid: int, versions: Iterable[int]) -> dict[int, str]:
    """version -> canonical JSON."""
    found = await connection.fetch(
        "SELECT version, context FROM snapshot WHERE pid = $1 AND version = ANY($2::int[])", pid, list(versions)
    )
    return {row["version"]: row["context"] for row in found}
