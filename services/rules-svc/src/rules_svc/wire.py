"""Messages to decisions and back: the events of other services as they are received, firings as commands and events."""

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

import orjson
from kernel_contracts import message_types as types
from kernel_contracts.envelope import MAX_TEXT, Envelope
from kernel_contracts.process import ProcessEvent
from kernel_contracts.topics import BUSINESS_EVENTS, DEFINITIONS, PROCESS_COMMANDS, RULE_EVENTS
from kernel_runtime.command import Cause, Message, message

from rules_svc.book import Definition
from rules_svc.domain.model import Action, Do, Event, Firing
from rules_svc.domain.waits import Wait
from rules_svc.received import SERVICE, Received

_NAMESPACE: Final = uuid.UUID("6f2a5f0e-3c57-5d0b-9d6f-0a4a6f3b7c11")

_COMMANDS: Final[Mapping[Do, str]] = {
    Do.START: types.CREATE_PROCESS,
    Do.SUSPEND: types.SUSPEND_PROCESS,
    Do.RESUME: types.RESUME_PROCESS,
    Do.CANCEL: types.CANCEL_PROCESS,
    Do.PRIORITIZE: types.PRIORITIZE_PROCESS,
}

_PCB: Final[Mapping[str, Any]] = {
    name: None if field.is_required() else field.get_default(call_default_factory=True)
    for name, field in ProcessEvent.model_fields.items()
}
"""An absent field of the PCB is null (or its default) in expressions, not an error."""


@dataclass(frozen=True, slots=True)
class ProcessNews:
    """An event of process-svc: about whom, and, where somebody here needs it, what it says."""

    type: str
    pid: int | None
    version: int
    body: Mapping[str, Any] | None
    received: Received | None
    """Where a rule or a wait is for events of this type."""
    causation: str | None
    tenant: str


def process_news(envelope: Envelope, raw: bytes, *, wanted: bool, body_needed: bool) -> ProcessNews:
    """Raises ValueError where the body is not what process-svc sends."""
    if not wanted and not body_needed:
        pid = envelope.id.partition(".")[0]
        if pid.isascii() and pid.isdigit():
            return ProcessNews(
                envelope.type, int(pid), envelope.version or 0, None, None, envelope.causation, envelope.tenant
            )
    body = _object(raw)
    pid_given = _pid(body)
    received = None
    if wanted:
        known = "service" in body and "state" in body
        process = {**_PCB, **body} if known else None if pid_given is None else {"pid": pid_given}
        received = _received(envelope, body, process, pid_given)
    version = body.get("version", envelope.version)
    return ProcessNews(
        envelope.type,
        pid_given,
        version if isinstance(version, int) else 0,
        body,
        received,
        envelope.causation,
        envelope.tenant,
    )


def awaited(news: ProcessNews) -> tuple[str, str | None] | None:
    """Type and key of the event that a process waits for; None where it waits for something else."""
    target = ((news.body or {}).get("waiting_for") or {}).get("event")
    if not isinstance(target, dict) or not isinstance(target.get("type"), str):
        return None
    key = target.get("key")
    return target["type"], None if key is None else str(key)


def resource_event(envelope: Envelope, raw: bytes) -> Received:
    """An event of resource-svc; its process is known by its pid alone."""
    body = _object(raw)
    pid = _pid(body)
    return _received(envelope, body, None if pid is None else {"pid": pid}, pid)


def _received(
    envelope: Envelope, body: Mapping[str, Any], process: Mapping[str, Any] | None, pid: int | None
) -> Received:
    entity = body.get("entity")
    entity = {"type": entity.get("type"), "id": entity.get("id")} if isinstance(entity, dict) else None
    event = Event(
        envelope.tenant,
        envelope.source,
        envelope.id,
        envelope.type,
        envelope.depth,
        pid,
        None if entity is None else entity["type"],
    )
    view = {
        "specversion": "1.0",
        "id": envelope.id,
        "source": envelope.source,
        "type": envelope.type,
        "time": envelope.time,
        "subject": envelope.subject if envelope.subject is not None else None if pid is None else str(pid),
        "tenant": envelope.tenant,
        "data": body,
    }
    cause = Cause(envelope.id, envelope.correlation or envelope.id, envelope.depth + 1, envelope.traceparent)
    return Received(event, view, process, entity, cause)


def _object(raw: bytes) -> dict[str, Any]:
    body = orjson.loads(raw)
    if not isinstance(body, dict):
        raise ValueError("the body must be a JSON object")  # noqa: TRY004 - a reader of messages says ValueError
    return body


def _pid(body: Mapping[str, Any]) -> int | None:
    pid = body.get("pid")
    return pid if isinstance(pid, int) and not isinstance(pid, bool) and pid > 0 else None


def _id(*parts: object) -> str:
    """A UUID of version 5: the same parts, the same id. A message that is made again counts once where it goes."""
    name = "\x1f".join(map(str, parts)).encode()
    digest = bytearray(hashlib.sha1(_NAMESPACE.bytes + name, usedforsecurity=False).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    text = digest.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def is_ours(command_id: str | bytes | None) -> bool:
    """Whether an id has the form of those that `_id` makes (a UUID of version 5)."""
    return command_id is not None and len(command_id) == 36 and command_id[14:15] in ("5", b"5")


def rule_source(rule: str) -> str:
    """The source of what a rule sends; a name too long for a header is told by its id."""
    source = f"{SERVICE}/{quote(rule, safe='')}"
    return source if len(source) <= MAX_TEXT // 2 else f"{SERVICE}/{_id('rule', rule)}"


def effect_id(firing: Firing, action: Action, received: Received) -> str:
    """Of what an action sends: the same for the same rule, event and place in the rule."""
    event = received.event
    return _id(event.tenant, firing.rule.name, event.source, event.id, action.index)


def effect(firing: Firing, action: Action, received: Received, id: str, now: datetime) -> Message:
    """What an action sends, under this id; a signal sends nothing by itself."""
    event, arguments = received.event, action.arguments
    if action.do is Do.EMIT:
        subject, data = arguments.get("subject"), arguments.get("data")
        topic, type = BUSINESS_EVENTS, arguments["type"]
        key = subject or firing.rule.name
        body = b"" if data is None else orjson.dumps(data)
    else:
        topic, type, subject = PROCESS_COMMANDS, _COMMANDS[action.do], None
        key = arguments.get("key") or id if action.do is Do.START else str(arguments["pid"])
        body = orjson.dumps(arguments)
    return message(
        topic,
        key,
        body,
        id=id,
        type=type,
        source=rule_source(firing.rule.name),
        at=now,
        tenant=event.tenant,
        cause=received.cause,
        subject=subject,
    )


def told(action: Action, sent: str | None) -> dict[str, Any]:
    """An action in the record of its firing, with the id of what it sent."""
    pid = action.arguments.get("pid")
    result: dict[str, Any] = {"do": action.do.value, "sent": sent}
    if isinstance(pid, int):
        result["pid"] = pid
    if action.do is Do.SIGNAL:
        result["key"] = action.arguments["key"]
    return result


def rule_fired(firing: Firing, instructions: Sequence[Mapping[str, Any]], received: Received, now: datetime) -> Message:
    event, rule = received.event, firing.rule
    body = {
        "rule": rule.name,
        "rule_version": rule.version,
        "tenant": event.tenant,
        "event_id": event.id,
        "event_source": event.source,
        "event_type": event.type,
        "pid": event.pid,
        "at": now,
        "result": firing.result.value,
        "detail": firing.detail,
        "instructions": instructions,
    }
    return message(
        RULE_EVENTS,
        rule.name,
        orjson.dumps(body),
        id=_id(event.tenant, rule.name, event.source, event.id, "fired"),
        type=types.RULE_FIRED,
        source=SERVICE,
        at=now,
        tenant=event.tenant,
        cause=received.cause,
        subject=rule.name,
    )


def rule_published(definition: Definition) -> Message:
    key = f"{definition.tenant}/rule/{definition.name}"
    body = {
        "tenant": definition.tenant,
        "name": definition.name,
        "version": definition.version,
        "definition": orjson.Fragment(definition.body),
        "deleted": definition.deleted,
    }
    id = _id(key, definition.version)
    return message(
        DEFINITIONS,
        key,
        orjson.dumps(body),
        id=id,
        type=types.RULE_PUBLISHED,
        source=SERVICE,
        at=definition.at,
        tenant=definition.tenant,
        cause=Cause(None, id),
        subject=definition.name,
        version=definition.version,
    )


def wake(received: Received, data: Any = None) -> str:
    """What a process is woken with, kept until it has left WAITING: the event goes into its context under `event`."""
    view, cause = received.view, received.cause
    told = {name: view.get(name) for name in ("type", "source", "id", "time", "subject")}
    told["data"] = view.get("data") if data is None else data
    kept = {
        "event": received.key.hex(),
        "type": view["type"],
        "context": {"event": told},
        "cause": [cause.message, cause.correlation, cause.depth, cause.traceparent],
    }
    return orjson.dumps(kept).decode()


def wake_id(wait: Wait) -> str:
    """New with each version of the process, so that a wake which came too late can be sent again."""
    assert wait.wake is not None
    return _id(orjson.loads(wait.wake)["event"], wait.pid, wait.version)


def wake_process(wait: Wait, now: datetime) -> Message:
    """Wakes the process if it still has the version at which it waited; refused harmlessly where it has moved on."""
    assert wait.wake is not None
    kept = orjson.loads(wait.wake)
    body = {
        "pid": wait.pid,
        "expected_version": wait.version,
        "context": kept["context"],
        "reason": f"event {kept['type']}",
    }
    return message(
        PROCESS_COMMANDS,
        str(wait.pid),
        orjson.dumps(body),
        id=wake_id(wait),
        type=types.WAKE_PROCESS,
        source=SERVICE,
        at=now,
        tenant=wait.tenant,
        cause=Cause(*kept["cause"]),
    )
