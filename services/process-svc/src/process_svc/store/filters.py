"""What processes are found by: the members of a filter as SQL, for lists and for bulk jobs alike."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from kernel_contracts.vocabulary import Outcome, ProcessState
from kernel_runtime.problem import ProblemError, invalid

CONTEXT: Final = "context."
DEFAULT_QUEUE: Final = "default"
MAX_VALUES: Final = 1_000
"""Of one member."""


@dataclass(slots=True)
class Filter:
    """Conditions that all hold; texts of SQL with numbered parameters are made here alone."""

    tenant: str
    clauses: list[str] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    """Those that were asked for; none: all."""
    either: list[Sequence[str]] = field(default_factory=list)
    """Conditions of which one each holds, and no two at once: each can use an index of its own."""
    services: list[str] = field(default_factory=list)
    text: str | None = None
    """What is looked for in titles, keys and ids; store.search makes conditions of it."""
    contexts: list[tuple[str, list[str]]] = field(default_factory=list)
    """(path, values) each; likewise."""
    names: frozenset[str] = frozenset()
    """Of all members that were given."""

    def __post_init__(self) -> None:
        self.add("tenant = {}", self.tenant)

    def value(self, value: Any) -> str:
        """The parameter that stands for `value`."""
        self.values.append(value)
        return f"${len(self.values)}"

    def add(self, clause: str, *values: Any) -> None:
        """`clause` with a `{}` for each value."""
        self.clauses.append(clause.format(*map(self.value, values)))

    @property
    def where(self) -> str:
        """All of it as one condition; after store.search.resolve."""
        if self.text is not None or self.contexts:
            raise RuntimeError("text and context are to be resolved first")
        clauses = [*self.clauses, *(f"({' OR '.join(each)})" for each in self.either)]
        if self.states:
            clauses.append(in_states(self.states))
        return " AND ".join(clauses)


def in_states(states: Sequence[str]) -> str:
    """Says what partial indexes say: of those alive, or ended."""
    if len(states) == 1:
        return f"state = '{states[0]}'" + ("" if states[0] == ProcessState.TERMINATED else " AND state <> 'TERMINATED'")
    listed = ", ".join(f"'{state}'" for state in states)
    return f"state IN ({listed})" + ("" if ProcessState.TERMINATED in states else " AND state <> 'TERMINATED'")


_TEXTS: Final[Mapping[str, str]] = {name: name for name in ("service", "operator", "assigned", "queue", "key")}
_ENTITY: Final[Mapping[str, tuple[str, str]]] = {
    "entity_type": ("entity_type", "type"),
    "entity_id": ("entity_id", "id"),
}
"""The column of the subject, and that of a further reference."""
_NUMBERS: Final[Mapping[str, str]] = {
    "pid": "pid = ANY({}::bigint[])",
    "parent": "parent = ANY({}::bigint[])",
    "root": "(pid = ANY({}::bigint[]) OR root = ANY({}::bigint[]) AND parent IS NOT NULL)",
    "service_version": "service_version = ANY({}::bigint[])",
}
_TIMES: Final[Mapping[str, str]] = {
    "created_after": "created_at > {}",
    "created_before": "created_at < {}",
    "ended_after": "state = 'TERMINATED' AND ended_at > {}",
    "ended_before": "state = 'TERMINATED' AND ended_at < {}",
    "due_after": "due > {}",
    "due_before": "due < {}",
}
TIMES: Final = {
    "created_after": "created_at",
    "created_before": "created_at",
    "due_after": "due",
    "due_before": "due",
} | {
    "ended_after": "ended_at",
    "ended_before": "ended_at",
}
"""Member -> the column that it limits."""
_INCIDENT: Final[Mapping[str, str]] = {"incident_type": "type", "assignee": "assignee"}
NAMES: Final = (
    *("state", "not_state", "outcome", "has_incident", "q"),
    *_TEXTS,
    *_ENTITY,
    *_NUMBERS,
    *_TIMES,
    *_INCIDENT,
    "context.PATH",
)


def pairs(given: Mapping[str, Any], where: str = "/filter") -> list[tuple[str, str]]:
    """A filter in JSON as the query would spell it; a list means any of its values."""
    found = []
    for name, value in given.items():
        values = value if isinstance(value, list) else [value]
        if not values or len(values) > MAX_VALUES:
            raise wrong(name, f"must be a value, or a list of 1 to {MAX_VALUES:,}", where)
        found += [(name, _text(name, each, where)) for each in values]
    return found


def _text(name: str, value: Any, where: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return orjson.dumps(value).decode()
    raise wrong(name, "must be text, a number, true or false, or a list of them", where)


def parsed(given: Iterable[tuple[str, str]], tenant: str, where: str = "/query") -> Filter:
    """The filter that (name, value) pairs ask for, the same name again means any of them; 422 where one doesn't read."""
    found = Filter(tenant)
    by_name: dict[str, list[str]] = {}
    for name, value in given:
        if "\x00" in name or "\x00" in value:
            raise wrong("query", "the character U+0000 can't be searched for", where)
        by_name.setdefault(name, []).append(value)
    found.names = frozenset(by_name)
    for name, values in by_name.items():
        if name not in _ENTITY:
            _add(found, name, values, where)
    _about(found, {name: by_name[name] for name in _ENTITY if name in by_name})
    wanted = _states("state", by_name, where)
    refused = _states("not_state", by_name, where)
    if wanted or refused:
        left = [state.value for state in ProcessState if state in (wanted or ProcessState) and state not in refused]
        if left:
            found.states = left if len(left) < len(ProcessState) else []
        else:
            found.clauses.append("false")
    return found


def _about(found: Filter, entity: Mapping[str, list[str]]) -> None:
    """Any reference counts: the subject, by an index in the order of pid, or another."""
    if not entity:
        return
    given = {name: found.value(values[0] if len(values) == 1 else values) for name, values in entity.items()}
    own, other = (
        " AND ".join(
            f"{_ENTITY[name][place]} = {value if len(entity[name]) == 1 else f'ANY({value}::text[])'}"
            for name, value in given.items()
        )
        for place in (0, 1)
    )
    tenant = found.value(found.tenant)
    rest = f"({own}) IS NOT TRUE AND pid = ANY (ARRAY(SELECT pid FROM entity_reference WHERE tenant = {tenant} AND {other}))"
    found.either.append((own, rest))


def _states(name: str, by_name: Mapping[str, list[str]], where: str) -> list[str]:
    """One or several by commas."""
    found = [one for value in by_name.get(name, ()) for one in value.split(",") if one]
    for one in found:
        if one not in ProcessState.__members__:
            raise wrong(name, f"must be of {', '.join(ProcessState)}", where)
    return found


def _add(found: Filter, name: str, values: list[str], where: str) -> None:
    value = values[-1]
    if name in ("state", "not_state"):
        return
    if name in _TEXTS:
        if name == "service":
            found.services = values
        if name == "queue" and DEFAULT_QUEUE not in values:
            found.clauses.append(f"queue <> '{DEFAULT_QUEUE}'")  # says what an index says; as below
        if len(values) == 1:
            found.add(f"{name} = {{}}", value)
        else:
            found.add(f"{name} = ANY({{}}::text[])", values)
    elif name in _NUMBERS:
        numbers = [number(name, each, where) for each in values]
        found.add(_NUMBERS[name], *[numbers] * _NUMBERS[name].count("{}"))
    elif name in _TIMES:
        found.add(_TIMES[name], time(name, value, where))
    elif name == "outcome":
        if unknown := [each for each in values if each not in set(Outcome)]:
            raise wrong(name, f"{unknown[0]!r} is not of {', '.join(Outcome)}", where)
        found.add("state = 'TERMINATED' AND outcome = ANY({}::text[])", values)
        if Outcome.COMPLETED not in values:
            found.clauses.append("outcome <> 'completed'")
    elif name == "has_incident":
        found.clauses.append("incident IS NOT NULL" if boolean(name, value, where) else "incident IS NULL")
    elif name in _INCIDENT:
        found.add(
            "incident IS NOT NULL AND EXISTS (SELECT FROM incident WHERE incident.id = process.incident"
            f" AND incident.{_INCIDENT[name]} = ANY({{}}::text[]))",
            values,
        )
    elif name == "q":
        found.text = value
    elif name.startswith(CONTEXT) and len(name) > len(CONTEXT):
        found.contexts.append((name[len(CONTEXT) :], values))
    else:
        raise wrong(name, f"is not a filter of this list. Known: {', '.join(NAMES)}", where)


def wrong(name: str, message: str, where: str = "/query") -> ProblemError:
    return ProblemError(invalid(f"{name}: {message}", [(f"{where}/{name}", message)]))


def number(name: str, value: str, where: str = "/query") -> int:
    if not value.isascii() or not value.isdigit() or len(value) > 18:
        raise wrong(name, "must be a whole number", where)
    return int(value)


def time(name: str, value: str, where: str = "/query") -> datetime:
    try:
        found = datetime.fromisoformat(value.replace(" ", "+"))
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise wrong(name, "must be an RFC 3339 time with a zone", where)


def boolean(name: str, value: str, where: str = "/query") -> bool:
    if value not in ("true", "false"):
        raise wrong(name, "must be true or false", where)
    return value == "true"
