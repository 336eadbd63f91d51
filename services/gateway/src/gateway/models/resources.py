"""Resources, operators and calendars as they are shown."""

from kernel_contracts.base import Event, Name, Time
from kernel_contracts.process import ServiceDefinition
from kernel_contracts.resource import CalendarDefinition, OperatorDefinition, ResourceDefinition
from kernel_contracts.vocabulary import Presence, ResourceStatus
from pydantic import ConfigDict, Field

from gateway.models.processes import Process


class Service(ServiceDefinition):
    """A service definition as stored."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str
    version: int


class Resource(ResourceDefinition):
    """A resource and how much of it is in use."""

    model_config = ConfigDict(frozen=True, extra="allow")

    type: Name
    id: str
    version: int


class Operator(OperatorDefinition):
    """An operator, how much it runs, and whether it is there."""

    model_config = ConfigDict(frozen=True, extra="allow")

    id: str
    version: int
    presence: Presence = Presence.AVAILABLE


class ResourceState(Event):
    """Capacity and use at one instant."""

    capacity: int
    current_usage: int
    available: int
    next_change: Time | None = None
    status: ResourceStatus | None = None


class FreeWindow(Event):
    """While so many units are free; 0 where it is open but all is held."""

    start: Time = Field(alias="from")
    end: Time = Field(alias="to")
    free: int


class Availability(Event):
    """Where nothing is said, it is closed, away or out of service."""

    windows: list[FreeWindow]


class OpenWindow(Event):
    """While a calendar is open; `capacity` is null where the window names none: all that the resource has."""

    start: Time = Field(alias="from")
    end: Time = Field(alias="to")
    capacity: int | None


class OpenWindows(Event):
    windows: list[OpenWindow]


class Allocation(Event):
    """Units of a resource held by a process."""

    model_config = ConfigDict(frozen=True, extra="allow")

    resource: str
    pid: int
    units: int
    dispatch_id: str | None = None


class Calendar(CalendarDefinition):
    model_config = ConfigDict(frozen=True, extra="allow")

    id: str
    version: int


class Tasks(Event):
    """What an operator runs, and what it may run next, in the order of the queue."""

    items: list[Process]
    next: str | None = None
