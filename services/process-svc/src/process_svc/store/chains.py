"""Chains recomputed from stored bytes, by Postgres itself: where the first link is broken, and how.

What may be wrong: `gap` (no row of that version), `hash` (a row's bytes don't lead from the row before to its hash), `tail` (rows
are missing at the end), `link` (the process does not go on from its newest row), `snapshot` (a snapshot's bytes or its link),
`context` (the process' context is not its newest snapshot), `output` (its output is not what it ended with), `checkpoint` (the
row is another one than was signed).
"""

from collections.abc import Sequence
from typing import Any

from kernel_runtime.database import Connection

DROPPED = """
EXISTS (SELECT FROM journal_part part WHERE part.dropped_at IS NOT NULL
    AND process.pid >= part.lower AND process.pid < part.upper)
"""
"""SQL: whether the history of `process` was dropped by the retention."""

SNAPSHOT_VERIFIED = """
hash = sha256(previous_hash || convert_to(context, 'UTF8'))
AND previous_hash = coalesce(lag(hash) OVER (PARTITION BY pid ORDER BY version), decode(repeat('00', 32), 'hex'))
"""
"""SQL: whether a snapshot fits its hash and the snapshot before; the same as `domain.snapshots.first_broken`."""


def _packed(*texts: str) -> str:
    """SQL: the bytes that `domain.ledger.packed` makes of these."""
    return r" || '\x00'::bytea || ".join(rf"coalesce(convert_to({text}, 'UTF8'), '\xff'::bytea)" for text in texts)


_PARTS = ("tenant", "service", "entity_type", "entity_id", "key", "parent::text")
_SEED = f"sha256({_packed('process.pid::text', *(f'process.{name}' for name in _PARTS))})"
_LIVED = ("pid::text", "version::text", "command", "type", "from_state", "state", "outcome")
_TOLD = ("by", "reason", "cause", "correlation", "operator", "dispatch_id", "changes")
_ROW = _packed(
    *(f"journal.{name}" for name in _LIVED),
    "((extract(epoch FROM journal.at) * 1000000)::bigint)::text",
    *(f"journal.{name}" for name in _TOLD),
    "encode(snapshot.hash, 'hex')",
)


def steps(where: str = "true") -> str:
    """SQL: each journal row with the version and hash before it, and the hash that it should have. Of processes `where`."""
    return f"""
    SELECT journal.pid, journal.version, journal.hash, lag(journal.version) OVER path AS last,
        lag(journal.hash) OVER path AS before,
        sha256(coalesce(lag(journal.hash) OVER path, {_SEED}) || {_ROW}) AS expected
    FROM journal JOIN process USING (pid)
    LEFT JOIN snapshot ON snapshot.pid = journal.pid AND snapshot.version = journal.version
    WHERE {where} WINDOW path AS (PARTITION BY journal.pid ORDER BY journal.version)"""


UNHASHED = "hash IS NULL AND (before IS NOT NULL OR pid > (SELECT unchained_pid FROM ledger))"
"""SQL over `steps`: a row that ought to have a hash."""

_NEWEST = """
LATERAL (SELECT version, hash, changes FROM journal WHERE journal.pid = process.pid ORDER BY version DESC LIMIT 1) newest
"""


def breaches(where: str) -> str:
    """SQL: (pid, version, what) of all that is broken in processes `where`, a condition on the table `process`."""
    return f"""
    WITH steps AS ({steps(where)})
    SELECT pid, coalesce(last, 0) + 1 AS version, 'gap' AS what FROM steps WHERE version <> coalesce(last, 0) + 1
    UNION ALL SELECT pid, version, 'hash' FROM steps WHERE hash <> expected OR {UNHASHED}
    UNION ALL SELECT process.pid, coalesce(newest.version, 0) + 1, 'tail' FROM process LEFT JOIN {_NEWEST} ON true
        WHERE {where} AND coalesce(newest.version, 0) < process.version
    UNION ALL SELECT process.pid, newest.version, 'link' FROM process JOIN {_NEWEST} ON true
        WHERE {where} AND newest.version >= process.version
        AND (newest.version > process.version OR newest.hash IS DISTINCT FROM process.journal_hash)
    UNION ALL SELECT pid, version, 'snapshot' FROM (
        SELECT pid, version, {SNAPSHOT_VERIFIED} AS verified FROM snapshot
        WHERE pid IN (SELECT process.pid FROM process WHERE {where})) chain WHERE NOT verified
    UNION ALL SELECT process.pid, process.context_version, 'context' FROM process LEFT JOIN snapshot
        ON snapshot.pid = process.pid AND snapshot.version = process.context_version
        WHERE {where} AND (snapshot.hash = process.context_hash AND snapshot.context = process.context) IS NOT TRUE
    UNION ALL SELECT process.pid, newest.version, 'output' FROM process JOIN {_NEWEST} ON true
        WHERE {where} AND process.outcome = 'completed' AND newest.changes::jsonb ->> 'output_hash'
            <> coalesce(encode(sha256(convert_to(process.output, 'UTF8')), 'hex'), '')
    UNION ALL SELECT head.pid, head.version, CASE WHEN journal.pid IS NULL THEN 'tail' ELSE 'checkpoint' END
        FROM process JOIN checkpoint_head head USING (pid)
        LEFT JOIN journal ON journal.pid = head.pid AND journal.version = head.version
        WHERE {where} AND journal.hash IS DISTINCT FROM head.hash"""


async def first_broken(connection: Connection, pids: Sequence[int]) -> list[dict[str, Any]]:
    """`{pid, version, what}` of the first broken link of each of these processes that has one, by pid."""
    where = f"process.pid = ANY($1::bigint[]) AND NOT {DROPPED}"
    found = await connection.fetch(
        f"SELECT DISTINCT ON (pid) pid, version, what FROM ({breaches(where)}) broken ORDER BY pid, version, what",
        list(pids),
    )
    return [dict(row) for row in found]


async def extent(connection: Connection, pid: int) -> Any:
    """Of one process' chain: rows, chained_from (a version), snapshots, the newest checkpoint that covers it, and dropped_at."""
    return await connection.fetchrow(
        "SELECT (SELECT count(*) FROM journal WHERE pid = $1) AS rows,"
        " (SELECT min(version) FROM journal WHERE pid = $1 AND hash IS NOT NULL) AS chained_from,"
        " (SELECT count(*) FROM snapshot WHERE pid = $1) AS snapshots,"
        " (SELECT max(number) FROM checkpoint_head WHERE pid = $1) AS checkpoint,"
        " (SELECT dropped_at FROM journal_part WHERE dropped_at IS NOT NULL AND lower <= $1 AND upper > $1) AS dropped_at",
        pid,
    )


async def pids_after(connection: Connection, tenant: str, after: int, limit: int) -> list[int]:
    found = await connection.fetch(
        "SELECT pid FROM process WHERE tenant = $1 AND pid > $2 ORDER BY pid LIMIT $3", tenant, after, limit
    )
    return [row["pid"] for row in found]


async def vanished(connection: Connection, tenant: str, after: int, upto: int | None) -> list[dict[str, Any]]:
    """Processes of signed checkpoints that are no more, with a pid above `after` (and not above `upto`)."""
    found = await connection.fetch(
        "SELECT DISTINCT ON (head.pid) head.pid, 1 AS version, 'tail' AS what FROM checkpoint_head head"
        " WHERE head.tenant = $1 AND head.pid > $2 AND ($3::bigint IS NULL OR head.pid <= $3)"
        " AND NOT EXISTS (SELECT FROM process WHERE process.pid = head.pid) ORDER BY head.pid LIMIT 100",
        tenant,
        after,
        upto,
    )
    return [dict(row) for row in found]
