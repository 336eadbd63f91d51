"""Between domain and messages: event bodies, the PCB, times and durations. Stored JSON is passed on as it stands."""

from datetime import datetime, timedelta
from typing import Any

import orjson
from kernel_contracts.base import iso_duration
from kernel_contracts.topics import PROCESS_EVENTS
from kernel_runtime.command import Cause, Message, message

from process_svc.domain.process import Entry, Process, Waiting
from process_svc.domain.states import allowed

SOURCE = "/kernel/process-svc"
INLINE_CONTEXT = 16 * 1024
"""Bytes of context that travel with an event; beyond that its hash does."""


def canonical(value: Any) -> str:
    """JSON text that is the same for the same value: sorted members, no blanks. Raises TypeError where it can't be JSON."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def waiting_for(waiting: Waiting | None) -> dict[str, Any] | None:
    if waiting is None:
        return None
    found: dict[str, Any] = {}
    if waiting.event_type is not None:
        found["event"] = {"type": waiting.event_type, "key": waiting.event_key}
    if waiting.until is not None:
        found["timer"] = waiting.until
    if waiting.children_mode is not None:
        found["children"] = {"mode": waiting.children_mode.value, "count": waiting.children_count}
    if waiting.timeout is not None:
        found |= {"timeout": waiting.timeout, "on_timeout": waiting.on_timeout}
    return found


def _common(process: Process) -> dict[str, Any]:
    duration = process.expected_duration
    return {
        "pid": process.pid,
        "tenant": process.tenant,
        "version": process.version,
        "state": process.state.value,
        "outcome": process.outcome,
        "service": process.service,
        "service_version": process.service_version,
        "entity": None if process.entity_type is None else {"type": process.entity_type, "id": process.entity_id},
        "operator": process.operator,
        "priority": process.priority,
        "queue": process.queue,
        "key": process.key,
        "parent": process.parent,
        "root": process.root,
        "after": process.after,
        "dispatch_id": process.dispatch_id,
        "attempt": process.attempt,
        "created_at": process.created_at,
        "ready_at": process.ready_at,
        "started_at": process.started_at,
        "ended_at": process.ended_at,
        "not_before": process.not_before,
        "not_after": process.not_after,
        "due": process.due,
        "expected_duration": None if duration is None else iso_duration(timedelta(seconds=duration)),
        "waiting_for": waiting_for(process.waiting),
        "incident": process.incident,
        "output": None if process.output is None else orjson.Fragment(process.output),
    }


def pcb(process: Process) -> dict[str, Any]:
    """The process control block as the public face has it; give it to orjson."""
    found = _common(process)
    found["operator"] = process.operator or process.assigned
    found["assigned"] = process.assigned
    found["context"] = orjson.Fragment(process.context)
    found["can"] = allowed(process.state, process.outcome)
    return found


def pcb_json(process: Process) -> bytes:
    return orjson.dumps(pcb(process), option=orjson.OPT_UTC_Z)


def event(entry: Entry, at: datetime, by: str, cause: Cause, demands: bytes | None) -> Message:
    """The message that tells a journal row."""
    process = entry.process
    body = _common(process)
    body["from_state"] = entry.from_state
    body["at"] = at
    body["by"] = by
    body["reason"] = entry.reason
    body["error"] = entry.error
    if len(process.context) <= INLINE_CONTEXT:
        body["context"] = orjson.Fragment(process.context)
    else:
        body["context_hash"] = process.context_hash.hex()
    if demands is not None:
        body["demands"] = orjson.Fragment(demands)
    return message(
        PROCESS_EVENTS,
        str(process.pid),
        orjson.dumps(body, option=orjson.OPT_UTC_Z),
        id=f"{process.pid}.{process.version}",
        type=f"kernel.process.{entry.type}.v1",
        source=SOURCE,
        at=at,
        tenant=process.tenant,
        cause=cause,
        version=process.version,
        dispatch=entry.dispatch_id,
        give=entry.give,
    )
