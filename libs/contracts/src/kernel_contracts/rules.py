"""rules-svc: event types and rules as they are defined, the events it tells."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from kernel_contracts.base import Command, Event, JsonObject, Name, Text, Time

Expression = Annotated[str, Field(max_length=4096)]
"""CEL source; in a value that may be computed it is written behind a `=`."""

MaybeExpression = Any
"""A literal, or a string that begins with `=`: CEL."""


class EventFilter(Command):
    """Which events a rule is for. `type` may end in `*`: every type that begins so."""

    type: Name
    source: Name | None = None


class Instruction(Command):
    """One kernel call made by a rule; without `pid` it acts on the event's process. The fields depend on `do`."""

    model_config = ConfigDict(frozen=True, extra="allow")

    do: Literal["start", "signal", "suspend", "resume", "cancel", "prioritize", "emit"]


class RuleDefinition(Command):
    event: EventFilter
    when: Expression = "true"
    instructions: Annotated[list[Instruction], Field(min_length=1, max_length=64)]
    entity_type: Name | None = None
    parameters: JsonObject = {}
    order: int = 0
    stop: bool = False
    enabled: bool = True


class EventTypeDefinition(Command):
    """What a business event looks like. `key` is what waiting processes are matched by: the event's subject by default."""

    schema_: JsonObject | None = Field(default=None, alias="schema")
    owner: Text | None = None
    topic: Name | None = None
    key: Expression | None = None


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
