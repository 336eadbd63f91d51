"""Processes as they are shown."""

from typing import Any, Literal

from kernel_contracts.base import Command, Event, JsonObject, Name, Time
from kernel_contracts.process import CallTold, CreateProcess, Entity, EntityTold, ProcessFailure, WaitingFor
from kernel_contracts.vocabulary import OnChildFailure, Outcome, ProcessState, Rest
from pydantic import ConfigDict, Field, RootModel


class Process(Event):
    """The process control block. `can` names the commands that its state allows now.

    `ahead` (of one process, not in lists): which one it waits for on its entity, where its service lets one at a time work on it.
    """

    pid: int
    tenant: str
    service: str
    service_version: int
    entity: Entity | None = None
    entities: list[EntityTold] = []
    operator: str | None = None
    priority: int
    state: ProcessState
    outcome: Outcome | None = None
    version: int
    context: JsonObject = {}
    output: JsonObject | None = None
    parent: int | None = None
    ahead: int | None = None
    after: list[int] = []
    queue: str
    dispatch_id: str | None = None
    attempt: int = 1
    created_at: Time
    ready_at: Time | None = None
    started_at: Time | None = None
    ended_at: Time | None = None
    due: Time | None = None
    not_before: Time | None = None
    not_after: Time | None = None
    incident: int | None = None
    compensates: int | None = None
    """The process that it undoes."""
    compensating: bool = False
    """What it did is being undone, by processes below it."""
    waiting_for: WaitingFor | None = None
    can: list[str] = []


class EntityService(Event):
    """How many processes of one service an entity has."""

    service: str
    alive: int
    ended: int


class EntityRelation(Event):
    """How two processes hang together: `of` is the parent of `pid`, or what `pid` comes after."""

    pid: int
    kind: Literal["parent", "after"]
    of: int


class EntityOperator(Event):
    """Who runs which of them."""

    operator: str
    running: list[int]


class EntityEnded(Event):
    """Processes that have ended, newest first."""

    items: list[Process]
    next: str | None = None


class EntityView(Event):
    """All processes that are about one entity. `roles`: as what they know it; `alive` has 500 at most, `states` counts all."""

    entity: Entity
    roles: dict[str, int]
    states: dict[ProcessState, int]
    outcomes: dict[Outcome, int]
    services: list[EntityService]
    alive: list[Process]
    ended: EntityEnded
    relations: list[EntityRelation]
    operators: list[EntityOperator]


class HistoryEntry(Event):
    """One step of a process. `changes`: attribute -> [before, after], and what else is told (`error`, `patch`, `waiting_for`).

    `context_version` in it names the two snapshots that GET .../snapshots/{version}?against={other} compares. `cause` is the
    message or request that led to it, `correlation` the first one of all; `hash` is the row's link in the chain.
    """

    version: int
    command: str | None = None
    type: str
    from_state: ProcessState | None = None
    state: ProcessState
    outcome: Outcome | None = None
    at: Time
    by: str
    reason: str | None = None
    cause: str | None = None
    correlation: str | None = None
    operator: str | None = None
    dispatch_id: str | None = None
    changes: JsonObject | None = None
    hash: str | None = None


class History(Event):
    items: list[HistoryEntry]
    next: str | None = None


class CallState(CallTold):
    """A call and how far it is; `to_start`: items that may begin now."""

    pid: int
    service_version: int
    max_running: int
    on_child_failure: OnChildFailure
    rest: Rest
    started: int
    ended: int
    completed: int
    to_start: int
    open: bool
    at: Time


class CallItem(Event):
    """What has become of one item. `error`: why it has no child, or what the child ended with."""

    index: int
    item: Any = None
    pid: int | None = None
    state: ProcessState | None = None
    outcome: Outcome | None = None
    output: JsonObject | None = None
    error: ProcessFailure | None = None


class Arrival(Event):
    pid: int
    at: Time


class Barrier(Event):
    """A barrier in its current round: who waits there, first come first. `parties`: how many have to arrive."""

    name: str
    entity: Entity | None = None
    parties: int
    round: int
    arrived: list[Arrival]


class Tree(Event):
    """A process with its children, and theirs."""

    model_config = ConfigDict(extra="allow")

    pid: int
    service: str
    state: ProcessState
    children: list["Tree"] = []


class Snapshot(Event):
    """The context at one version. `verified`: its hash fits the stored bytes and the snapshot before."""

    version: int
    at: Time
    context: JsonObject | None = None
    hash: str
    previous_hash: str | None = None
    verified: bool


class Holder(Event):
    pid: int
    until: Time | None = None


class WhyBlocker(Event):
    """Something that is missing, how much of it there is, and who holds it."""

    requirement: Any
    total: int | None = None
    free: int | None = None
    held_by: list[Holder] = []
    detail: str | None = None


class Eta(Event):
    p50: Time | None = None
    p90: Time | None = None


class Why(Event):
    """Why a process does not run, or what it is doing; `would_unblock` says what would change that.

    `factors`: what its place in line is made of, by name; in seconds (the priority in points). Their sum decides, the higher
    the sooner. `expected_duration`: seconds, declared or learnt.
    """

    state: ProcessState
    reason: str
    position: int | None = None
    blockers: list[WhyBlocker] = []
    eta: Eta | None = None
    would_unblock: list[Any] = []
    factors: dict[str, float] = {}
    expected_duration: float | None = None


class Incident(Event):
    id: int
    pid: int
    type: str
    error: ProcessFailure
    state: Literal["open", "resolved"]
    action: str | None = None
    assignee: str | None = None
    opened_at: Time | None = None
    resolved_at: Time | None = None
    code: str | None = None
    count: int = 1
    """How often the same failure came again after a retry."""
    last_at: Time | None = None
    version: int = 1


class IncidentGroup(Event):
    """Incidents of one type, code and service: how many, and some of their processes."""

    type: str
    code: str | None = None
    service: str
    incidents: int
    occurrences: int
    unassigned: int
    first_at: Time
    last_at: Time
    examples: list[int]


class FoundIncident(RootModel[Incident | IncidentGroup]):
    """One of them, or with `group` many alike."""


class AssignIncident(Command):
    """Who looks after it; null: nobody."""

    assignee: Name | None = None


class CreateBatch(Command):
    """Up to 1,000 processes to start; one bad item spoils no other."""

    items: list[CreateProcess] = Field(min_length=1, max_length=1000)


class BatchedCommand(Command):
    """A command and its own fields."""

    model_config = ConfigDict(frozen=True, extra="allow")

    pid: int
    command: str


class CommandBatch(Command):
    """Up to 1,000 commands, carried out in order, one answer each."""

    items: list[BatchedCommand] = Field(min_length=1, max_length=1000)


class ResolveIncident(Command):
    """What is to become of the process: try again, go on as if it had succeeded, go back, or end it."""

    action: Literal["retry", "skip", "rollback", "terminate"]
    compensate: bool = False
    context: JsonObject | None = None
    output: JsonObject | None = None
    version: int | None = None
    reason: str | None = None
