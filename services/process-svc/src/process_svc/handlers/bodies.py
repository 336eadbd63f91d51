"""Bodies of commands that are not messages of the contracts: batches, definitions, and what the service tells itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from kernel_contracts.base import Command as Model
from kernel_contracts.base import Event, JsonObject, Name, Text, Time
from kernel_contracts.process import ServiceDefinition
from kernel_contracts.work import Heartbeat
from kernel_runtime.command import Command
from kernel_runtime.problem import Problem
from pydantic import Field, model_validator

from process_svc.store.follow_ups import FollowUp
from process_svc.store.job_items import Settled

__all__ = [
    "AssignIncident",
    "Batch",
    "Beats",
    "Definitions",
    "FollowUp",
    "Grant",
    "JobControl",
    "JobItem",
    "Lapse",
    "NewJob",
    "ReleaseHold",
    "ResolveIncident",
    "ServiceChange",
    "Settle",
    "Tick",
]


@dataclass(frozen=True, slots=True)
class Batch:
    """(command name, body) or (name, Problem) each, in the order of the request."""

    items: Sequence[tuple[str, Any]]


@dataclass(frozen=True, slots=True)
class Definitions:
    """All of them are defined, or none."""

    services: Mapping[str, ServiceDefinition]
    single: bool = False
    if_match: int | None = None
    staged: bool = False
    """New versions are not for new processes yet."""


class ServiceChange(Model):
    """What becomes of a service beside its versions; see `domain.life.changed`. The address names `name` and `action`."""

    name: str
    action: Literal["retire", "unretire", "canary", "promote", "abort", "publish", "deprecate", "undeprecate"]
    version: int | None = Field(default=None, ge=1)
    share: float | None = Field(default=None, ge=0, le=1)
    base: int | None = Field(default=None, ge=1)
    sunset: Time | None = None
    reason: Text | None = None

    @model_validator(mode="after")
    def _complete(self) -> "ServiceChange":
        if self.action == "canary" and (self.version is None or self.share is None):
            raise ValueError("a canary needs a version and its share")
        if self.action in ("publish", "deprecate", "undeprecate") and self.version is None:
            raise ValueError(f"{self.action} needs a version")
        return self


class Grant(Event):
    """The part of ResourcesGranted that a process needs."""

    dispatch_id: str
    pid: int
    process_version: int
    operator: str | None = None


class Tick(NamedTuple):
    pid: int


class ReleaseHold(NamedTuple):
    id: int


@dataclass(slots=True)
class NewJob:
    """`kind`: processes or incidents. `expected`: how many the filter found when it was asked for."""

    kind: str
    command: str
    filter: Mapping[str, Any]
    body: Mapping[str, Any]
    dry_run: bool
    expected: int = 0


class JobControl(NamedTuple):
    """`action`: pause, resume or cancel."""

    id: int
    action: str


class JobItem(NamedTuple):
    """One item of a job: `inner` is what is to be done."""

    job: int
    item: int
    inner: Command


class Settle(NamedTuple):
    job: int
    items: Sequence[Settled]


class Lapse(NamedTuple):
    """The end of the lease that was handed out with `token` has passed."""

    pid: int
    token: int


@dataclass(frozen=True, slots=True)
class Beats:
    """Heartbeats in the order of the request; a Problem stands for one that could not be read. `single`: without a list."""

    items: Sequence[Heartbeat | Problem]
    single: bool = False

    @property
    def pids(self) -> list[int]:
        return [item.pid for item in self.items if isinstance(item, Heartbeat)]


class AssignIncident(Model):
    """None: nobody's."""

    id: int = Field(ge=1)
    assignee: Name | None = None
    if_match: int | None = None


class ResolveIncident(Model):
    id: int = Field(ge=1)
    if_match: int | None = None
    """Carried out only while the incident still has this version."""
    action: Literal["retry", "skip", "rollback", "terminate"]
    compensate: bool = False
    """Of `terminate`: what the process did is undone."""
    context: JsonObject | None = None
    output: JsonObject | None = None
    version: int | None = Field(default=None, ge=1)
    reason: Text | None = None
