"""rules-svc: event types and rules as they are defined, the events it tells."""

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from kernel_contracts.base import Command, Duration, Event, JsonObject, Name, Priority, Text, Time
from kernel_contracts.vocabulary import AfterMode, AfterOn, EntityAccess, Meets

Expression = Annotated[str, Field(max_length=4096)]
"""CEL source; in a value that may be computed it is written behind a `=`."""

Computed = Annotated[str, StringConstraints(pattern=r"^=", max_length=4097)]
"""`=` and CEL, where a value may be computed."""

MaybeName = Name | Computed
MaybePid = Annotated[int, Field(ge=1)] | Computed


class EventFilter(Command):
    """Which events a rule is for. `type` may end in `*`: every type that begins so."""

    type: Name
    source: Annotated[str, StringConstraints(min_length=1, max_length=1024)] | None = None


class EntityTemplate(Command):
    """An entity whose parts may be computed."""

    type: MaybeName
    id: MaybeName


class ReferenceTemplate(EntityTemplate):
    """A further entity whose parts may be computed."""

    role: MaybeName
    access: EntityAccess | Computed = EntityAccess.SHARED


class StartInstruction(Command):
    """Start a process. Strings that begin with `=` are CEL, in `context` at any depth."""

    do: Literal["start"]
    service: MaybeName
    service_version: Annotated[int, Field(ge=1)] | Computed | None = None
    entity: EntityTemplate | Computed | None = None
    entities: list[ReferenceTemplate] | Computed = []
    operator: MaybeName | None = None
    priority: Priority | Computed | None = None
    context: JsonObject | Computed = {}
    parent: MaybePid | None = None
    after: list[MaybePid] | MaybePid = []
    after_mode: AfterMode = AfterMode.ALL
    after_on: AfterOn = AfterOn.COMPLETED
    not_before: Time | Computed | None = None
    not_after: Time | Computed | None = None
    due: Time | Computed | None = None
    expected_duration: Duration | Computed | None = None
    queue: MaybeName | None = None
    key: MaybeName | None = None


class SignalInstruction(Command):
    """Wake the processes that wait for an event with this key, of whatever type. `data` replaces the event's data."""

    do: Literal["signal"]
    key: MaybeName
    data: Any = None


class ProcessInstruction(Command):
    """Acts on the event's process where there is no `pid`."""

    pid: MaybePid | None = None
    reason: Text | Computed | None = None


class SuspendInstruction(ProcessInstruction):
    do: Literal["suspend"]
    cascade: bool | Computed = False
    hold: bool | Computed = False


class ResumeInstruction(ProcessInstruction):
    do: Literal["resume"]
    cascade: bool | Computed = False


class CancelInstruction(ProcessInstruction):
    do: Literal["cancel"]


class PrioritizeInstruction(ProcessInstruction):
    do: Literal["prioritize"]
    priority: Priority | Computed


class EmitInstruction(Command):
    """Publish a business event; its source is `/kernel/rules-svc/RULE`."""

    do: Literal["emit"]
    type: MaybeName
    data: Any = None
    subject: MaybeName | None = None


Instruction = Annotated[
    StartInstruction
    | SignalInstruction
    | SuspendInstruction
    | ResumeInstruction
    | CancelInstruction
    | PrioritizeInstruction
    | EmitInstruction,
    Field(discriminator="do"),
]
"""One kernel call made by a rule."""


class RuleDefinition(Command):
    event: EventFilter
    when: Expression = "true"
    instructions: Annotated[list[Instruction], Field(min_length=1, max_length=64)]
    entity_type: Name | None = None
    parameters: JsonObject = {}
    order: int = 0
    stop: bool = False
    enabled: bool = True


MAX_TTL = timedelta(days=30)
"""Of an event: rules-svc remembers events no longer."""


class EventTypeDefinition(Command):
    """What a business event looks like. `key` is what waiting processes are matched by: the event's subject by default.

    `ttl`: how long it is kept for processes that begin to wait later; an event's own extension `ttl` says it for that one.
    """

    schema_: JsonObject | None = Field(default=None, alias="schema")
    owner: Text | None = None
    topic: Name | None = None
    key: Expression | None = None
    ttl: Annotated[Duration, Field(le=MAX_TTL)] = timedelta(hours=1)
    meets: Meets = Meets.ALL


class InstructionResult(Event):
    """What one instruction of a firing did: the command or event it sent, or why it sent none."""

    do: str
    sent: str | None = None
    pid: int | None = None
    error: str | None = None


class RuleFired(Event):
    """A rule whose condition held for an event, and what it did; told once per event and rule."""

    rule: str
    rule_version: int
    tenant: str
    event_id: str
    event_source: str
    event_type: str
    pid: int | None = None
    at: Time
    result: Literal["fired", "failed", "stopped"]
    detail: str | None = None
    instructions: list[InstructionResult] = []


class RulePublished(Event):
    """A rule's definition as it is now, on the topic `definitions`."""

    tenant: str
    name: str
    version: int
    definition: RuleDefinition
    deleted: bool = False
