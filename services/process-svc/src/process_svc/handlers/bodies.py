"""Bodies of commands that are not messages of the contracts: batches, definitions, and what the service tells itself."""

from dataclasses import dataclass
from typing import Any, Literal

from kernel_contracts.base import Command as Model
from kernel_contracts.base import JsonObject
from kernel_contracts.process import ServiceDefinition
from pydantic import Field


@dataclass(frozen=True, slots=True)
class Batch:
    """(command name, body) or (name, Problem) each, in the order of the request."""

    items: list[tuple[str, Any]]


@dataclass(frozen=True, slots=True)
class Definitions:
    services: dict[str, ServiceDefinition]
    apply: bool
    single: bool = False


@dataclass(frozen=True, slots=True)
class Tick:
    pid: int


@dataclass(frozen=True, slots=True)
class FollowUp:
    """What the end of `source` means for `pid`: `child_ended`, `close_children`, `admit_dependents`, `cascade_*`."""

    id: int
    kind: str
    pid: int
    source: int


class ResolveIncident(Model):
    id: int = Field(ge=1)
    action: Literal["retry", "skip", "rollback", "terminate"]
    context: JsonObject | None = None
    output: JsonObject | None = None
    version: int | None = Field(default=None, ge=1)
    reason: str | None = None
