"""Between domain and messages: event bodies, the PCB, times and durations. Stored JSON is passed on as it stands."""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
from kernel_contracts import message_types as types
from kernel_contracts.base import iso_duration
from kernel_contracts.envelope import CONTENT_TYPE, SPEC_VERSION
from kernel_contracts.process import SUBJECT
from kernel_contracts.topics import DEFINITIONS, PROCESS_EVENTS
from kernel_contracts.vocabulary import Give, ProcessState
from kernel_runtime.command import Cause, Command, Message, message
from kernel_runtime.problem import Problem

from process_svc.domain.life import Life
from process_svc.domain.process import INLINE, Entry, Process, Waiting
from process_svc.domain.states import allowed

SOURCE: Final = "/kernel/process-svc"
UTC_Z: Final = orjson.OPT_UTC_Z

_TYPES: Final[Mapping[str, str]] = {
    "created": types.PROCESS_CREATED,
    "ready": types.PROCESS_READY,
    "running": types.PROCESS_RUNNING,
    "waiting": types.PROCESS_WAITING,
    "suspended": types.PROCESS_SUSPENDED,
    "terminated": types.PROCESS_TERMINATED,
    "prioritized": types.PROCESS_PRIORITIZED,
    "assigned": types.PROCESS_ASSIGNED,
    "context_changed": types.CONTEXT_CHANGED,
    "migrated": types.CONTEXT_CHANGED,
}


def canonical(value: Any) -> str:
    """JSON text that is the same for the same value: sorted members, no blanks. Raises TypeError where it can't be JSON."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def waiting_for(waiting: Waiting) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if waiting.event_type is not None:
        found["event"] = {"type": waiting.event_type, "key": waiting.event_key}
    if waiting.until is not None:
        found["timer"] = waiting.until
    if waiting.children_mode is not None:
        found["children"] = {"mode": waiting.children_mode.value, "count": waiting.children_count}
    if waiting.told is not None:
        found["barrier" if waiting.call is None else "call"] = waiting.told
    if waiting.timeout is not None:
        found["timeout"], found["on_timeout"] = waiting.timeout, waiting.on_timeout.value
    if waiting.met:
        found["met"] = True
    return found


def _entity(process: Process) -> dict[str, str | None] | None:
    return None if process.entity_type is None else {"type": process.entity_type, "id": process.entity_id}


def _entities(process: Process) -> list[dict[str, str | None]]:
    """All that it is about, the subject first."""
    found: list[dict[str, str | None]] = []
    if process.entity_type is not None:
        found.append({"type": process.entity_type, "id": process.entity_id, "role": SUBJECT})
    return found + [
        {"type": each.type, "id": each.id, "role": each.role, "access": each.access} for each in process.entities
    ]


def _duration(seconds: float | None) -> str | None:
    return None if seconds is None else iso_duration(timedelta(seconds=seconds))


def pcb(process: Process) -> dict[str, Any]:
    """The process control block as the public face has it; give it to orjson. A large context may not be in it."""
    context = process.context
    running = process.state is ProcessState.RUNNING or process.held
    return {
        "pid": process.pid,
        "tenant": process.tenant,
        "service": process.service,
        "service_version": process.service_version,
        "entity": _entity(process),
        "entities": _entities(process),
        "operator": process.operator,
        "assigned": process.assigned,
        "priority": process.priority,
        "state": process.state,
        "outcome": process.outcome,
        "version": process.version,
        "context": None if context is None else orjson.Fragment(context),
        "context_hash": process.context_hash.hex(),
        "output": None if process.output is None else orjson.Fragment(process.output),
        "parent": process.parent,
        "root": process.root,
        "ahead": process.ahead if process.state is ProcessState.NEW else None,
        "after": process.after,
        "after_mode": process.after_mode,
        "after_on": process.after_on,
        "queue": process.queue,
        "key": process.key,
        "dispatch_id": process.dispatch_id if running else None,
        "attempt": process.attempt,
        "created_at": process.created_at,
        "ready_at": process.ready_at,
        "started_at": process.started_at,
        "ended_at": process.ended_at,
        "due": process.due,
        "not_before": process.not_before,
        "not_after": process.not_after,
        "expected_duration": _duration(process.expected_duration),
        "incident": process.incident,
        "compensates": process.compensates,
        "compensating": process.compensating is not None,
        "waiting_for": None if process.waiting is None else waiting_for(process.waiting),
        "can": allowed(process.state, process.outcome, process.incident, waits=process.still_waits),
    }


def pcb_json(process: Process) -> bytes:
    return orjson.dumps(pcb(process), option=UTC_Z)


_OPTIONAL: Final = (
    "operator",
    "key",
    "parent",
    "ready_at",
    "started_at",
    "ended_at",
    "not_before",
    "not_after",
    "due",
    "incident",
    "compensates",
)
"""Left out of an event where there is none."""


def _body(entry: Entry, at: datetime, by: str, demands: bytes | None) -> bytes:
    """A kernel_contracts.process.ProcessEvent."""
    process = entry.process
    members = process.__dict__
    body = {
        "pid": process.pid,
        "tenant": process.tenant,
        "version": process.version,
        "from_state": entry.from_state,
        "state": process.state,
        "service": process.service,
        "service_version": process.service_version,
        "priority": process.priority,
        "queue": process.queue,
        "root": process.root,
        "attempt": process.attempt,
        "at": at,
        "by": by,
        "created_at": process.created_at,
    }
    for name in _OPTIONAL:
        value = members[name]
        if value is not None:
            body[name] = value
    if process.outcome is not None:
        body["outcome"] = process.outcome
    if process.entity_type is not None:
        body["entity"] = _entity(process)
    if process.entities:
        body["entities"] = _entities(process)
    if process.after:
        body["after"] = process.after
    if entry.dispatch_id is not None:
        body["dispatch_id"] = entry.dispatch_id
    if entry.reason is not None:
        body["reason"] = entry.reason
    if entry.error is not None:
        body["error"] = entry.error
    if process.waiting is not None:
        body["waiting_for"] = waiting_for(process.waiting)
    if process.expected_duration is not None:
        body["expected_duration"] = _duration(process.expected_duration)
    output = process.output
    if output is not None and len(output) <= INLINE:
        body["output"] = orjson.Fragment(output)
    context = process.context
    if context is not None and len(context) <= INLINE:
        body["context"] = orjson.Fragment(context)
    else:
        body["context_hash"] = process.context_hash.hex()
    if demands is not None:
        body["demands"] = orjson.Fragment(demands)
    return orjson.dumps(body, option=UTC_Z)


def event(entry: Entry, at: datetime, time: str, by: str, cause: Cause, demands: bytes | None) -> Message:
    """The message that tells a journal row. `time`: `at` as text."""
    process = entry.process
    pid, version = str(process.pid), str(process.version)
    headers = {
        "ce_specversion": SPEC_VERSION,
        "ce_id": f"{pid}.{version}",
        "ce_type": _TYPES[entry.type],
        "ce_source": SOURCE,
        "ce_time": time,
        "ce_tenant": process.tenant,
        "ce_depth": str(cause.depth),
        "content-type": CONTENT_TYPE,
        "ce_correlationid": cause.correlation,
        "ce_aggregateversion": version,
    }
    if cause.message is not None:
        headers["ce_causationid"] = cause.message
    if entry.dispatch_id is not None:
        headers["ce_dispatchid"] = entry.dispatch_id
    if entry.give is not None:
        headers["ce_give"] = entry.give
    if cause.traceparent is not None:
        headers["traceparent"] = cause.traceparent
    return Message(PROCESS_EVENTS, pid, _body(entry, at, by, demands), orjson.dumps(headers).decode())


def incident(
    id: int,
    process: Process,
    kind: str,
    error: Any,
    action: str | None,
    at: datetime,
    cause: Cause,
    *,
    count: int,
    assignee: str | None,
) -> Message:
    """An incident opened (again), or resolved by `action`."""
    state = "open" if action is None else "resolved"
    body = {
        "id": id,
        "pid": process.pid,
        "tenant": process.tenant,
        "type": kind,
        "count": count,
        "assignee": assignee,
        "state": state,
        "error": error,
        "action": action,
    }
    return message(
        PROCESS_EVENTS,
        str(process.pid),
        orjson.dumps(body),
        id=f"incident-{id}.{state}" + ("" if count == 1 else f".{count}"),
        type=types.INCIDENT_OPENED if action is None else types.INCIDENT_RESOLVED,
        source=SOURCE,
        at=at,
        tenant=process.tenant,
        cause=cause,
    )


def dispatch_refused(
    pid: int, dispatch_id: str, process: Process | None, reason: str, *, tenant: str, at: datetime, cause: Cause
) -> Message:
    """resource-svc takes the units of that dispatch back; the scheduler sees which version there is now."""
    body = {
        "pid": pid,
        "dispatch_id": dispatch_id,
        "state": None if process is None else process.state,
        "reason": reason,
    }
    return message(
        PROCESS_EVENTS,
        str(pid),
        orjson.dumps(body),
        id=f"{dispatch_id}.refused",
        type=types.DISPATCH_REFUSED,
        source=SOURCE,
        at=at,
        tenant=tenant,
        cause=cause,
        version=None if process is None else process.version,
        dispatch=dispatch_id,
        give=Give.RUNNING.value,
    )


def command_refused(command: Command, problem: Problem, at: datetime) -> Message:
    """To whoever sent the command over the bus."""
    assert command.envelope is not None
    pid = getattr(command.body, "pid", None)
    body = {
        "command_id": command.envelope.id,
        "command": command.name,
        "pid": pid,
        "title": problem.title,
        "detail": problem.detail,
        "status": problem.status,
    }
    digest = hashlib.blake2b(command.id.encode(), digest_size=16).hexdigest()
    return message(
        PROCESS_EVENTS,
        digest if pid is None else str(pid),
        orjson.dumps(body),
        id=f"refused-{digest}",
        type=types.COMMAND_REFUSED,
        source=SOURCE,
        at=at,
        tenant=command.tenant,
        cause=command.cause,
    )


def service_published(tenant: str, name: str, life: Life, definition: str, *, at: datetime, cause: Cause) -> Message:
    """`definition`: the JSON of its current version."""
    canary = life.canary
    body = {
        "tenant": tenant,
        "name": name,
        "version": life.current,
        "definition": orjson.Fragment(definition),
        "latest": life.latest,
        "retired_at": life.retired_at,
        "canary": None if canary is None else {"version": canary.version, "share": canary.share},
    }
    return message(
        DEFINITIONS,
        f"service/{tenant}/{name}",
        orjson.dumps(body, option=UTC_Z),
        id=f"service/{tenant}/{name}.{life.revision}",
        type=types.SERVICE_PUBLISHED,
        source=SOURCE,
        at=at,
        tenant=tenant,
        cause=cause,
        subject=name,
        version=life.revision,
    )
