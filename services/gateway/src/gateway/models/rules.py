"""Queues, rules and events as they are shown."""

from typing import Any

from kernel_contracts.base import Command, Duration, Event, JsonObject
from kernel_contracts.rules import EventTypeDefinition, RuleDefinition, RuleFired
from kernel_contracts.scheduler import QueueDefinition
from pydantic import ConfigDict


class WaitTimes(Event):
    p50: float | None = None
    p95: float | None = None


class Queue(QueueDefinition):
    """A queue and how it stands: how many wait and run, since when the oldest waits, seconds of wait."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str
    version: int
    depth: int | None = None
    running: int | None = None
    oldest: Any = None
    wait: WaitTimes | None = None


class Rule(RuleDefinition):
    model_config = ConfigDict(frozen=True, extra="allow")

    name: str
    version: int


class EventType(EventTypeDefinition):
    model_config = ConfigDict(frozen=True, extra="allow")

    type: str
    version: int


class Firing(RuleFired):
    """A rule that fired for an event."""

    model_config = ConfigDict(frozen=True, extra="allow")


class CloudEvent(Event):
    """A CloudEvent 1.0 in JSON. `ttl`: how long it is kept for processes that begin to wait later; else its type says."""

    model_config = ConfigDict(frozen=True, extra="allow")

    specversion: str = "1.0"
    id: str
    source: str
    type: str
    subject: str | None = None
    time: str | None = None
    ttl: Duration | None = None
    data: Any = None


class EventStatus(Event):
    """What became of an event: the rules that fired, the processes that it woke.

    `buffered_until`: it is kept so long for processes that begin to wait; `expired`: nobody has met it in its time.
    """

    fired: list[Any] = []
    correlated: list[Any] = []
    buffered_until: str | None = None
    expired: bool = False
    refused: Any = None


class RuleTest(Command):
    """A rule (or the name of one) and an event to try it on; `process` is the PCB that expressions see."""

    event: CloudEvent
    rule: RuleDefinition | None = None
    name: str | None = None
    process: JsonObject | None = None


class RuleTestResult(Event):
    """What would fire, and what it would do."""

    model_config = ConfigDict(frozen=True, extra="allow")


class Accepted(Event):
    """The events were taken in; the answer comes by GET /v1/events."""

    model_config = ConfigDict(frozen=True, extra="allow")
