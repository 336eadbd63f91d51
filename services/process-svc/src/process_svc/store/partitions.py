"""Partitions of journal and snapshots by pid: made ahead, and dropped as a whole.

PIDs rise with time, so what is old lies together. `journal_part` has a row for each partition; for dropped ones it says
what they held.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from kernel_runtime.database import Connection
from kernel_runtime.problem import ProblemError

from process_svc.store import filters, holds, search
from process_svc.store.checkpoints import DIGEST

SIZE = 1_000_000
AHEAD = 4
"""Partitions of processes that are still to be made."""
TABLES = ("journal", "snapshot")
LONG = 300
"""Seconds that looking through a partition may take."""
CLEARED = "null"
"""The context of a process whose history was dropped, as JSON."""

DIGESTED = f"""
(SELECT {DIGEST.replace("hash", "journal_hash")} FROM process WHERE pid >= lower AND pid < upper AND journal_hash IS NOT NULL)
"""
"""SQL: over the heads of the processes of a row of `journal_part`."""


class Contents(NamedTuple):
    """What is told of a partition that is dropped."""

    processes: int
    rows: int
    first_pid: int | None
    last_pid: int | None
    digest: bytes


async def make_ahead(connection: Connection, size: int = SIZE) -> list[int]:
    """Partitions for processes that are still to be made; their lower bounds. Attaching takes no lock that commands wait for."""
    newest = await connection.fetchval("SELECT last_value FROM pid")
    top = await connection.fetchval("SELECT max(upper) FROM journal_part")
    made = []
    while top < newest + AHEAD * size:
        for table in TABLES:
            await connection.execute(f"CREATE TABLE {table}_{top} (LIKE {table} INCLUDING DEFAULTS INCLUDING STORAGE)")
            await connection.execute(
                f"ALTER TABLE {table} ATTACH PARTITION {table}_{top} FOR VALUES FROM ({top}) TO ({top + size})"
            )
        await connection.execute("INSERT INTO journal_part (lower, upper) VALUES ($1, $2)", top, top + size)
        made.append(top)
        top += size
    return made


async def full(connection: Connection) -> list[tuple[int, int]]:
    """(lower, upper) of partitions that get no further processes, and were not dropped."""
    rows = await connection.fetch(
        "SELECT lower, upper FROM journal_part WHERE dropped_at IS NULL AND upper <= (SELECT last_value FROM pid) ORDER BY lower"
    )
    return [(row["lower"], row["upper"]) for row in rows]


async def needed(connection: Connection, lower: int, upper: int, keep: timedelta) -> bool:
    """Whether any of its processes has not ended, or ended within the time `keep`, or is under a legal hold."""
    found = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM process WHERE pid >= $1 AND pid < $2 AND state <> 'TERMINATED')"
        " OR EXISTS (SELECT FROM process WHERE pid >= $1 AND pid < $2 AND ended_at > clock_timestamp() - $3::interval)",
        lower,
        upper,
        keep,
        timeout=LONG,
    )
    return found or await _held(connection, lower, upper)


async def _held(connection: Connection, lower: int, upper: int) -> bool:
    for hold in await holds.active(connection):
        if hold.pid is not None:
            if lower <= hold.pid < upper:
                return True
            continue
        try:
            found = filters.parsed(filters.pairs(hold.members), hold.tenant)
        except ProblemError:  # of an older version: what it meant is not known, so all is kept
            return True
        await search.resolve(connection, found, thorough=True)
        found.add("pid >= {} AND pid < {}", lower, upper)
        if await connection.fetchval(
            f"SELECT EXISTS (SELECT FROM process WHERE {found.where})", *found.values, timeout=LONG
        ):
            return True
    return False


async def contents(connection: Connection, lower: int, upper: int) -> Contents:
    row = await connection.fetchrow(
        f"SELECT count(*), (SELECT count(*) FROM journal_{lower}), min(pid), max(pid),"
        f" {DIGESTED} FROM process, (SELECT $1::bigint AS lower, $2::bigint AS upper) part"
        " WHERE pid >= lower AND pid < upper GROUP BY lower, upper",
        lower,
        upper,
        timeout=LONG,
    )
    if row is None:
        return Contents(0, 0, None, None, await connection.fetchval("SELECT sha256(''::bytea)"))
    return Contents(*row)


async def drop(connection: Connection, lower: int, upper: int) -> bool:
    """Inside the transaction of its record: takes the tables away. False where a process came back to life meanwhile.

    Commands wait for the lock, so nothing that takes long is done under it; where it isn't got in time, LockNotAvailableError.
    """
    await connection.execute("SET LOCAL lock_timeout = '2s'")
    await connection.execute("LOCK TABLE hold IN SHARE MODE")
    await connection.execute(f"LOCK TABLE {', '.join(TABLES)} IN ACCESS EXCLUSIVE MODE")
    alive = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM process WHERE pid >= $1 AND pid < $2 AND state <> 'TERMINATED')", lower, upper
    )
    if alive or await _held(connection, lower, upper):
        return False
    for table in TABLES:
        await connection.execute(f"DROP TABLE {table}_{lower}")
    return True


async def record(
    connection: Connection, lower: int, at: datetime, found: Contents, signed: tuple[str, bytes, bytes] | None
) -> None:
    """`signed`: statement, signature, public key."""
    await connection.execute(
        "UPDATE journal_part SET dropped_at = $2, processes = $3, rows = $4, first_pid = $5, last_pid = $6, digest = $7,"
        " statement = $8, signature = $9, public_key = $10, cleared = lower WHERE lower = $1",
        lower,
        at,
        *found,
        *(signed or (None, None, None)),
    )


async def clear(connection: Connection, many: int = 2_000) -> bool:
    """Takes context, what is indexed of it, and output off the next processes without a history; whether there may be more."""
    row = await connection.fetchrow(
        "SELECT lower, upper, cleared FROM journal_part WHERE dropped_at IS NOT NULL AND cleared < upper ORDER BY lower LIMIT 1"
        " FOR UPDATE"
    )
    if row is None:
        return False
    last = await connection.fetchval(
        "WITH part AS (SELECT pid FROM process WHERE pid >= $1 AND pid < $2 ORDER BY pid LIMIT $3 FOR UPDATE), gone AS ("
        " UPDATE process SET context = $4, output = NULL FROM part WHERE process.pid = part.pid RETURNING process.pid),"
        " index AS (DELETE FROM process_attribute USING part WHERE process_attribute.pid = part.pid)"
        " SELECT max(pid) FROM gone",
        row["cleared"],
        row["upper"],
        many,
        CLEARED,
    )
    reached = row["upper"] if last is None else last + 1
    await connection.execute("UPDATE journal_part SET cleared = $2 WHERE lower = $1", row["lower"], reached)
    return True


async def all_parts(connection: Connection) -> list[Any]:
    return list(await connection.fetch("SELECT * FROM journal_part ORDER BY lower"))


async def dropped_at(connection: Connection, pid: int) -> datetime | None:
    """When the history of this process was dropped."""
    found: datetime | None = await connection.fetchval(
        "SELECT dropped_at FROM journal_part WHERE lower <= $1 AND upper > $1 AND dropped_at IS NOT NULL", pid
    )
    return found


async def dropped(connection: Connection) -> Sequence[Any]:
    """Those with what was signed of them."""
    return list(await connection.fetch("SELECT * FROM journal_part WHERE dropped_at IS NOT NULL ORDER BY lower"))
