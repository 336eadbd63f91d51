"""All SQL of rules-svc, in bulk: arrays in, rows out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kernel_contracts.vocabulary import DefinitionKind
from kernel_runtime.database import Connection
from kernel_runtime.inbox import AlreadyDoneError

from rules_svc.book import Book, Definition


@dataclass(frozen=True, slots=True)
class EventRow:
    key: bytes
    tenant: str
    source: str
    id: str
    type: str
    fired: list[str]
    failed: list[str]
    stopped: list[str]
    correlated: list[int]
    refused: str | None
    at: datetime
    correlation: str | None = None
    meets: str = "all"
    until: datetime | None = None
    wake: str | None = None
    taken: bool = False


@dataclass(frozen=True, slots=True)
class FiringRow:
    event_key: bytes
    tenant: str
    rule: str
    rule_version: int
    event_source: str
    event_id: str
    event_type: str
    pid: int | None
    result: str
    detail: str | None
    instructions: str
    duration_us: int
    at: datetime


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """What became of a command that a firing sent: the process, or why it was refused."""

    command_id: str
    pid: int | None
    refused: str | None
    at: datetime


async def read_book(connection: Connection, book: Book, *, lock: bool = False) -> Book:
    """The newest book; the same object where nothing has changed. `lock`: nobody else changes definitions meanwhile."""
    version = await connection.fetchval("SELECT version FROM rulebook" + (" FOR UPDATE" if lock else ""))
    if version == book.version:
        return book
    rows = await connection.fetch(
        "SELECT tenant, kind, name, version, body, deleted, at, by FROM definition WHERE changed > $1", book.version
    )
    return book.changed((_definition(row) for row in rows), version)


def _definition(row: Mapping[str, Any]) -> Definition:
    return Definition(**{**row, "kind": DefinitionKind(row["kind"])})


_DEFINITIONS = """
INSERT INTO definition (tenant, kind, name, version, body, deleted, at, by, changed)
SELECT new.*, $9 FROM unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::text[], $6::bool[], $7::timestamptz[], $8::text[])
    AS new
ON CONFLICT (tenant, kind, name) DO UPDATE SET version = excluded.version, body = excluded.body, deleted = excluded.deleted,
    at = excluded.at, by = excluded.by, changed = excluded.changed
"""
_JOURNAL = """
INSERT INTO journal (tenant, kind, name, version, body, deleted, at, by)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::text[], $6::bool[], $7::timestamptz[], $8::text[])
"""


CHANGED = "rulebook"
"""The channel on which Postgres tells the other replicas, at the commit, that definitions have changed."""


async def save_definitions(connection: Connection, changes: Sequence[Definition], version: int) -> None:
    """`changes` in the order in which they were made; the last of a name is what it is now."""
    await connection.execute("UPDATE rulebook SET version = $1", version)
    await connection.execute(f"NOTIFY {CHANGED}")
    await connection.execute(_JOURNAL, *_columns(changes))
    await connection.execute(_DEFINITIONS, *_columns(list({each.key: each for each in changes}.values())), version)


def _columns(rows: Sequence[Definition]) -> list[list[Any]]:
    fields = ("tenant", "kind", "name", "version", "body", "deleted", "at", "by")
    return [[getattr(row, field) for row in rows] for field in fields]


_KNOWN = """
SELECT rulebook.version, event.key, event.fired, event.refused
FROM rulebook LEFT JOIN event ON event.key = ANY($1::bytea[])
"""


async def known_events(
    connection: Connection, keys: Sequence[bytes]
) -> tuple[int, dict[bytes, tuple[list[str], str | None]]]:
    """The version of the book; and of the events that were seen, which rules fired, and why it was refused."""
    rows = await connection.fetch(_KNOWN, keys)
    return rows[0]["version"], {row["key"]: (row["fired"], row["refused"]) for row in rows if row["key"] is not None}


_EVENTS = """
INSERT INTO event (key, tenant, source, id, type, fired, failed, stopped, correlated, refused, at, correlation, meets, until,
    wake, taken)
SELECT key, tenant, source, id, type, string_to_array(fired, E'\\x1f'), string_to_array(failed, E'\\x1f'),
    string_to_array(stopped, E'\\x1f'), string_to_array(correlated, ',')::bigint[], refused, at,
    correlation, meets, until, wake, taken
FROM unnest($1::bytea[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
    $10::text[], $11::timestamptz[], $12::text[], $13::text[], $14::timestamptz[], $15::text[], $16::bool[])
    AS new (key, tenant, source, id, type, fired, failed, stopped, correlated, refused, at, correlation, meets, until, wake,
        taken)
ON CONFLICT (key) DO NOTHING RETURNING 1
"""


async def add_events(connection: Connection, rows: Sequence[EventRow]) -> None:
    """Raises AlreadyDoneError where another transaction has seen one of them meanwhile."""
    rows = sorted(rows, key=lambda row: row.key)
    inserted = await connection.fetch(
        _EVENTS,
        [row.key for row in rows],
        [row.tenant for row in rows],
        [row.source for row in rows],
        [row.id for row in rows],
        [row.type for row in rows],
        ["\x1f".join(row.fired) for row in rows],
        ["\x1f".join(row.failed) for row in rows],
        ["\x1f".join(row.stopped) for row in rows],
        [",".join(map(str, row.correlated)) for row in rows],
        [row.refused for row in rows],
        [row.at for row in rows],
        [row.correlation for row in rows],
        [row.meets for row in rows],
        [row.until for row in rows],
        [row.wake for row in rows],
        [row.taken for row in rows],
    )
    if len(inserted) != len(rows):
        raise AlreadyDoneError


_FIRINGS = """
INSERT INTO firing (event_key, tenant, rule, rule_version, event_source, event_id, event_type, pid, result, detail,
    instructions, duration_us, at)
SELECT * FROM unnest($1::bytea[], $2::text[], $3::text[], $4::int[], $5::text[], $6::text[], $7::text[], $8::bigint[],
    $9::text[], $10::text[], $11::text[], $12::int[], $13::timestamptz[])
"""


async def add_firings(connection: Connection, rows: Sequence[FiringRow]) -> None:
    fields = FiringRow.__slots__
    await connection.execute(_FIRINGS, *([getattr(row, field) for row in rows] for field in fields))


_OUTCOMES = """
INSERT INTO outcome (command_id, pid, refused, at)
SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::timestamptz[])
ON CONFLICT (command_id) DO NOTHING
"""


async def add_outcomes(connection: Connection, rows: Sequence[OutcomeRow]) -> None:
    fields = OutcomeRow.__slots__
    await connection.execute(_OUTCOMES, *([getattr(row, field) for row in rows] for field in fields))
