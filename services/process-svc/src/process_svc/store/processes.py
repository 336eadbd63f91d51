"""Loading, locking and saving processes and what belongs to them: one statement a table and batch."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg
from kernel_contracts.vocabulary import Outcome
from kernel_runtime.database import Connection
from kernel_runtime.inbox import AlreadyDoneError

from process_svc.domain.process import Process
from process_svc.domain.snapshots import Snapshot
from process_svc.store import entities, rows

_LOCK = f"""
SELECT {rows.select("pid = ANY($2::bigint[])")} FROM process WHERE pid = ANY($1::bigint[]) ORDER BY pid FOR UPDATE
"""


_COLUMNS = (*rows.FIXED, *rows.MOVING, *rows.COMPUTED, *rows.CONTEXT, "after", "entities")


def _update(kind: str, columns: Iterable[str]) -> str:
    """One array of composite values: asyncpg looks at each element of an array, which for an array a column takes longer."""
    sets = ", ".join(f"{name} = new.{name}" for name in columns)
    return f"UPDATE process SET {sets} FROM unnest($1::{kind}[]) AS new WHERE process.pid = new.pid"


_MOVE = _update("process_move_2", [*rows.MOVING, *rows.COMPUTED])
_CHANGE_KIND = _update("process_kind_2", rows.KIND)
_SET_CONTEXT = _update("process_context", rows.CONTEXT)


class JournalRow(NamedTuple):
    pid: int
    version: int
    command: str
    type: str
    from_state: str | None
    state: str
    outcome: str | None
    at: datetime
    by: str
    reason: str | None
    cause: str | None
    correlation: str
    operator: str | None
    dispatch_id: str | None
    changes: str | None
    hash: bytes | None


async def next_numbers(connection: Connection, sequence: str, count: int) -> list[int]:
    """Fresh numbers of `sequence`, the smallest last: to be popped."""
    found = await connection.fetch(f"SELECT nextval('{sequence}') AS n FROM generate_series(1, $1)", count)
    return [row["n"] for row in reversed(found)]


async def lock(connection: Connection, pids: Iterable[int], whole: Iterable[int]) -> dict[int, Process]:
    """The processes with these pids, locked in the order of pid; with their context, however large, for `whole`."""
    wanted = sorted({pid for pid in pids if 0 < pid < 2**63})
    if not wanted:
        return {}
    found = await connection.fetch(_LOCK, wanted, [pid for pid in whole if 0 < pid < 2**63])
    return {row["pid"]: rows.process(row) for row in found}


async def by_keys(connection: Connection, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """(tenant, key) -> pid of the process that has it already."""
    wanted = list(keys)
    found = await connection.fetch(
        "SELECT process.tenant, process.key, pid FROM unnest($1::text[], $2::text[]) AS wanted (tenant, key)"
        " JOIN process ON process.tenant = wanted.tenant AND process.key = wanted.key AND process.key IS NOT NULL",
        [tenant for tenant, _ in wanted],
        [key for _, key in wanted],
    )
    return {(row["tenant"], row["key"]): row["pid"] for row in found}


async def outcomes(connection: Connection, pids: Iterable[int]) -> dict[int, Outcome | None]:
    """How these have ended; None while they have not."""
    found = await connection.fetch("SELECT pid, outcome FROM process WHERE pid = ANY($1::bigint[])", list(pids))
    return {row["pid"]: None if row["outcome"] is None else Outcome(row["outcome"]) for row in found}


async def snapshots_at(connection: Connection, wanted: Sequence[tuple[int, int]]) -> dict[tuple[int, int], Snapshot]:
    """(pid, version) -> the snapshot that was valid at that version of the process."""
    found = await connection.fetch(
        "SELECT wanted.pid, wanted.version AS at_version, snapshot.* FROM"
        " unnest($1::bigint[], $2::int[]) AS wanted (pid, version)"
        " CROSS JOIN LATERAL (SELECT version, context, hash, previous_hash FROM snapshot"
        " WHERE snapshot.pid = wanted.pid AND snapshot.version <= wanted.version ORDER BY version DESC LIMIT 1) snapshot",
        [pid for pid, _ in wanted],
        [min(version, 2**31 - 1) for _, version in wanted],
    )
    return {
        (row["pid"], row["at_version"]): Snapshot(
            row["pid"], row["version"], row["context"], row["hash"], row["previous_hash"]
        )
        for row in found
    }


async def insert(connection: Connection, processes: Sequence[Process], now: datetime) -> None:
    """Raises AlreadyDoneError where another transaction has taken one of their keys meanwhile."""
    if not processes:
        return
    try:
        records = [rows.inserted(process, now) for process in processes]
        await connection.copy_records_to_table("process", records=records, columns=_COLUMNS)
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name == "process_key":
            raise AlreadyDoneError from error
        raise
    links = sorted({(before, process.pid) for process in processes for before in process.after})
    if links:
        await connection.copy_records_to_table("dependency", records=links, columns=("after_pid", "pid"))
    if any(process.entities for process in processes):
        await entities.refer(connection, processes)


async def update(
    connection: Connection, processes: Sequence[Process], new_context: Sequence[Process], now: datetime
) -> None:
    if processes:
        await connection.execute(_MOVE, [rows.moved(process, now) for process in processes])
    if new_context:
        await connection.execute(_SET_CONTEXT, [rows.with_context(process) for process in new_context])


async def change_kind(connection: Connection, processes: Sequence[Process]) -> None:
    await connection.execute(_CHANGE_KIND, [rows.with_kind(process) for process in processes])


async def write_journal(connection: Connection, entries: Sequence[JournalRow]) -> None:
    if entries:
        await connection.copy_records_to_table("journal", records=entries, columns=JournalRow._fields)


async def write_snapshots(connection: Connection, found: Sequence[tuple[Any, ...]]) -> None:
    """(pid, version, at, context, hash, previous hash) each."""
    if found:
        await connection.copy_records_to_table("snapshot", records=found, columns=_SNAPSHOT)


_SNAPSHOT = ("pid", "version", "at", "context", "hash", "previous_hash")


async def due(connection: Connection, limit: int) -> tuple[list[tuple[int, str]], float | None]:
    """(pid, tenant) for which time itself has something to do, the most overdue first; else in how many seconds there is."""
    found = await connection.fetch(
        "SELECT pid, tenant FROM process WHERE wake_at <= clock_timestamp() ORDER BY wake_at LIMIT $1", limit
    )
    if found:
        return [(row["pid"], row["tenant"]) for row in found], 0.0
    wait = await connection.fetchval(
        "SELECT extract(epoch FROM min(wake_at) - clock_timestamp())::float FROM process WHERE wake_at IS NOT NULL"
    )
    return [], wait
