"""Bodies of commands that are not messages of the contracts: batches, definitions, and what the service tells itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from kernel_contracts.base import Command as Model
from kernel_contracts.base import Event, JsonObject, Text
from kernel_contracts.process import ServiceDefinition
from pydantic import Field

from process_svc.store.follow_ups import FollowUp

__all__ = ["Batch", "Definitions", "FollowUp", "Grant", "ResolveIncident", "Tick"]


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


class Grant(Event):
    """The part of ResourcesGranted that a process needs."""

    dispatch_id: str
    pid: int
    process_version: int
    operator: str | None = None


class Tick(NamedTuple):
    pid: int


class ResolveIncident(Model):
    id: int = Field(ge=1)
    action: Literal["retry", "skip", "rollback", "terminate"]
    context: JsonObject | None = None
    output: JsonObject | None = None
    version: int | None = Field(default=None, ge=1)
    reason: Text | None = None
