"""resource-svc: resources and operators as they are defined, the commands it takes, the events it tells."""

from datetime import date
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, ConfigDict, Discriminator, Field, Tag

from kernel_contracts.base import Command, Event, Name, Text, Time
from kernel_contracts.process import Demand, Skill
from kernel_contracts.vocabulary import DenialReason, Give, Hold, Presence, ResourceKind, ResourceStatus

OPERATOR_TYPE = "operator"
ENTITY_TYPE = "entity"
"""Resource types with a meaning of their own. An entity's lock is the resource `entity:TYPE:ID`, made at first use."""


def entity_lock(entity_type: str, entity_id: str) -> str:
    """The id of the resource that stands for exclusive access to one entity."""
    return f"{ENTITY_TYPE}:{entity_type}:{entity_id}"


def _not_reserved(value: str) -> str:
    if value in (OPERATOR_TYPE, ENTITY_TYPE):
        raise ValueError(
            f"the type {value!r} is reserved: operators have PUT /v1/operators, entity locks make themselves"
        )
    return value


ResourceType = Annotated[Name, AfterValidator(_not_reserved)]


class ResourceDefinition(Command):
    """Anything of finite capacity that is not an operator. `stock` counts for consumables, `capacity` for the others."""

    type: ResourceType
    kind: ResourceKind = ResourceKind.EXCLUSIVE
    capacity: Annotated[int, Field(ge=0, le=1_000_000)] = 1
    stock: Annotated[int, Field(ge=0, le=1_000_000_000)] | None = None
    reorder_at: Annotated[int, Field(ge=0)] | None = None
    labels: dict[Name, Text] = {}
    calendar: Name | None = None
    status: ResourceStatus = ResourceStatus.IN_SERVICE


class OperatorDefinition(Command):
    """A person, agent or worker pool. `capacity` is how much it runs at once."""

    name: Text | None = None
    roles: list[Name] = []
    skills: list[Name | Skill] = []
    capacity: Annotated[int, Field(ge=0, le=10_000)] = 1
    calendar: Name | None = None


def _known_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{value!r} is not a time zone of the IANA database, such as Europe/Amsterdam") from None
    return value


ClockTime = Annotated[str, Field(pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$")]
Window = tuple[ClockTime, ClockTime] | tuple[ClockTime, ClockTime, Annotated[int, Field(ge=0, le=1_000_000)]]
"""From, to, and the capacity in it where that differs. One that ends before it begins crosses midnight."""


class CalendarException(Command):
    """The hours of one day instead of the usual ones; none is a day off."""

    date: date
    hours: list[Window] = []
    note: Text | None = None


Instant = Annotated[Time | date, Field(union_mode="left_to_right")]
"""Midnight with a zone is a time, not a date."""


class Absence(Command):
    """Closed, whatever else says open. Two dates are whole days, the last one included; two times end before the second."""

    model_config = ConfigDict(populate_by_name=True)

    start: Instant = Field(alias="from")
    end: Instant = Field(alias="to")
    note: Text | None = None


class Overtime(Command):
    """Open as well, whatever the weekly hours and the layers say."""

    model_config = ConfigDict(populate_by_name=True)

    start: Time = Field(alias="from")
    end: Time = Field(alias="to")
    capacity: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    note: Text | None = None


Week = dict[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], list[Window]]
Country = Annotated[str, Field(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$")]


def _list_or_not(value: object) -> str:
    return "list" if isinstance(value, list | tuple) else "one"


LIST_OR_NOT = Discriminator(_list_or_not)
Weekly = Annotated[Annotated[Week, Tag("one")] | Annotated[list[Week], Field(max_length=8), Tag("list")], LIST_OR_NOT]
Breaks = Annotated[Annotated[Week, Tag("one")] | Annotated[list[Window], Tag("list")], LIST_OR_NOT]
Holidays = Annotated[
    Annotated[Country, Tag("one")] | Annotated[list[date], Field(max_length=2000), Tag("list")], LIST_OR_NOT
]


class CalendarDefinition(Command):
    """When a resource exists: hours by weekday in a time zone, exceptions, a country's holidays, other calendars below.

    `weekly` as a list repeats its weeks in turn, the first being that of the date `anchor`. `breaks` are cut out of weekly hours.
    """

    time_zone: Annotated[str, AfterValidator(_known_zone)]
    weekly: Weekly = {}
    anchor: date | None = None
    breaks: Breaks = []
    exceptions: Annotated[list[CalendarException], Field(max_length=2000)] = []
    holidays: Holidays | None = None
    overtime: Annotated[list[Overtime], Field(max_length=2000)] = []
    leave: Annotated[list[Absence], Field(max_length=2000)] = []
    layers: Annotated[list[Name], Field(max_length=16)] = []


class ResourceDesign(Command):
    """resource-svc's part of a whole design: maps by id."""

    calendars: dict[Name, CalendarDefinition] = {}
    resources: dict[Name, ResourceDefinition] = {}
    operators: dict[Name, OperatorDefinition] = {}


class ChangeStock(Command):
    delta: Annotated[int, Field(ge=-1_000_000_000, le=1_000_000_000)]
    reason: Text | None = None


class SetPresence(Command):
    status: Presence
    until: Time | None = None
    release: bool = False


class Proposal(Event):
    """One demand with the resources that the scheduler proposes for it, best first."""

    demand: Demand
    candidates: Annotated[list[str], Field(max_length=16)]


class AllocateResources(Event):
    """All of these for one process, or nothing. `dispatch_id` is new for each try; the same again changes nothing."""

    dispatch_id: str
    pid: int
    process_version: int
    queue: str
    proposals: list[Proposal]


class ReleaseResources(Event):
    """Give back what a process holds: one dispatch's, or all of it."""

    pid: int
    dispatch_id: str | None = None
    give: Give = Give.ALL


class AllocatedUnits(Event):
    """Units of one resource, with that resource's usage and version after it."""

    resource: str
    type: str
    units: int
    hold: Hold = Hold.RUNNING
    used: int
    capacity: int
    version: int


class ResourcesGranted(Event):
    """The units are the process's until it gives them back. `operator` is the one who runs it, where the demands name one."""

    dispatch_id: str
    pid: int
    process_version: int
    queue: str
    operator: str | None = None
    allocations: list[AllocatedUnits]


class Blocker(Event):
    """A demand that could not be met: which, why, and what stood in the way."""

    demand: int
    type: str
    reason: DenialReason
    resources: list[str] = []


class ResourcesDenied(Event):
    """Nothing was allocated. `usage` is the true state of what was looked at: whoever keeps a copy corrects it."""

    dispatch_id: str
    pid: int
    process_version: int
    queue: str
    reason: DenialReason
    blockers: list[Blocker]
    usage: list[AllocatedUnits] = []


class ResourcesReleased(Event):
    """Units are free again. `units` of a consumable that was used up are not among them."""

    pid: int
    dispatch_id: str | None = None
    reason: str
    allocations: list[AllocatedUnits]


class ResourceChanged(Event):
    """A resource or operator as it is now; on `definitions` the same body under its name. `closed`: by its calendar."""

    id: str
    tenant: str
    type: str
    kind: ResourceKind
    name: str | None = None
    capacity: int
    used: int
    labels: dict[str, str] = {}
    roles: list[str] = []
    skills: list[Skill] = []
    status: ResourceStatus = ResourceStatus.IN_SERVICE
    presence: Presence = Presence.AVAILABLE
    calendar: str | None = None
    closed: bool = False
    version: int
    deleted: bool = False
