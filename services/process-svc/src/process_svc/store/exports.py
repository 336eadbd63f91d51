"""Reading the journal for an event log: a part at a time by key, so that no transaction lasts and memory stays small."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from kernel_runtime.database import Connection

CASES = 200
ROWS = 1_000
"""In one part: making its text takes some milliseconds, in which the replica does nothing else."""


class Scope(NamedTuple):
    """What is exported: processes made before `until` that had not ended before `since`; rows before `until`."""

    tenant: str
    service: str | None
    since: datetime | None
    until: datetime


_WITHIN = """
process.tenant = $1 AND ($2::text IS NULL OR process.service = $2) AND process.created_at < $4
AND ($3::timestamptz IS NULL OR process.ended_at IS NULL OR process.ended_at >= $3)
"""
_REFERS = "entity_reference reference JOIN process ON process.pid = reference.pid"
_FIRST = {
    "process": f"""
        SELECT pid AS a, '' AS b FROM process WHERE {_WITHIN} AND pid > $5::bigint AND $6::text IS NOT NULL ORDER BY pid""",
    "root": """
        SELECT pid AS a, '' AS b FROM process WHERE tenant = $1 AND parent IS NULL AND created_at < $4 AND pid > $5::bigint
        AND $6::text IS NOT NULL AND ($2::text IS NULL OR true) AND ($3::timestamptz IS NULL OR true) ORDER BY pid""",
    "entity": f"""
        SELECT entity_type AS a, entity_id AS b FROM process
        WHERE {_WITHIN} AND entity_type IS NOT NULL AND (entity_type, entity_id) > ($5::text, $6::text)
        UNION SELECT reference.type, reference.id FROM {_REFERS}
        WHERE {_WITHIN} AND (reference.type, reference.id) > ($5::text, $6::text) ORDER BY a, b""",
}
CASE_KINDS = tuple(_FIRST)
_OF_CASE = {
    "process": "SELECT * FROM process WHERE process.pid = given.a::bigint",
    "root": "SELECT * FROM process WHERE process.pid = given.a::bigint"
    " UNION ALL SELECT * FROM process WHERE process.root = given.a::bigint AND process.parent IS NOT NULL",
    "entity": "SELECT * FROM process WHERE process.pid IN ("
    "SELECT pid FROM process WHERE tenant = $1 AND entity_type = given.a AND entity_id = given.b"
    " UNION SELECT pid FROM entity_reference WHERE tenant = $1 AND type = given.a AND id = given.b)",
}
_COLUMNS = (
    "journal.pid, journal.version, journal.command, journal.type, journal.from_state, journal.state, journal.outcome,"
    " journal.at, journal.by, journal.reason, journal.operator, process.service, process.service_version,"
    " process.entity_type, process.entity_id, process.entities, process.parent"
)

Case = tuple[str, str]
"""A pid and nothing, or the type and id of an entity."""


def start(kind: str) -> Case:
    """Before the first case."""
    return ("", "") if kind == "entity" else ("0", "")


async def cases(connection: Connection, scope: Scope, kind: str, after: Case) -> list[Case]:
    """The next ones behind `after`."""
    key: Any = after[0] if kind == "entity" else int(after[0])
    found = await connection.fetch(f"{_FIRST[kind]} LIMIT {CASES}", *scope, key, after[1])
    return [(str(row["a"]), row["b"]) for row in found]


async def rows(
    connection: Connection, scope: Scope, kind: str, some: Sequence[Case], after: tuple[int, datetime, int, int] | None
) -> list[Any]:
    """Journal rows of these cases: by case (`n` from 1 on), time, pid and version, behind `after`, ROWS at most."""
    n, at, pid, version = after or (0, scope.until, 0, 0)
    return list(
        await connection.fetch(
            f"SELECT given.n, {_COLUMNS} FROM unnest($5::text[], $6::text[]) WITH ORDINALITY AS given (a, b, n)"
            f" CROSS JOIN LATERAL ({_OF_CASE[kind]}) process JOIN journal ON journal.pid = process.pid"
            f" WHERE {_WITHIN} AND journal.at < $4"
            " AND (given.n, journal.at, journal.pid, journal.version) > ($7::bigint, $8::timestamptz, $9::bigint, $10::int)"
            f" ORDER BY given.n, journal.at, journal.pid, journal.version LIMIT {ROWS}",
            *scope,
            [case[0] for case in some],
            [case[1] for case in some],
            n,
            at,
            pid,
            version,
        )
    )


async def processes(connection: Connection, scope: Scope, after: int) -> list[Any]:
    """As objects, by pid; `parent` and `after` only where they are within the scope too."""
    return list(
        await connection.fetch(
            "SELECT process.pid, process.service, process.service_version, process.priority, process.key, process.created_at,"
            " process.entity_type, process.entity_id, process.entities, before.pid AS parent"
            f" FROM process LEFT JOIN process before ON before.pid = process.parent AND {_WITHIN.replace('process.', 'before.')}"
            f" WHERE {_WITHIN} AND process.pid > $5 ORDER BY process.pid LIMIT {CASES}",
            *scope,
            after,
        )
    )
