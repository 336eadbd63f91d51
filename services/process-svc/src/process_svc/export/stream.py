"""An export as a stream: parts are read one after the other, each in a connection of its own for a moment."""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from kernel_runtime.database import Database

from process_svc.domain.eventlog import Event, Life
from process_svc.export.csv_text import CsvText
from process_svc.export.ocel import Ocel
from process_svc.export.xes import Xes
from process_svc.store import exports
from process_svc.store.exports import Case, Scope


async def export(
    database: Database, scope: Scope, kind: str, writer: CsvText | Xes | Ocel, transitions: frozenset[str]
) -> AsyncIterator[bytes]:
    """The whole file. `transitions`: only these, all of them where it is empty."""
    yield writer.head().encode()
    after = exports.start(kind)
    while True:
        async with database.connection() as connection:
            some = await exports.cases(connection, scope, kind, after)
        if not some:
            break
        after = some[-1]
        async for events in _events(database, scope, kind, some, transitions):
            yield writer.events(events).encode("utf-8", "replace")
    if isinstance(writer, Ocel):
        yield writer.objects().encode()
        async for text in _objects(database, scope, writer):
            yield text.encode("utf-8", "replace")
    yield writer.tail().encode("utf-8", "replace")


async def _events(
    database: Database, scope: Scope, kind: str, some: Sequence[Case], transitions: frozenset[str]
) -> AsyncIterator[list[Event]]:
    lives: dict[int, Life] = {}
    after = None
    while True:
        async with database.connection() as connection:
            rows = await exports.rows(connection, scope, kind, some, after)
        found = [
            event
            for event in _told(rows, kind, some, lives)
            if (scope.since is None or event.at >= scope.since) and (not transitions or event.transition in transitions)
        ]
        if found:
            yield found
        if len(rows) < exports.ROWS:
            return
        last = rows[-1]
        after = (last["n"], last["at"], last["pid"], last["version"])


def _told(rows: Sequence[Any], kind: str, some: Sequence[Case], lives: dict[int, Life]) -> Iterator[Event]:
    for row in rows:
        first, second = some[row["n"] - 1]
        case = f"{first}:{second}" if kind == "entity" else first
        yield lives.setdefault(row["pid"], Life()).told(case, row)


async def _objects(database: Database, scope: Scope, writer: Ocel) -> AsyncIterator[str]:
    pid, entity = 0, exports.start("entity")
    while True:
        async with database.connection() as connection:
            found = await exports.processes(connection, scope, pid)
        if not found:
            break
        pid = found[-1]["pid"]
        yield writer.processes(found)
    while True:
        async with database.connection() as connection:
            some = await exports.cases(connection, scope, "entity", entity)
        if not some:
            break
        entity = some[-1]
        yield writer.entities(some)
