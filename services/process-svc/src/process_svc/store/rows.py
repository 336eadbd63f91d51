"""Processes as rows: which columns, in which order, and back."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import orjson
from kernel_contracts.vocabulary import AfterMode, AfterOn, Outcome, ProcessState

from process_svc.domain.process import Process, Waiting, wake_at

FIXED: dict[str, str] = {
    "pid": "bigint",
    "tenant": "text",
    "service": "text",
    "service_version": "int",
    "entity_type": "text",
    "entity_id": "text",
    "queue": "text",
    "key": "text",
    "root": "bigint",
    "after_mode": "text",
    "after_on": "text",
    "created_at": "timestamptz",
    "not_after": "timestamptz",
    "due": "timestamptz",
    "expected_duration": "float8",
}
"""Set at creation."""

MOVING: dict[str, str] = {
    "version": "int",
    "state": "text",
    "outcome": "text",
    "operator": "text",
    "assigned": "text",
    "priority": "smallint",
    "parent": "bigint",
    "attempt": "int",
    "dispatch_id": "text",
    "ready_at": "timestamptz",
    "started_at": "timestamptz",
    "ended_at": "timestamptz",
    "not_before": "timestamptz",
    "output": "text",
    "waiting": "text",
    "suspended_from": "text",
    "incident": "bigint",
    "has_children": "bool",
    "has_dependents": "bool",
    "wake_at": "timestamptz",
}
"""Written by every change."""

CONTEXT: dict[str, str] = {"context": "text", "context_version": "int", "context_hash": "bytea"}
"""Written where the context changes."""

SELECT = ", ".join([*FIXED, *MOVING, *CONTEXT, "after"])

_COMPUTED: dict[str, Callable[[Process], Any]] = {
    "wake_at": wake_at,
    "waiting": lambda process: None if process.waiting is None else waiting_text(process.waiting),
}


def arrays(columns: Mapping[str, str], processes: list[Process]) -> list[list[Any]]:
    """One array a column, for unnest."""
    return [
        [compute(process) for process in processes]
        if (compute := _COMPUTED.get(name)) is not None
        else [getattr(process, name) for process in processes]
        for name in columns
    ]


def process(row: Mapping[str, Any]) -> Process:
    """The process in a row of SELECT."""
    outcome, waiting, origin = row["outcome"], row["waiting"], row["suspended_from"]
    return Process(
        pid=row["pid"],
        tenant=row["tenant"],
        version=row["version"],
        state=ProcessState(row["state"]),
        outcome=None if outcome is None else Outcome(outcome),
        service=row["service"],
        service_version=row["service_version"],
        entity_type=row["entity_type"],
        entity_id=row["entity_id"],
        operator=row["operator"],
        assigned=row["assigned"],
        priority=row["priority"],
        queue=row["queue"],
        key=row["key"],
        parent=row["parent"],
        root=row["root"],
        after=tuple(row["after"]),
        after_mode=AfterMode(row["after_mode"]),
        after_on=AfterOn(row["after_on"]),
        attempt=row["attempt"],
        dispatch_id=row["dispatch_id"],
        created_at=row["created_at"],
        ready_at=row["ready_at"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        not_before=row["not_before"],
        not_after=row["not_after"],
        due=row["due"],
        expected_duration=row["expected_duration"],
        context=row["context"],
        context_version=row["context_version"],
        context_hash=row["context_hash"],
        output=row["output"],
        waiting=None if waiting is None else _waiting(waiting),
        suspended_from=None if origin is None else ProcessState(origin),
        incident=row["incident"],
        has_children=row["has_children"],
        has_dependents=row["has_dependents"],
    )


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
    return Waiting(**found)
