"""Whether process-svc and rules-svc agree on who waits for which event: what one has and the other has not would wait in vain."""

from typing import Any

from kernel_platform.fsck_facts import snapshot

NAME = "who waits for an event is known to rules-svc"

_PROCESSES = """
SELECT pid, version, waiting::jsonb ->> 'event_type' AS type, waiting::jsonb ->> 'event_key' AS key FROM process
WHERE waiting LIKE '%"event_type"%' AND (state = 'WAITING'
    OR state = 'SUSPENDED' AND suspended_from = 'WAITING' AND NOT waiting::jsonb ? 'met')
"""
_WAITS = "SELECT pid, version, type, key FROM wait"


async def check(process_dsn: str, rules_dsn: str) -> frozenset[str]:
    """Each breach names the version that it was seen at: a copy that is only late has another one soon."""
    waiting, known = await _read(process_dsn, _PROCESSES), await _read(rules_dsn, _WAITS)
    return frozenset(
        [f"{each} waits, and rules-svc does not know" for each in waiting - known]
        + [f"{each} waits as rules-svc has it, and does not" for each in known - waiting]
    )


async def _read(dsn: str, sql: str) -> set[str]:
    async with snapshot(dsn) as database:
        return {_said(row) for row in await database.fetch(sql)}


def _said(row: Any) -> str:
    key = "" if row["key"] is None else f" with the key {row['key']}"
    return f"pid {row['pid']} (version {row['version']}, {row['type']}{key})"
