"""What the kernel answers, as it comes: JSON objects. Later versions add members; those that are named here stay."""

from typing import Any, TypedDict


class Entity(TypedDict):
    type: str
    id: str


class Process(TypedDict):
    """The process control block. Times are RFC 3339 text, None while they have not come."""

    pid: int
    tenant: str
    service: str
    service_version: int
    entity: Entity | None
    entities: list[dict[str, str]]
    operator: str | None
    priority: int
    state: str
    outcome: str | None
    version: int
    context: dict[str, Any]
    output: dict[str, Any] | None
    parent: int | None
    after: list[int]
    queue: str
    dispatch_id: str | None
    attempt: int
    created_at: str
    ready_at: str | None
    started_at: str | None
    ended_at: str | None
    due: str | None
    not_before: str | None
    not_after: str | None
    incident: int | None
    waiting_for: dict[str, Any] | None
    can: list[str]


class WorkItem(TypedDict):
    """A process that is held for a worker until `lease_until`."""

    pid: int
    token: int
    service: str
    service_version: int
    entity: Entity | None
    context: dict[str, Any]
    attempt: int
    priority: int
    operator: str | None
    due: str | None
    lease: float
    lease_until: str


class BatchItem(TypedDict, total=False):
    """What became of one item of a batch: `process` where it went well, else `problem`."""

    status: int
    process: Process
    problem: dict[str, Any]


class Change(TypedDict):
    """One message of the stream; `id` is where the reader stands after it."""

    id: str
    type: str
    time: str
    data: dict[str, Any]


class Applied(TypedDict):
    """What applying a design did, as `kind/name`."""

    created: list[str]
    changed: list[str]
    unchanged: list[str]


class DeadLetter(TypedDict):
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
