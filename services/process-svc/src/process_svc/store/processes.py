"""Loading, locking and saving processes and what belongs to them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kernel_contracts.vocabulary import Outcome, ProcessState
from kernel_runtime.database import Connection

from process_svc.domain.process import Process
from process_svc.domain.snapshots import Snapshot
from process_svc.store import rows

_LOCK = f"SELECT {rows.SELECT} FROM process WHERE pid = ANY($1::bigint[]) ORDER BY pid FOR UPDATE"


def _unnest(*columns: Mapping[str, str]) -> str:
    types = [kind for each in columns for kind in each.values()]
    return ", ".join(f"${n}::{kind}[]" for n, kind in enumerate(types, 1))


_COLUMNS = rows.FIXED | rows.MOVING | rows.CONTEXT
_NAMES = ", ".join(_COLUMNS)
_INSERT = f"""
INSERT INTO process ({_NAMES}, after)
SELECT {_NAMES}, after::bigint[] FROM unnest({_unnest(_COLUMNS)}, ${len(_COLUMNS) + 1}::text[]) AS new ({_NAMES}, after)
"""


def _update(columns: Mapping[str, str]) -> str:
    sets = ", ".join(f"{name} = new.{name}" for name in columns)
    return f"""
UPDATE process SET {sets}
FROM unnest({_unnest({"pid": "bigint"}, columns)}) AS new (pid, {", ".join(columns)}) WHERE process.pid = new.pid
"""


_MOVE = _update(rows.MOVING)
_SET_CONTEXT = _update(rows.CONTEXT)

_JOURNAL = """
INSERT INTO journal (pid, version, type, from_state, state, outcome, at, by, reason, cause, correlation, operator, dispatch_id,
    changes)
SELECT * FROM unnest($1::bigint[], $2::int[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::text[],
    $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[])
"""
_SNAPSHOT = """
INSERT INTO snapshot (pid, version, at, context, hash, previous_hash)
SELECT * FROM unnest($1::bigint[], $2::int[], $3::timestamptz[], $4::text[], $5::bytea[], $6::bytea[])
"""


@dataclass(frozen=True, slots=True)
class JournalRow:
    pid: int
    version: int
    type: str
    from_state: ProcessState | None
    state: ProcessState
    outcome: Outcome | None
    at: datetime
    by: str
    reason: str | None
    cause: str | None
    correlation: str
    operator: str | None
    dispatch_id: str | None
    changes: str | None


async def next_pids(connection: Connection, count: int) -> list[int]:
    rows = await connection.fetch("SELECT nextval('pid') AS pid FROM generate_series(1, $1)", count)
    return [row["pid"] for row in rows]


async def lock(connection: Connection, pids: Iterable[int]) -> dict[int, Process]:
    """The processes with these pids, locked in the order of pid."""
    wanted = sorted({pid for pid in pids if 0 < pid < 2**63})
    if not wanted:
        return {}
    return {row["pid"]: rows.process(row) for row in await connection.fetch(_LOCK, wanted)}


async def by_keys(connection: Connection, tenants: Sequence[str], keys: Sequence[str]) -> dict[tuple[str, str], int]:
    """(tenant, key) -> pid of the process that has it already."""
    found = await connection.fetch(
        "SELECT tenant, key, pid FROM process"
        " WHERE (tenant, key) IN (SELECT * FROM unnest($1::text[], $2::text[])) AND key IS NOT NULL",
        list(tenants),
        list(keys),
    )
    return {(row["tenant"], row["key"]): row["pid"] for row in found}


async def outcomes(connection: Connection, pids: Iterable[int]) -> dict[int, Outcome | None]:
    """How these have ended; None while they have not."""
    found = await connection.fetch("SELECT pid, outcome FROM process WHERE pid = ANY($1::bigint[])", list(pids))
    return {row["pid"]: None if row["outcome"] is None else Outcome(row["outcome"]) for row in found}


async def children(connection: Connection, parents: Iterable[int]) -> dict[int, list[int]]:
    """parent -> pids of its children, ended ones too."""
    found: dict[int, list[int]] = {}
    for row in await connection.fetch(
        "SELECT parent, pid FROM process WHERE parent = ANY($1::bigint[]) ORDER BY pid", list(parents)
    ):
        found.setdefault(row["parent"], []).append(row["pid"])
    return found


async def children_counts(connection: Connection, parents: Iterable[int]) -> dict[int, tuple[int, int]]:
    """parent -> (children that have ended, all children)."""
    found = await connection.fetch(
        "SELECT parent, count(*) FILTER (WHERE state = 'TERMINATED') AS ended, count(*) AS total"
        " FROM process WHERE parent = ANY($1::bigint[]) GROUP BY parent",
        list(parents),
    )
    return {row["parent"]: (row["ended"], row["total"]) for row in found}


async def dependents(connection: Connection, pids: Iterable[int]) -> dict[int, list[int]]:
    """pid -> those that come after it."""
    found: dict[int, list[int]] = {}
    for row in await connection.fetch(
        "SELECT after_pid, pid FROM dependency WHERE after_pid = ANY($1::bigint[]) ORDER BY pid", list(pids)
    ):
        found.setdefault(row["after_pid"], []).append(row["pid"])
    return found


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


async def insert(connection: Connection, processes: list[Process]) -> None:
    if not processes:
        return
    after = ["{" + ",".join(map(str, process.after)) + "}" for process in processes]
    await connection.execute(
        _INSERT,
        *rows.arrays(_COLUMNS, processes),
        after,
    )
    links = sorted({(before, process.pid) for process in processes for before in process.after})
    if links:
        await connection.execute(
            "INSERT INTO dependency (after_pid, pid) SELECT * FROM unnest($1::bigint[], $2::bigint[])",
            [before for before, _ in links],
            [pid for _, pid in links],
        )


async def update(connection: Connection, processes: list[Process], new_context: list[Process]) -> None:
    if processes:
        await connection.execute(_MOVE, [process.pid for process in processes], *rows.arrays(rows.MOVING, processes))
    if new_context:
        await connection.execute(
            _SET_CONTEXT, [process.pid for process in new_context], *rows.arrays(rows.CONTEXT, new_context)
        )


async def write_journal(connection: Connection, entries: list[JournalRow]) -> None:
    if entries:
        await connection.execute(
            _JOURNAL, *([getattr(entry, name) for entry in entries] for name in JournalRow.__slots__)
        )


async def write_snapshots(connection: Connection, found: list[tuple[Snapshot, datetime]]) -> None:
    if found:
        await connection.execute(
            _SNAPSHOT,
            [each.pid for each, _ in found],
            [each.version for each, _ in found],
            [at for _, at in found],
            [each.context for each, _ in found],
            [each.hash for each, _ in found],
            [each.previous_hash for each, _ in found],
        )


async def open_incidents(connection: Connection, found: list[tuple[int, str, int, str, str, datetime]]) -> None:
    """(id, tenant, pid, type, error, at) each."""
    await connection.execute(
        "INSERT INTO incident (id, tenant, pid, type, error, state, opened_at)"
        " SELECT id, tenant, pid, type, error, 'open', at FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[],"
        " $5::text[], $6::timestamptz[]) AS new (id, tenant, pid, type, error, at)",
        *map(list, zip(*found, strict=True)),
    )


async def resolve_incidents(connection: Connection, found: list[tuple[int, str, datetime]]) -> None:
    """(id, action, at) each."""
    await connection.execute(
        "UPDATE incident SET state = 'resolved', action = new.action, resolved_at = new.at"
        " FROM unnest($1::bigint[], $2::text[], $3::timestamptz[]) AS new (id, action, at) WHERE incident.id = new.id",
        *map(list, zip(*found, strict=True)),
    )


async def incidents(connection: Connection, ids: Iterable[int]) -> dict[int, Any]:
    found = await connection.fetch("SELECT * FROM incident WHERE id = ANY($1::bigint[])", list(ids))
    return {row["id"]: row for row in found}


async def next_incident_ids(connection: Connection, count: int) -> list[int]:
    found = await connection.fetch(
        "SELECT nextval(pg_get_serial_sequence('incident', 'id')) AS id FROM generate_series(1, $1)", count
    )
    return [row["id"] for row in found]


async def add_follow_ups(connection: Connection, found: list[tuple[str, int, int, str]]) -> list[int]:
    """(kind, pid, source, cause) each; the new ids in the same order."""
    inserted = await connection.fetch(
        "INSERT INTO follow_up (kind, pid, source, cause) SELECT kind, pid, source, cause FROM"
        " unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[]) WITH ORDINALITY AS new (kind, pid, source, cause, n)"
        " ORDER BY n RETURNING id",
        *map(list, zip(*found, strict=True)),
    )
    return [row["id"] for row in inserted]


async def take_follow_ups(connection: Connection, ids: Iterable[int]) -> set[int]:
    """Deletes them; which were still there."""
    gone = await connection.fetch("DELETE FROM follow_up WHERE id = ANY($1::bigint[]) RETURNING id", list(ids))
    return {row["id"] for row in gone}


async def old_follow_ups(connection: Connection, seconds: float, limit: int) -> list[Any]:
    """Those that a process which died did not get to."""
    return list(
        await connection.fetch(
            "SELECT id, kind, pid, source, cause FROM follow_up"
            " WHERE at < clock_timestamp() - make_interval(secs => $1) ORDER BY id LIMIT $2",
            seconds,
            limit,
        )
    )


async def due(connection: Connection, limit: int) -> list[int]:
    """Pids for which time itself has something to do now, the most overdue first."""
    found = await connection.fetch(
        "SELECT pid FROM process WHERE wake_at <= clock_timestamp() ORDER BY wake_at, pid LIMIT $1", limit
    )
    return [row["pid"] for row in found]
