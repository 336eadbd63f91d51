"""Processes as rows: which columns, in which order, and back."""

from collections.abc import Mapping
from datetime import datetime
from operator import attrgetter
from typing import Any

import orjson
from kernel_contracts.vocabulary import AfterMode, AfterOn, OnTimeout, Outcome, ProcessState

from process_svc.domain.process import INLINE, Process, Waiting, wake_at

FIXED: dict[str, str] = {
    "pid": "bigint",
    "tenant": "text",
    "service": "text",
    "service_version": "int",
    "entity_type": "text",
    "entity_id": "text",
    "queue": "text",
    "key": "text",
    "key_hash": "bytea",
    "parent": "bigint",
    "root": "bigint",
    "after_mode": "text",
    "after_on": "text",
    "created_at": "timestamptz",
    "not_after": "timestamptz",
    "due": "timestamptz",
    "expected_duration": "float8",
}
"""Set at creation; `after` besides, which is an array itself."""

MOVING: dict[str, str] = {
    "version": "int",
    "state": "text",
    "outcome": "text",
    "operator": "text",
    "assigned": "text",
    "priority": "smallint",
    "attempt": "int",
    "dispatch_id": "text",
    "held": "bool",
    "ready_at": "timestamptz",
    "started_at": "timestamptz",
    "ended_at": "timestamptz",
    "not_before": "timestamptz",
    "run_until": "timestamptz",
    "output": "text",
    "suspended_from": "text",
    "suspended_at": "timestamptz",
    "incident": "bigint",
    "has_children": "bool",
    "has_dependents": "bool",
    "ended_by": "text",
}
"""Written by every change; `waiting` and `wake_at` besides, which are computed."""

COMPUTED: dict[str, str] = {"waiting": "text", "wake_at": "timestamptz"}

CONTEXT: dict[str, str] = {"context": "text", "context_version": "int", "context_hash": "bytea"}
"""Written where the context changes."""

_STATES = {state.value: state for state in ProcessState}
_OUTCOMES = {outcome.value: outcome for outcome in Outcome}
_MODES = {mode.value: mode for mode in AfterMode}
_ENDS = {end.value: end for end in AfterOn}


def select(whole: str) -> str:
    """The columns of `process`; a large context only where the SQL condition `whole` holds."""
    context = f"CASE WHEN octet_length(context) <= {INLINE} OR {whole} THEN context END AS context"
    rest = [name for name in CONTEXT if name != "context"]
    return ", ".join([*FIXED, "after", *MOVING, "waiting", *rest, context])


_fixed = attrgetter(*FIXED)
_moving = attrgetter(*MOVING)
_context = attrgetter(*CONTEXT)


def inserted(process: Process) -> tuple[Any, ...]:
    """In the order FIXED, MOVING, COMPUTED, CONTEXT."""
    values: tuple[Any, ...] = (*_fixed(process), *_moving(process), *_computed(process), *_context(process))
    return values


def moved(process: Process) -> tuple[Any, ...]:
    """pid, then in the order MOVING, COMPUTED."""
    values: tuple[Any, ...] = (process.pid, *_moving(process), *_computed(process))
    return values


def with_context(process: Process) -> tuple[Any, ...]:
    """pid, then in the order CONTEXT."""
    values: tuple[Any, ...] = (process.pid, *_context(process))
    return values


def _computed(process: Process) -> tuple[str | None, datetime | None]:
    waiting = process.waiting
    return None if waiting is None else waiting_text(waiting), wake_at(process)


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
    if outcome is not None:
        members["outcome"] = _OUTCOMES[outcome]
    if waiting is not None:
        members["waiting"] = _waiting(waiting)
    if origin is not None:
        members["suspended_from"] = _STATES[origin]
    return made


def waiting_text(waiting: Waiting) -> str:
    return orjson.dumps(
        {name: value for name in Waiting.__slots__ if (value := getattr(waiting, name)) is not None}
    ).decode()


def _waiting(text: str) -> Waiting:
    found = orjson.loads(text)
    for name in ("until", "timeout"):
        if name in found:
            found[name] = datetime.fromisoformat(found[name])
    if "children_mode" in found:
        found["children_mode"] = AfterMode(found["children_mode"])
    found["on_timeout"] = OnTimeout(found["on_timeout"])
    return Waiting(**found)
