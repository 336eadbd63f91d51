"""Lists of processes at any number of them: each order and filter by an index, pages by the place of their last row.

A list is put together from parts that one index each gives in the wanted order: a part a state, for indexes begin with it.
Plans are made for the values at hand (a service of ten processes and one of a million want different ones), and what would take
longer than PATIENCE is refused with a word on how to narrow it.
"""

import base64
import binascii
import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import asyncpg
import orjson
from kernel_contracts.vocabulary import ProcessState
from kernel_runtime.database import Connection, Database, TransactionId
from kernel_runtime.problem import ProblemError, invalid

from process_svc.domain.process import Process
from process_svc.store import attributes, rows
from process_svc.store.filters import CONTEXT, TIMES, Filter, in_states

COUNTED: Final = 100_000
"""What is counted exactly; beyond it, more is all that is said."""
SORTED: Final = 50_000
"""Processes in a span of time that are put in order."""
LOOKED_THROUGH: Final = 20_000
"""Contexts that are read one by one where no index helps."""
PATIENCE: Final = 5_000
"""Milliseconds."""

SORTS: Final = {
    "pid": ("pid", "bigint"),
    "created_at": ("created_at", "timestamptz"),
    "priority": ("priority", "smallint"),
    "due": ("due", "timestamptz"),
    "ended_at": ("ended_at", "timestamptz"),
}
"""Those that are not due at any time come last, whichever way; by `ended_at` only what has ended is listed."""

_SMALL = rows.select("false")
_NARROW: Final = frozenset({"pid", "parent", "root", "key", "entity_id", "has_incident", "incident_type", "assignee"})
"""Whoever names one of these gets few: no need for parts."""
_LAST = "infinity"
"""In a cursor: the place of those without a due time."""


@contextlib.asynccontextmanager
async def searching(database: Database, patience: int = PATIENCE) -> AsyncIterator[Connection]:
    """A connection for searches. 422 where one takes longer than `patience` ms."""
    nothing_written = TransactionId()
    nothing_written.value = 0
    try:
        async with database.transaction(nothing_written) as connection:
            await connection.execute(
                "SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL random_page_cost = 1.1;"
                f" SET LOCAL statement_timeout = {patience}"
            )
            yield connection
    except asyncpg.QueryCanceledError:
        raise ProblemError(
            invalid("Too much would have to be looked through. Narrow it: by service, state, entity, operator or time.")
        ) from None


async def resolve(connection: Connection, found: Filter, *, thorough: bool = False) -> None:
    """Makes conditions of text and context. `thorough`: contexts are read one by one, however many there are."""
    if found.text is not None:
        await _resolve_text(connection, found, found.text)
        found.text = None
    plain = []
    contexts, found.contexts = found.contexts, []
    for path, values in contexts:
        if found.services and await attributes.complete(connection, found.tenant, found.services, path):
            _attribute(found, path, values)
        else:
            plain.append((path, values))
    if plain and not thorough:
        number, more = await count(connection, found, LOOKED_THROUGH)
        if more:
            raise _not_indexed(found, plain[0][0], number)
    for path, values in plain:
        found.add(_MEMBER, path.split("."), values)


_MEMBER = "context::jsonb #>> {}::text[] = ANY({}::text[])"


def _attribute(found: Filter, path: str, values: list[str]) -> None:
    cut = [value[: attributes.LONGEST] for value in values]
    found.add(
        "pid IN (SELECT a.pid FROM process_attribute a WHERE a.tenant = {} AND a.service = ANY({}::text[]) AND a.name = {}"
        " AND a.value = ANY({}::text[]))",
        found.tenant,
        found.services,
        path,
        cut,
    )
    if any(len(value) >= attributes.LONGEST for value in values):
        found.add(_MEMBER, path.split("."), values)


def _not_indexed(found: Filter, path: str, number: int) -> ProblemError:
    where = (
        f"`indexed` of the service {found.services[0]!r}" if found.services else "`indexed` of the service, and name it"
    )
    return ProblemError(
        invalid(
            f"{CONTEXT}{path} is not indexed and more than {number:,} processes would have to be looked through."
            f" Declare {path!r} in {where}, or narrow the filter. (What was declared a moment ago is still being indexed.)",
            [(f"/query/{CONTEXT}{path}", "is not indexed")],
        )
    )


async def _resolve_text(connection: Connection, found: Filter, text: str) -> None:
    """In titles and names of services; in keys and ids of entities, where under three letters find beginnings only."""
    like = _like(text.replace("\n", " "))
    names = await connection.fetch(
        "SELECT s.name FROM service s JOIN service_version v ON (v.tenant, v.name, v.version) = (s.tenant, s.name, s.latest)"
        " WHERE s.tenant = $1 AND (s.name ILIKE $2 OR v.definition::jsonb ->> 'title' ILIKE $2)",
        found.tenant,
        f"%{like}%",
    )
    patterns = [f"%{like}%"] if len(text) > 2 else [f"{like}%", f"%\n{like}%"]
    matches = " OR ".join(f"t.text ILIKE {found.value(pattern)}" for pattern in patterns)
    texts = f"pid IN (SELECT t.pid FROM process_text t WHERE {matches})"
    if not names:
        found.clauses.append(texts)
        return
    services = found.value([row["name"] for row in names])
    found.either.append((f"service = ANY({services}::text[])", f"NOT service = ANY({services}::text[]) AND {texts}"))


def _like(value: str) -> str:
    return value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


async def count(connection: Connection, found: Filter, most: int = COUNTED) -> tuple[int, bool]:
    """How many there are, up to `most`, and whether there are more."""
    number = await connection.fetchval(
        f"SELECT count(*) FROM (SELECT FROM process WHERE {found.where} LIMIT {most + 1}) found", *found.values
    )
    assert isinstance(number, int)
    return min(number, most), number > most


@dataclass(frozen=True, slots=True)
class Order:
    """By `sort` (of SORTS), then pid; behind the place and pid of a cursor."""

    sort: str = "pid"
    descending: bool = False
    place: Any = None
    pid: int | None = None


def ordered(found: Filter, order: Order) -> None:
    """What the order itself leaves out."""
    if order.sort == "ended_at":
        if found.states and ProcessState.TERMINATED not in found.states:
            found.clauses.append("false")
        found.states = [ProcessState.TERMINATED.value]


async def page(connection: Connection, found: Filter, order: Order, limit: int) -> list[Process]:
    """At most `limit`, of a filter that is resolved."""
    assert found.text is None
    assert not found.contexts
    if order.sort == "pid" and found.names.isdisjoint(_NARROW) and (times := found.names & TIMES.keys()):
        statement, values = _within_time(found, order, limit, TIMES[min(times)])
        selected = await connection.fetch(statement, *values)
        if selected[0]["hits"] <= SORTED:
            return [rows.process(_plain(row)) for row in selected if row["pid"] is not None]
    items: list[Process] = []
    for statement, values in _statements(found, order, limit):
        items += [rows.process(row) for row in await connection.fetch(statement, *values)]
        if len(items) >= limit:
            break
    return items[:limit]


def _within_time(found: Filter, order: Order, limit: int, column: str) -> tuple[str, list[Any]]:
    """All that a span of time has, and the page of them by pid: who walks along the pids may meet the span at their end.

    `hits` over SORTED: they are too many for that, so dense that a walk finds them.
    """
    values, clauses = list(found.values), list(found.clauses)
    direction, compare = ("DESC", "<") if order.descending else ("ASC", ">")
    if order.pid is not None:
        values.append(order.pid)
        clauses.append(f"pid {compare} ${len(values)}::bigint")
    states = [ProcessState.TERMINATED.value] if column == "ended_at" else found.states or [*map(str, ProcessState)]
    parts = [
        f"(SELECT pid FROM process WHERE {' AND '.join([*clauses, *each])} ORDER BY {column} LIMIT {SORTED + 1})"
        for each in itertools.product(*found.either, [in_states([state]) for state in states])
    ]
    values.append(limit)
    return (
        f"WITH hit AS MATERIALIZED ({' UNION ALL '.join(parts)}) SELECT * FROM (SELECT count(*) AS hits FROM hit) counted"
        f" LEFT JOIN (SELECT {_SMALL} FROM (SELECT pid FROM hit ORDER BY pid {direction} LIMIT ${len(values)}) page"
        f" JOIN process USING (pid)) found ON true ORDER BY pid {direction}"
    ), values


def _plain(row: Any) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "hits"}


def statements(found: Filter, order: Order, limit: int) -> list[tuple[str, list[Any]]]:
    """What `page` asks, one after the other until the page is full."""
    return list(_statements(found, order, limit))


def _statements(found: Filter, order: Order, limit: int) -> Iterator[tuple[str, list[Any]]]:
    if order.sort != "due":
        yield _statement(found, order, limit, [])
        return
    if order.place != _LAST:
        yield _statement(found, order, limit, ["due IS NOT NULL"])
    if not found.names & {"due_before", "due_after"}:
        rest = (
            Order("pid", order.descending, order.pid, order.pid)
            if order.place == _LAST
            else Order("pid", order.descending)
        )
        yield _statement(found, rest, limit, ["due IS NULL"])


def _statement(found: Filter, order: Order, limit: int, more: list[str]) -> tuple[str, list[Any]]:
    column, kind = SORTS[order.sort]
    direction, compare = ("DESC", "<") if order.descending else ("ASC", ">")
    by = f"pid {direction}" if column == "pid" else f"{column} {direction}, pid {direction}"
    values = list(found.values)
    clauses = [*found.clauses, *more]
    if order.pid is not None and column == "pid":
        values.append(order.pid)
        clauses.append(f"pid {compare} ${len(values)}::bigint")
    elif order.pid is not None:
        values += [str(order.place), order.pid]
        clauses.append(f"({column}, pid) {compare} (${len(values) - 1}::text::{kind}, ${len(values)}::bigint)")
    values.append(limit)
    most = f"LIMIT ${len(values)}"
    parts = [
        f"(SELECT pid, {column} AS place FROM process WHERE {' AND '.join([*clauses, *each])} ORDER BY {by} {most})"
        for each in itertools.product(*found.either, _by_state(found, order))
    ]
    ranked = f"place {direction}, pid {direction}"
    selected = parts[0] if len(parts) == 1 else f"({' UNION ALL '.join(parts)} ORDER BY {ranked} {most})"
    return f"SELECT {_SMALL} FROM {selected} page JOIN process USING (pid) ORDER BY {ranked}", values


def _by_state(found: Filter, order: Order) -> list[str]:
    """A condition a part."""
    text_once = "q" in found.names and order.sort == "pid"
    if text_once or not found.names.isdisjoint(_NARROW):
        return [in_states(found.states) if found.states else "true"]
    return [in_states([state]) for state in found.states or [each.value for each in ProcessState]]


def encode_cursor(process: Process, sort: str) -> str:
    value: Any = getattr(process, sort)
    if sort == "due" and value is None:
        value = _LAST
    text = value.isoformat() if isinstance(value, datetime) else value
    return base64.urlsafe_b64encode(orjson.dumps([sort, text, process.pid])).decode().rstrip("=")


def decode_cursor(text: str, sort: str) -> tuple[Any, int] | None:
    """The (place, pid) in a cursor of ours, or None where it is none or of another order."""
    try:
        name, value, pid = orjson.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        if name != sort or not isinstance(pid, int) or not 0 <= pid < 2**63:
            return None
        if sort in ("pid", "priority"):
            if not isinstance(value, int) or not -(2**15) <= value < (2**63 if sort == "pid" else 2**15):
                return None
        elif (value != _LAST or sort != "due") and datetime.fromisoformat(value).tzinfo is None:
            return None
        return value, pid
    except (ValueError, TypeError, OverflowError, binascii.Error):
        return None
