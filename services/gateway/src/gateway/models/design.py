"""A whole design as one document, and what applying it did."""

from kernel_contracts.base import Command, Event, JsonObject, Name
from kernel_contracts.process import ServiceDefinition
from kernel_contracts.resource import CalendarDefinition, OperatorDefinition, ResourceDefinition
from kernel_contracts.rules import EventTypeDefinition, RuleDefinition
from kernel_contracts.scheduler import QueueDefinition


class Design(Command):
    """Maps by name. Decision tables and timers come later."""

    services: dict[Name, ServiceDefinition] = {}
    calendars: dict[Name, CalendarDefinition] = {}
    resources: dict[Name, ResourceDefinition] = {}
    operators: dict[Name, OperatorDefinition] = {}
    queues: dict[Name, QueueDefinition] = {}
    rules: dict[Name, RuleDefinition] = {}
    event_types: dict[Name, EventTypeDefinition] = {}


class DesignApplied(Event):
    """What was (or with `dry_run` would be) created and changed, as `kind/name`."""

    created: list[str]
    changed: list[str]
    unchanged: list[str]


class DeadLetter(Event):
    """A message that could not be carried out, where it came from, and why."""

    id: str
    topic: str
    partition: int
    offset: int
    key: str
    headers: dict[str, str]
    value: str
    state: str
    reason: str
    attempts: int
    at: str


class Replay(Command):
    """`value`: the body to send instead of the one that failed (text, or JSON)."""

    value: str | JsonObject | None = None


class Ticket(Event):
    """Good for one connection to the stream, within 30 seconds."""

    ticket: str
    expires_at: str
