"""Processes as rows: which columns, in which order, and back."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from operator import attrgetter
from typing import Any

import orjson
from kernel_contracts.vocabulary import AfterMode, AfterOn, EntityAccess, OnTimeout, Outcome, ProcessState

from process_svc.domain.process import INLINE, Process, Reference, Waiting, wake_at

KIND = ("service_version", "queue", "expected_duration", "due", "tried_at", "compensating")
"""Of FIXED, what a migration changes after all, in the order of the type `process_kind_2`."""

FIXED = (
    "pid",
    "tenant",
    "service",
    "service_version",
    "entity_type",
    "entity_id",
    "queue",
    "key",
    "key_hash",
    "parent",
    "call",
    "root",
    "after_mode",
    "after_on",
    "created_at",
    "not_after",
    "due",
    "expected_duration",
    "tried_at",
    "compensates",
    "compensating",
)
"""Set at creation; besides `after`, which is an array itself, and `entities`, which are JSON."""

MOVING = (
    "version",
    "state",
    "outcome",
    "operator",
    "assigned",
    "priority",
    "attempt",
    "dispatch_id",
    "held",
    "ready_at",
    "started_at",
    "ended_at",
    "not_before",
    "run_until",
    "output",
    "suspended_from",
    "suspended_at",
    "incident",
    "has_children",
    "has_dependents",
    "ended_by",
    "journal_hash",
)
"""Written by every change, in the order of the type `process_move_2`; the COMPUTED ones behind them."""

COMPUTED = ("waiting", "wake_at")

CONTEXT = ("context", "context_version", "context_hash")
"""Written where the context changes, in the order of the type `process_context`."""

_STATES = {state.value: state for state in ProcessState}
_OUTCOMES = {outcome.value: outcome for outcome in Outcome}
_MODES = {mode.value: mode for mode in AfterMode}
_ENDS = {end.value: end for end in AfterOn}


def select(whole: str) -> str:
    """The columns of `process`; a large context only where the SQL condition `whole` holds."""
    context = f"CASE WHEN octet_length(context) <= {INLINE} OR {whole} THEN context END AS context"
    rest = [name for name in CONTEXT if name != "context"]
    return ", ".join([*FIXED, "after", "entities", *MOVING, "waiting", *rest, context])


_fixed = attrgetter(*FIXED)
_moving = attrgetter(*MOVING)
_context = attrgetter(*CONTEXT)
_kind = attrgetter(*KIND)


def inserted(process: Process, now: datetime) -> tuple[Any, ...]:
    """In the order FIXED, MOVING, COMPUTED, CONTEXT, `after`, `entities`."""
    after = process.after or None
    entities = _references_text(process.entities) if process.entities else None
    return (*_fixed(process), *_moving(process), *_computed(process, now), *_context(process), after, entities)


def moved(process: Process, now: datetime) -> tuple[Any, ...]:
    """pid, then in the order MOVING, COMPUTED."""
    return (process.pid, *_moving(process), *_computed(process, now))


def with_context(process: Process) -> tuple[Any, ...]:
    """pid, then in the order CONTEXT."""
    return (process.pid, *_context(process))


def with_kind(process: Process) -> tuple[Any, ...]:
    """pid, then in the order KIND."""
    return (process.pid, *_kind(process))


def _computed(process: Process, now: datetime) -> tuple[str | None, datetime | None]:
    waiting = process.waiting
    return None if waiting is None else waiting_text(waiting), wake_at(process, now)


def process(row: Mapping[str, Any]) -> Process:
    """The process in a row of `select`."""
    made = object.__new__(Process)
    members = made.__dict__
    members.update(row.items())
    members["state"] = _STATES[members["state"]]
    after, outcome, waiting, origin = (
        members["after"],
        members["outcome"],
        members["waiting"],
        members["suspended_from"],
    )
    members["after"] = () if after is None else tuple(after)
    members["after_mode"] = _MODES[members["after_mode"]]
    members["after_on"] = _ENDS[members["after_on"]]
    entities = members["entities"]
    members["entities"] = () if entities is None else _references(entities)
    if outcome is not None:
        members["outcome"] = _OUTCOMES[outcome]
    if waiting is not None:
        members["waiting"] = _waiting(waiting)
    if origin is not None:
        members["suspended_from"] = _STATES[origin]
    return made


def waiting_text(waiting: Waiting) -> str:
    return orjson.dumps({name: value for name in Waiting.__slots__ if (value := getattr(waiting, name))}).decode()


def _waiting(text: str) -> Waiting:
    found = orjson.loads(text)
    for name in ("until", "timeout"):
        if name in found:
            found[name] = datetime.fromisoformat(found[name])
    if "children_mode" in found:
        found["children_mode"] = AfterMode(found["children_mode"])
    found["on_timeout"] = OnTimeout(found["on_timeout"])
    return Waiting(**found)


def _references_text(found: Iterable[Reference]) -> str:
    return orjson.dumps([[each.type, each.id, each.role, each.access] for each in found]).decode()


def _references(text: str) -> tuple[Reference, ...]:
    return tuple(Reference(type, id, role, EntityAccess(access)) for type, id, role, access in orjson.loads(text))
