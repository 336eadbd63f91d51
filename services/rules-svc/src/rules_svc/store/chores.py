"""What time drives: following other replicas, and forgetting what is old."""

from kernel_runtime.database import Connection

_FORGET = (
    "DELETE FROM firing WHERE id IN (SELECT id FROM firing WHERE at < {old} LIMIT 5000)",
    "DELETE FROM outcome WHERE command_id IN (SELECT command_id FROM outcome WHERE at < {old} LIMIT 5000)",
    "DELETE FROM event WHERE key IN (SELECT key FROM event WHERE at < {old} - interval '1 day' AND until IS NULL LIMIT 5000)",
)
"""Events a day later: a firing belongs to one."""
_TRIM = """
DELETE FROM firing WHERE id IN (
    SELECT id FROM (
        SELECT id, row_number() OVER (PARTITION BY tenant, rule ORDER BY id DESC) AS place FROM firing WHERE result = 'failed'
    ) AS numbered WHERE place > $1 LIMIT 5000)
"""


async def forget(connection: Connection, days: int) -> int:
    """Drops events, firings and outcomes that are older, up to 5,000 each; returns how many."""
    gone = 0
    for statement in _FORGET:
        old = "clock_timestamp() - make_interval(days => $1)"
        gone += _count(await connection.execute(statement.format(old=old), days))
    return gone


async def trim_failures(connection: Connection, kept: int) -> int:
    """Of each rule the newest failures stay."""
    return _count(await connection.execute(_TRIM, kept))


def _count(status: str) -> int:
    return int(status.rsplit(" ", 1)[1])


async def waiting_pids(connection: Connection, *, seconds: float | None) -> set[int]:
    """All who wait, or those whose wait changed in the last seconds."""
    rows = await connection.fetch(
        "SELECT pid FROM wait WHERE $1::float IS NULL OR at > clock_timestamp() - make_interval(secs => $1)", seconds
    )
    return {row["pid"] for row in rows}


async def awaited_types(connection: Connection) -> set[tuple[str, str]]:
    """Which of the kernel's own events somebody waits for."""
    rows = await connection.fetch("SELECT DISTINCT tenant, type FROM wait WHERE type LIKE 'kernel.%'")
    return {(row["tenant"], row["type"]) for row in rows}
