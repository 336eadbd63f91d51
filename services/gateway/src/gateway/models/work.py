"""Automatic work as workers see it."""

from typing import Annotated

from kernel_contracts.base import Command, Event, JsonObject, Time
from kernel_contracts.process import Entity
from kernel_contracts.work import Heartbeat, WorkAnswer
from pydantic import Field

from gateway.models.base import ProblemDetails


class WorkItem(Event):
    """A process that is held for the worker until `lease_until`, for `lease` seconds from each heartbeat.

    `token` rises with every hand-out of a process.
    """

    pid: int
    token: int
    service: str
    service_version: int
    entity: Entity | None = None
    context: JsonObject = {}
    attempt: int
    priority: int
    operator: str | None = None
    due: Time | None = None
    lease: float
    lease_until: Time


class Claimed(Event):
    items: list[WorkItem]


class Held(Event):
    """Until when the lease lasts now."""

    pid: int
    token: int
    lease_until: Time


class HeldItem(Event):
    """`lease_until` where the lease is held, else the `problem`: 409 says that the worker should stop."""

    status: int
    pid: int | None = None
    token: int | None = None
    lease_until: Time | None = None
    problem: ProblemDetails | None = None


class HeldItems(Event):
    items: list[HeldItem]


class WorkLease(Event):
    """A running process that programs carry out; `worker` null: nobody has claimed it yet."""

    pid: int
    service: str
    priority: int
    offered_at: Time
    worker: str | None = None
    claimed_by: str | None = None
    token: int | None = None
    lease_until: Time | None = None
    progress: JsonObject | None = None


class WorkAnswers(Command):
    """Up to 1,000 answers; one that is refused spoils no other."""

    items: Annotated[list[WorkAnswer], Field(min_length=1, max_length=1000)]


class Heartbeats(Command):
    """Up to 1,000 heartbeats, one answer each."""

    items: Annotated[list[Heartbeat], Field(min_length=1, max_length=1000)]
