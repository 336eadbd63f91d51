"""process-svc: the service definitions it keeps, the commands it takes, the events it tells."""

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from kernel_contracts.base import Command, Duration, Event, JsonObject, Name, Priority, Text, Time
from kernel_contracts.vocabulary import (
    AfterMode,
    AfterOn,
    EntityAccess,
    ErrorClass,
    Hold,
    OnChildFailure,
    OnExhausted,
    OnParentClose,
    OnTimeout,
    Outcome,
    PerEntity,
    ProcessState,
    Rest,
    ServiceKind,
    SuspendedEvents,
)


class Entity(Command):
    """The business object that a process works on."""

    type: Name
    id: Name


SUBJECT = "subject"
"""The role of the entity that a process works on: its first reference."""


class EntityReference(Entity):
    """A further entity that a process is about, and as what. `exclusive`: it runs only while it has that entity alone."""

    role: Name
    access: EntityAccess = EntityAccess.SHARED


class Skill(Command):
    skill: Name
    level: Annotated[int, Field(ge=0, le=100)] = 1
    expires: Time | None = None


class Requirement(Command):
    """What a service needs of resources. `type: operator` adds to the conditions on the one who runs it."""

    type: Name
    selector: dict[Name, Text] = {}
    roles: list[Name] = []
    skills: list[Name | Skill] = []
    units: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    hold: Hold = Hold.RUNNING


class Backoff(Command):
    """`initial * factor ** (attempt - 1)`, at most `max`."""

    initial: Duration = timedelta(seconds=1)
    factor: Annotated[float, Field(ge=1, le=100)] = 2.0
    max: Duration = timedelta(hours=1)


class Retry(Command):
    """Which failures are tried again, how often, and after how long.

    `jitter`: by which part of it a back-off may be shorter, from 0 to 1. `budget`: no attempt begins later than this after
    the first one began. `on`: the classes of errors that are tried again (`poison` never is); not those with a code in
    `non_retryable`.
    """

    max_attempts: Annotated[int, Field(ge=1, le=1000)] = 1
    backoff: Backoff = Backoff()
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.0
    budget: Duration | None = None
    on: list[Literal[ErrorClass.TRANSIENT, ErrorClass.BUSINESS]] = [ErrorClass.TRANSIENT, ErrorClass.BUSINESS]
    non_retryable: Annotated[list[Name], Field(max_length=100)] = []


class Timeouts(Command):
    """Limits of time. `start`: from READY until somebody begins; `finish`: of one run; `heartbeat`: until a program is missed."""

    start: Duration | None = None
    finish: Duration | None = None
    heartbeat: Duration | None = None


class ServiceDefinition(Command):
    """What a process executes. A change of it is a new version; running processes keep theirs.

    `form` is the JSON Schema of its output, `ui` how to show it; `input_schema` that of the context which it starts with.
    `input` and `output` map members of a context to what they become, literals or `=CEL`: `input` over the context that a
    process is given (`context`, `entity`), `output` over its own context when it is completed (`context`, `output`,
    `entity`). `timeout` alone limits each run.
    """

    title: Text | None = None
    kind: ServiceKind = ServiceKind.HUMAN
    roles: list[Name] = []
    form: JsonObject | None = None
    ui: JsonObject | None = None
    input_schema: JsonObject | None = None
    input: dict[Name, Any] = {}
    output: dict[Name, Any] = {}
    entity_type: Name | None = None
    requirements: Annotated[list[Requirement], Field(max_length=32)] = []
    priority: Priority = 50
    expected_duration: Duration | None = None
    due_in: Duration | None = None
    timeout: Duration | Timeouts | None = None
    retry: Retry = Retry()
    on_exhausted: OnExhausted = OnExhausted.INCIDENT
    entity_access: EntityAccess = EntityAccess.SHARED
    per_entity: PerEntity = PerEntity.PARALLEL
    on_parent_close: OnParentClose = OnParentClose.CANCEL
    compensation: Name | None = None
    queue: Name = "default"
    preemptible: bool = False
    continuity: list[Name] = []
    separation: list[Name] = []
    indexed: list[Name] = []
    events: SuspendedEvents = SuspendedEvents.CATCH_UP

    @model_validator(mode="after")
    def _fields_agree(self) -> "ServiceDefinition":
        if self.entity_access is EntityAccess.EXCLUSIVE and self.entity_type is None:
            raise ValueError("entity_access exclusive needs an entity_type")
        if self.per_entity is not PerEntity.PARALLEL and self.entity_type is None:
            raise ValueError(f"per_entity {self.per_entity} needs an entity_type")
        return self


class CreateProcess(Command):
    """Start a service. `key` is the sender's own unique key: the same again gives the same process."""

    service: Name
    service_version: Annotated[int, Field(ge=1)] | None = None
    entity: Entity | None = None
    entities: Annotated[list[EntityReference], Field(max_length=32)] = []
    operator: Name | None = None
    priority: Priority | None = None
    context: JsonObject = {}
    parent: Annotated[int, Field(ge=1)] | None = None
    after: Annotated[list[Annotated[int, Field(ge=1)]], Field(max_length=1000)] = []
    after_mode: AfterMode = AfterMode.ALL
    after_on: AfterOn = AfterOn.COMPLETED
    not_before: Time | None = None
    not_after: Time | None = None
    due: Time | None = None
    expected_duration: Duration | None = None
    queue: Name | None = None
    key: Name | None = None

    @model_validator(mode="after")
    def _window_is_open(self) -> "CreateProcess":
        if self.not_before and self.not_after and self.not_after < self.not_before:
            raise ValueError("not_after lies before not_before: the process could never start")
        return self

    @model_validator(mode="after")
    def _references_differ(self) -> "CreateProcess":
        if any(each.role == SUBJECT for each in self.entities):
            raise ValueError(f"the role {SUBJECT!r} is that of `entity`; `entities` are the further ones")
        if len({(each.type, each.id, each.role) for each in self.entities}) < len(self.entities):
            raise ValueError("entities: one of them is named twice in the same role")
        return self


class ProcessCommand(Command):
    """Asked of one process. Over HTTP the address names the pid, on the bus the body does."""

    pid: Annotated[int, Field(ge=1)]
    reason: Text | None = None
    expected_version: Annotated[int, Field(ge=1)] | None = None
    """Carried out only while the process still has this version (the HTTP header If-Match)."""


class SuspendProcess(ProcessCommand):
    cascade: bool = False
    hold: bool = False


class ResumeProcess(ProcessCommand):
    cascade: bool = False


class CancelProcess(ProcessCommand):
    """`compensate`: what it did, and what was completed below it, is undone by the compensations of the services."""

    compensate: bool = False


class TokenCommand(ProcessCommand):
    """What a worker says by `token`, it says only while that holds the lease of the process."""

    token: Annotated[int, Field(ge=1, lt=2**63)] | None = None


class CompleteProcess(TokenCommand):
    output: JsonObject = {}


class Failure(Command):
    class_: ErrorClass = Field(default=ErrorClass.BUSINESS, alias="class")
    code: Name = "failed"
    message: Text = ""


class FailProcess(TokenCommand):
    """`compensate`: as with cancel, where it ends as failed."""

    error: Failure = Failure()
    compensate: bool = False


CorrelationKey = Annotated[str, StringConstraints(min_length=1, max_length=4097, pattern=r"^[^\x00-\x1f\x7f]+$")]


class EventWait(Command):
    """An event of `type` with this key; without one the next of its type. A key that begins with `=` is CEL over the process'
    `context`, `entity` and `process`, computed when the wait begins."""

    type: Name
    key: CorrelationKey | None = None


class TimerWait(Command):
    until: Time | None = None
    after: Duration | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "TimerWait":
        if (self.until is None) == (self.after is None):
            raise ValueError("a timer takes either until or after")
        return self


class ChildrenWait(Command):
    mode: AfterMode = AfterMode.ALL
    count: Annotated[int, Field(ge=1)] | None = None


Parties = Annotated[int, Field(ge=1, le=10_000)]


class BarrierWait(Command):
    """All who wait at it go on when `parties` have arrived. Its name is known within the entity of the process."""

    name: Name
    parties: Parties


class WaitTarget(Command):
    """Exactly one of these."""

    event: EventWait | None = None
    timer: TimerWait | None = None
    children: ChildrenWait | None = None
    barrier: BarrierWait | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> "WaitTarget":
        if sum(target is not None for target in (self.event, self.timer, self.children, self.barrier)) != 1:
            raise ValueError("wait for exactly one of event, timer, children, barrier")
        return self


class WaitProcess(TokenCommand):
    for_: WaitTarget = Field(alias="for")
    timeout: Duration | None = None
    on_timeout: OnTimeout = OnTimeout.WAKE


class WakeProcess(ProcessCommand):
    """`context` is merged into the context of the process: what the event brought."""

    context: JsonObject | None = None


class ReleaseProcess(TokenCommand):
    pass


class PreemptProcess(ProcessCommand):
    pass


class PrioritizeProcess(ProcessCommand):
    priority: Priority


class AssignProcess(ProcessCommand):
    """Only `operator` may run it; None lets the scheduler choose again."""

    operator: Name | None


class RollbackProcess(ProcessCommand):
    """Back to the context of snapshot `version`, as a new version."""

    version: Annotated[int, Field(ge=1)]
    resume: bool = True


class RetryProcess(ProcessCommand):
    context: JsonObject | None = None


class MigrateProcess(ProcessCommand):
    """To version `to` of its service, its state as it is. `context_patch`: a JSON merge patch that goes with it."""

    to: Annotated[int, Field(ge=1)]
    context_patch: JsonObject | None = None


class PatchContext(ProcessCommand):
    """JSON merge patch (RFC 7396)."""

    patch: JsonObject


class CallProcess(TokenCommand):
    """WAITING until a child of `service` ends; its output lands in the caller's context under `into` (the service's name).

    `context` and `entity` are those of the child; strings in them that begin with `=` are computed from the caller's `context`
    and `process`. A child without `entity` has the caller's, where its service works on such. With `on_child_failure: wake`
    what lands is `{pid, outcome, output, error}`, however it ended.
    """

    service: Name
    context: JsonObject | None = None
    entity: JsonObject | None = None
    into: Name | None = None
    on_child_failure: OnChildFailure = OnChildFailure.FAIL
    timeout: Duration | None = None
    on_timeout: OnTimeout = OnTimeout.FAIL
    rest: Rest = Rest.CANCEL


class IterateProcess(CallProcess):
    """The same for each item of the list `over`, one after the other; the outputs land as a list, in the order of the items.

    `over` is a list, or `=CEL` over `context` and `process`. In `context` and `entity` there are also `item`, `index` and
    `previous`, the output of the item before; without `context` a child gets just these.
    """

    over: list[Any] | str


class MapProcess(IterateProcess):
    """The same for each item, all at once or `max_running` at a time.

    `join`: how many must have completed (with `on_child_failure: wake`: ended) for the caller to go on; the others are null.
    """

    max_running: Annotated[int, Field(ge=1, le=100_000)] | None = None
    join: Literal["all", "any"] | Annotated[int, Field(ge=1, le=100_000)] = "all"


class ArriveAtBarrier(TokenCommand):
    """The same as to wait for the barrier `name`."""

    name: Name
    parties: Parties
    timeout: Duration | None = None
    on_timeout: OnTimeout = OnTimeout.WAKE


class CallTold(Event):
    """The call that a process waits for: `total` children to be made, of which `need` decide."""

    id: int
    kind: Literal["call", "map", "iterate"]
    service: str
    into: str
    total: int
    need: int


class BarrierTold(Event):
    name: str
    parties: int
    round: int


class WaitingFor(Event):
    """What a process in WAITING waits for, and until when. `met`: it came while the process was SUSPENDED."""

    event: EventWait | None = None
    timer: Time | None = None
    children: ChildrenWait | None = None
    call: CallTold | None = None
    barrier: BarrierTold | None = None
    timeout: Time | None = None
    on_timeout: OnTimeout | None = None
    met: bool = False


class ProcessFailure(Event):
    class_: ErrorClass = Field(default=ErrorClass.BUSINESS, alias="class")
    code: str = ""
    message: str = ""


class Demand(Event):
    """A requirement as the scheduler and resource-svc see it: of a process, not of a service.

    `resource` fixes the very one (an assigned operator, an entity's lock). An operator's roles are any-of.
    """

    # Factories: pydantic copies a default that could change with copy.deepcopy, and these are made for each message.
    type: str
    resource: str | None = None
    selector: dict[str, str] = Field(default_factory=dict)
    roles: list[str] = Field(default_factory=list)
    skills: list[Skill] = Field(default_factory=list)
    units: int = 1
    hold: Hold = Hold.RUNNING


class EntityTold(Event):
    """A reference as it is told: the subject first. Its access is what the service says, and not told."""

    type: str
    id: str
    role: str
    access: EntityAccess | None = None


class ProcessEvent(Event):
    """What became of a process: the state that the event leads to.

    `from_state` is where it came from (None at its creation). `context` is left out where it is larger than 16 KiB; then
    `context_hash` says which one it is, to be read at GET /v1/processes/{pid}. `demands` comes with `ready` alone,
    `entities` where there are more than the one of `entity`.
    """

    pid: int
    tenant: str
    version: int
    from_state: ProcessState | None = None
    state: ProcessState
    outcome: Outcome | None = None
    service: str
    service_version: int
    entity: Entity | None = None
    entities: list[EntityTold] = Field(default_factory=list)
    operator: str | None = None
    priority: int = 50
    queue: str = "default"
    key: str | None = None
    parent: int | None = None
    root: int | None = None
    compensates: int | None = None
    """The process that it undoes."""
    after: list[int] = Field(default_factory=list)
    dispatch_id: str | None = None
    attempt: int = 1
    at: Time
    by: str = ""
    reason: str | None = None
    created_at: Time
    ready_at: Time | None = None
    started_at: Time | None = None
    ended_at: Time | None = None
    not_before: Time | None = None
    not_after: Time | None = None
    due: Time | None = None
    expected_duration: Duration | None = None
    waiting_for: WaitingFor | None = None
    incident: int | None = None
    error: ProcessFailure | None = None
    context: JsonObject | None = None
    context_hash: str | None = None
    output: JsonObject | None = None
    demands: list[Demand] | None = None


class CommandRefused(Event):
    """A command from the bus that was not carried out, and why."""

    command_id: str
    command: str
    pid: int | None = None
    title: str
    detail: str
    status: int


class DispatchRefused(Event):
    """A grant that came too late: the process had moved on. resource-svc takes the units back."""

    pid: int
    dispatch_id: str
    state: ProcessState | None
    reason: str


class IncidentEvent(Event):
    """A failure that needs someone, and how it ended. `count`: how often it came again after a retry."""

    id: int
    pid: int
    tenant: str
    type: str
    state: Literal["open", "resolved"]
    error: ProcessFailure
    action: str | None = None
    count: int = 1
    assignee: str | None = None


class Canary(Event):
    """A version that a share (0 to 1) of the new processes gets, those that don't ask for a version."""

    version: int
    share: float


class ServicePublished(Event):
    """A service as it is now, on the topic `definitions`: the version that new processes get, usually the newest.

    `retired_at`: no new processes since then.
    """

    tenant: str
    name: str
    version: int
    definition: ServiceDefinition
    latest: int | None = None
    retired_at: Time | None = None
    canary: Canary | None = None
