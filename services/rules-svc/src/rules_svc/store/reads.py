"""What clients ask for: firings, and what became of an event."""

from collections.abc import Mapping
from typing import Any

import orjson
from kernel_runtime.database import Connection

_FIRINGS = """
SELECT id, rule, rule_version, tenant, event_id, event_source, event_type, pid, at, result, detail, instructions, duration_us
FROM firing WHERE tenant = $1 AND rule = $2 AND ($3::bigint IS NULL OR id < $3) AND ($4::text IS NULL OR result = $4)
ORDER BY id DESC LIMIT $5
"""


async def firings(
    connection: Connection, tenant: str, rule: str, *, before: int | None, result: str | None, limit: int
) -> list[dict[str, Any]]:
    """Newest first, each with the processes that it made and what was refused of it."""
    rows = await connection.fetch(_FIRINGS, tenant, rule, before, result, limit)
    return await _with_outcomes(connection, [_firing(row) for row in rows])


async def count_firings(connection: Connection, tenant: str, rule: str, result: str | None) -> int:
    count = await connection.fetchval(
        "SELECT count(*) FROM firing WHERE tenant = $1 AND rule = $2 AND ($3::text IS NULL OR result = $3)",
        tenant,
        rule,
        result,
    )
    assert isinstance(count, int)
    return count


async def event(connection: Connection, key: bytes) -> dict[str, Any] | None:
    """What became of an event; None where it was not seen, or where nothing came of it and it is one of our own."""
    row = await connection.fetchrow(
        "SELECT source, id, type, fired, failed, stopped, correlated, refused, at,"
        " CASE WHEN until > clock_timestamp() AND NOT taken THEN until END AS buffered_until,"
        " expired OR (until <= clock_timestamp() AND correlated = '{}') IS TRUE AS expired"
        " FROM event WHERE key = $1",
        key,
    )
    if row is None:
        return None
    rows = await connection.fetch(
        "SELECT id, rule, rule_version, tenant, event_id, event_source, event_type, pid, at, result, detail, instructions,"
        " duration_us FROM firing WHERE event_key = $1 ORDER BY id",
        key,
    )
    return {
        **row,
        "at": row["at"].isoformat(),
        "refused": None if row["refused"] is None else orjson.loads(row["refused"]),
        "buffered_until": None if row["buffered_until"] is None else row["buffered_until"].isoformat(),
        "firings": await _with_outcomes(connection, [_firing(row) for row in rows]),
    }


def _firing(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "at": row["at"].isoformat(), "instructions": orjson.loads(row["instructions"])}


async def _with_outcomes(connection: Connection, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    sent = [told["sent"] for firing in found for told in firing["instructions"] if told["sent"] is not None]
    rows = await connection.fetch(
        "SELECT command_id, pid, refused FROM outcome WHERE command_id = ANY($1::text[])", sent
    )
    outcomes = {row["command_id"]: row for row in rows}
    for firing in found:
        firing["processes"] = []
        for told in firing["instructions"]:
            outcome = outcomes.get(told["sent"])
            if outcome is None:
                continue
            if outcome["refused"] is not None:
                told["error"] = outcome["refused"]
            elif outcome["pid"] is not None and told["do"] == "start":
                told["pid"] = outcome["pid"]
                firing["processes"].append(outcome["pid"])
    return found
