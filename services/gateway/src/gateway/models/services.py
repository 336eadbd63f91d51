"""Service definitions, their versions and what becomes of them."""

from typing import Any, Literal

from kernel_contracts.base import Command, Event, Text, Time
from kernel_contracts.process import Canary
from pydantic import ConfigDict, Field


class Reason(Command):
    reason: Text | None = None


class Deprecate(Reason):
    """From `sunset` on the version takes no new processes; until then creating one says that it is deprecated."""

    sunset: Time | None = None


class StartCanary(Reason):
    """`share` (0 to 1) of new processes get `version`, the others `base`: the current version where it is not named."""

    version: int = Field(ge=1)
    share: float = Field(ge=0, le=1)
    base: int | None = Field(default=None, ge=1)


class ServiceLife(Event):
    """`current` is what new processes get, usually the `latest`."""

    name: str
    latest: int
    current: int
    retired_at: Time | None = None
    canary: Canary | None = None


class Deprecated(Event):
    at: Time
    sunset: Time | None = None
    reason: str | None = None


class ServiceVersion(Event):
    """`hash`: SHA-256 of the definition. `alive`: how many processes of it have not ended, where asked for."""

    version: int
    state: Literal["current", "canary", "staged", "superseded", "deprecated", "sunset", "retired"]
    at: Time
    by: str
    hash: str
    kind: str
    deprecated: Deprecated | None = None
    alive: int | None = None


class LifeChange(Event):
    number: int
    at: Time
    by: str
    action: str
    body: dict[str, Any]


class ServiceVersions(ServiceLife):
    """Its versions, newest first, and who last changed its life."""

    items: list[ServiceVersion]
    changes: list[LifeChange]
    next: str | None = None
    total: int | None = None


class Migration(Event):
    """What migrating a process would do; `changes`: name -> [before, after]. `possible` where there are no problems."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True)

    pid: int
    service: str
    state: str
    from_: int = Field(alias="from")
    to: int
    changes: dict[str, list[Any]]
    problems: list[dict[str, Any]]
    possible: bool
