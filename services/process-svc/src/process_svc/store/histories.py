"""The past of one process: its journal, and the chain of its snapshots."""

from collections.abc import Iterable
from typing import Any

import orjson
from kernel_runtime.database import Connection

from process_svc.store.chains import SNAPSHOT_VERIFIED


async def journal(connection: Connection, pid: int, after: int, limit: int) -> list[dict[str, Any]]:
    """From the version behind `after`, oldest first."""
    found = await connection.fetch(
        "SELECT version, command, type, from_state, state, outcome, at, by, reason, cause, correlation, operator, dispatch_id,"
        " changes FROM journal WHERE pid = $1 AND version > $2 ORDER BY version LIMIT $3",
        pid,
        after,
        limit,
    )
    return [{**row, "changes": orjson.Fragment(row["changes"] or "{}")} for row in found]


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
