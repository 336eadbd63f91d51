"""Between the bus and the domain: what messages say, and the messages that we make."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
from kernel_contracts import message_types as types
from kernel_contracts import process, resource
from kernel_contracts.base import Duration, Event, Priority, Time
from kernel_contracts.envelope import Envelope, Headers
from kernel_contracts.scheduler import QueueChanged, QueueDefinition
from kernel_contracts.topics import DEFINITIONS, RESOURCE_COMMANDS
from kernel_contracts.vocabulary import Hold, Presence, ProcessState, ResourceStatus
from kernel_runtime.command import Cause, Command, Message, message
from pydantic import Field

from scheduler_svc.domain.demands import Demands, Skill
from scheduler_svc.domain.facts import Definition, QueueSettings, Usage
from scheduler_svc.domain.queues import Item
from scheduler_svc.domain.reckoning import COUNTED
from scheduler_svc.texts import demands_of, settings_from, utc

SOURCE = "/kernel/scheduler-svc"
NO_DEMANDS = Demands.of(())


PidNumber = Annotated[int, Field(ge=1, le=2**63 - 1)]
Count = Annotated[int, Field(ge=0, le=2**31 - 1)]
VersionNumber = Annotated[int, Field(ge=0, le=2**63 - 1)]


class ReadyEvent(Event):
    """The part of a ProcessEvent that the scheduler reads. Numbers are what the tables hold."""

    pid: PidNumber
    version: VersionNumber
    state: ProcessState
    service: str
    priority: Priority = 50
    attempt: Count = 1
    queue: str = "default"
    at: Time
    ready_at: Time | None = None
    not_after: Time | None = None
    due: Time | None = None
    expected_duration: Duration | None = None
    demands: list[Any] | None = None


class Units(resource.AllocatedUnits):
    units: Count
    used: Count
    capacity: Count
    version: VersionNumber


class Granted(resource.ResourcesGranted):
    pid: PidNumber
    allocations: list[Units]  # type: ignore[assignment]


class Denied(resource.ResourcesDenied):
    pid: PidNumber
    usage: list[Units] = []  # type: ignore[assignment]


class Released(resource.ResourcesReleased):
    pid: PidNumber
    allocations: list[Units]  # type: ignore[assignment]


class Changed(resource.ResourceChanged):
    capacity: Count
    used: Count
    version: VersionNumber


@dataclass(frozen=True, slots=True)
class Arrival:
    """A ready event with its demands as the domain has them (None: it tells of none)."""

    event: ReadyEvent
    demands: Demands | None


def read_ready(envelope: Envelope, headers: Headers, raw: bytes) -> Arrival:
    """Raises ValueError where it is not what the contract says, so that nothing later stumbles over it."""
    if b"\\u0000" in raw:
        raise ValueError("the character U+0000 can't be stored")
    event = ReadyEvent.model_validate_json(raw)
    return Arrival(event, None if event.demands is None else demands_of(event.demands))


def read_position(envelope: Envelope, headers: Headers, raw: bytes) -> tuple[int, int]:
    """pid and version of a process event, from its headers: its id is `PID.VERSION`."""
    pid = envelope.id.partition(".")[0]
    if envelope.version is None or not (pid.isascii() and pid.isdigit() and len(pid) < 19):
        raise ValueError("a process event must have the id PID.VERSION and carry ce_aggregateversion")
    return int(pid), envelope.version


def item_of(arrival: Arrival, tenant: str, cause: Cause) -> Item:
    event = arrival.event
    return Item(
        pid=event.pid,
        tenant=tenant,
        queue=event.queue,
        service=event.service,
        version=event.version,
        priority=event.priority,
        ready_at=(event.ready_at or event.at).astimezone(UTC),
        demands=arrival.demands or NO_DEMANDS,
        not_after=utc(event.not_after),
        due=utc(event.due),
        chain=cause.correlation or "",
        tries=min(event.attempt, COUNTED),
        expected=None if event.expected_duration is None else max(0.0, event.expected_duration.total_seconds()),
        cause=orjson.dumps((cause.message, cause.correlation, cause.depth, cause.traceparent)).decode(),
    )


def usage_of(units: Sequence[resource.AllocatedUnits]) -> list[Usage]:
    return [
        Usage(each.resource, each.type, each.units, each.hold is Hold.PROCESS, each.used, each.capacity, each.version)
        for each in units
    ]


def definition_of(told: resource.ResourceChanged, tenant: str) -> Definition:
    return Definition(
        tenant,
        told.id,
        told.type,
        told.status is ResourceStatus.IN_SERVICE
        and told.presence is Presence.AVAILABLE
        and not told.closed
        and not told.deleted,
        told.capacity,
        told.used,
        told.version,
        told.labels,
        frozenset(told.roles),
        {each.skill: Skill(each.level, utc(each.expires)) for each in told.skills},
    )


def settings_of(told: QueueChanged) -> QueueSettings:
    return settings_from(told.tenant, told.name, told.version, told.definition)


def reason_of(denial: resource.ResourcesDenied) -> str:
    """As it is kept with the item."""
    return orjson.dumps(
        {"reason": denial.reason, "blockers": [blocker.model_dump(mode="json") for blocker in denial.blockers]}
    ).decode()


def refusal_reason(told: process.DispatchRefused) -> str:
    return orjson.dumps({"reason": "dispatch_refused", "detail": told.reason, "blockers": []}).decode()


def release_reason(told: resource.ResourcesReleased) -> str:
    return orjson.dumps({"reason": "released", "detail": told.reason, "blockers": []}).decode()


def allocate(item: Item, now: datetime) -> Message:
    """The proposal of an item that was just placed, or still waits for its answer: the same each time."""
    assert item.dispatch_id is not None
    cause, correlation, depth, traceparent = orjson.loads(item.cause) if item.cause else (None, str(item.pid), 0, None)
    body = orjson.dumps(
        {
            "dispatch_id": item.dispatch_id,
            "pid": item.pid,
            "process_version": item.version,
            "queue": item.queue,
            "proposals": [
                {"demand": orjson.Fragment(demand), "candidates": candidates}
                for demand, candidates in zip(item.demands.source, item.candidates, strict=True)
            ],
        }
    )
    return message(
        RESOURCE_COMMANDS,
        item.queue,
        body,
        id=item.dispatch_id,
        type=types.ALLOCATE_RESOURCES,
        source=SOURCE,
        at=now,
        tenant=item.tenant,
        cause=Cause(cause, correlation, depth, traceparent),
        subject=str(item.pid),
        version=item.version,
        dispatch=item.dispatch_id,
    )


def queue_told(command: Command, name: str, version: int, definition: QueueDefinition, now: datetime) -> Message:
    body = QueueChanged(tenant=command.tenant, name=name, version=version, definition=definition)
    return message(
        DEFINITIONS,
        f"queue/{command.tenant}/{name}",
        body.model_dump_json().encode(),
        id=f"queue/{command.tenant}/{name}.{version}",
        type=types.QUEUE_CHANGED,
        source=SOURCE,
        at=now,
        tenant=command.tenant,
        cause=command.cause,
        subject=name,
        version=version,
    )
