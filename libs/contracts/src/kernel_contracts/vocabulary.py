"""The words that every service uses: identifiers and closed sets of values. Types only, no behaviour."""

from enum import StrEnum
from typing import NewType

Pid = NewType("Pid", int)
Tenant = NewType("Tenant", str)
ServiceName = NewType("ServiceName", str)
QueueName = NewType("QueueName", str)
ResourceId = NewType("ResourceId", str)
OperatorId = NewType("OperatorId", str)
DispatchId = NewType("DispatchId", str)


class ProcessState(StrEnum):
    NEW = "NEW"
    READY = "READY"
    RUNNING = "RUNNING"
    WAITING = "WAITING"
    SUSPENDED = "SUSPENDED"
    TERMINATED = "TERMINATED"


class Outcome(StrEnum):
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"


class CommandName(StrEnum):
    """What can be asked of a process; the state table says when."""

    CREATE = "create"
    ADMIT = "admit"
    DISPATCH = "dispatch"
    WAIT = "wait"
    WAKE = "wake"
    PREEMPT = "preempt"
    RELEASE = "release"
    SUSPEND = "suspend"
    RESUME = "resume"
    COMPLETE = "complete"
    FAIL = "fail"
    TIME_OUT = "time_out"
    CANCEL = "cancel"
    ROLLBACK = "rollback"
    RETRY = "retry"
    SKIP = "skip"
    PRIORITIZE = "prioritize"
    ASSIGN = "assign"
    SET_CONTEXT = "set_context"
    MIGRATE = "migrate"
    CALL = "call"
    MAP = "map"
    ITERATE = "iterate"
    RETURN = "return"
    ARRIVE = "arrive"


class ServiceKind(StrEnum):
    HUMAN = "human"
    AGENT = "agent"
    AUTOMATIC = "automatic"


class ErrorClass(StrEnum):
    TRANSIENT = "transient"
    BUSINESS = "business"
    POISON = "poison"


class OnExhausted(StrEnum):
    INCIDENT = "incident"
    FAIL = "fail"


class EntityAccess(StrEnum):
    SHARED = "shared"
    EXCLUSIVE = "exclusive"


class PerEntity(StrEnum):
    """What becomes of a further process of a service on an entity that one of them works on already."""

    PARALLEL = "parallel"
    SERIALISE = "serialise"
    """It waits NEW until the earlier ones have ended, in the order of pid."""
    REJECT = "reject"
    """It is refused, naming the one in its way."""
    REPLACE = "replace"
    """The earlier ones are cancelled; it starts when they have ended."""


class OnParentClose(StrEnum):
    CANCEL = "cancel"
    DETACH = "detach"
    WAIT = "wait"


class AfterMode(StrEnum):
    ALL = "all"
    ANY = "any"


class AfterOn(StrEnum):
    COMPLETED = "completed"
    FAILED = "failed"
    ALWAYS = "always"


class SuspendedEvents(StrEnum):
    """What the timers of a suspended process do."""

    STOP = "stop"
    CATCH_UP = "catch_up"


class Meets(StrEnum):
    """Whom an event meets of those that wait for it, and begin to while it is kept."""

    ALL = "all"
    """Everybody."""
    ONE = "one"
    """One process: who waits with the lowest pid, else the first that begins to."""
    FIRST = "first"
    """Everybody who waits when it comes; where nobody does, the first that begins to."""


class OnTimeout(StrEnum):
    WAKE = "wake"
    FAIL = "fail"


class OnChildFailure(StrEnum):
    """What a call does where children end otherwise than completed: it fails once it can't succeed, or they count as ended."""

    FAIL = "fail"
    WAKE = "wake"


class Rest(StrEnum):
    """What becomes of the children of a call that are alive when it is over."""

    CANCEL = "cancel"
    LEAVE = "leave"


class Hold(StrEnum):
    """How long units stay with a process: while it runs, or until it has terminated."""

    RUNNING = "running"
    PROCESS = "process"


class Give(StrEnum):
    """What a process gives back by an event of its own."""

    RUNNING = "running"
    ALL = "all"


class ResourceKind(StrEnum):
    EXCLUSIVE = "exclusive"
    SHARED = "shared"
    CONSUMABLE = "consumable"
    RETURNABLE = "returnable"


class ResourceStatus(StrEnum):
    IN_SERVICE = "in_service"
    OUT = "out"
    RETIRED = "retired"


class Presence(StrEnum):
    AVAILABLE = "available"
    AWAY = "away"
    BREAK = "break"


class DenialReason(StrEnum):
    """Why an allocation was denied, most severe first.

    `withdrawn`: its dispatch was given back before it came; `closed`: outside the hours of its calendar.
    """

    WITHDRAWN = "withdrawn"
    UNKNOWN_RESOURCE = "unknown_resource"
    NOT_ELIGIBLE = "not_eligible"
    OUT_OF_SERVICE = "out_of_service"
    CLOSED = "closed"
    OUT_OF_STOCK = "out_of_stock"
    NO_CAPACITY = "no_capacity"


class QueuePolicy(StrEnum):
    PRIORITY = "priority"
    FIFO = "fifo"
    EDF = "edf"
    SJF = "sjf"
    FAIR = "fair"
    WEIGHTED = "weighted"


class DispatchMode(StrEnum):
    PUSH = "push"
    PULL = "pull"
    OFFER = "offer"


class DefinitionKind(StrEnum):
    SERVICE = "service"
    RESOURCE = "resource"
    OPERATOR = "operator"
    CALENDAR = "calendar"
    QUEUE = "queue"
    RULE = "rule"
    EVENT_TYPE = "event_type"


class JobState(StrEnum):
    """Of a bulk job. Collecting: what its filter finds is being written down, nothing is carried out yet."""

    COLLECTING = "collecting"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    COMPLETED = "completed"
    FAILED = "failed"


class Role(StrEnum):
    """Who may call the public face."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    INTEGRATOR = "integrator"
    DESIGNER = "designer"
    ADMIN = "admin"
