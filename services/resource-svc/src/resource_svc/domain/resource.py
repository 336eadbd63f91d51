"""A resource as it is defined, how much of it is in use, and whether it fits a need.

`capacity` is what exists, `used` what is taken; free is the difference, for every kind. A consumable's capacity is all that
was ever put in stock and its use is never given back, so what is free of it is the stock, and the same rule guards both:
0 <= used <= capacity.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from kernel_contracts.vocabulary import DenialReason, Hold, Presence, ResourceKind, ResourceStatus

OPERATOR = "operator"
ENTITY = "entity"
ENTITY_PREFIX = f"{ENTITY}:"


@dataclass(frozen=True, slots=True)
class Skill:
    skill: str
    level: int = 1
    expires: datetime | None = None


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource or operator as it is defined now. `counted`: a consumable's stock when it was last counted."""

    id: str
    type: str
    kind: ResourceKind = ResourceKind.EXCLUSIVE
    name: str | None = None
    capacity: int = 1
    counted: int | None = None
    reorder_at: int | None = None
    labels: Mapping[str, str] | None = None
    roles: tuple[str, ...] = ()
    skills: tuple[Skill, ...] = ()
    calendar: str | None = None
    status: ResourceStatus = ResourceStatus.IN_SERVICE
    presence: Presence = Presence.AVAILABLE
    presence_until: datetime | None = None
    closed: bool = False
    """By its calendar, now."""
    deleted: bool = False

    @property
    def is_consumable(self) -> bool:
        return self.kind is ResourceKind.CONSUMABLE


class State(NamedTuple):
    """A resource with its use. `version` grows with each change of either, by one."""

    resource: Resource
    used: int = 0
    version: int = 0

    @property
    def free(self) -> int:
        return self.resource.capacity - self.used


class Need(NamedTuple):
    """One demand of a process, and the resources that are proposed for it, best first. Roles are any-of, skills all-of."""

    type: str
    candidates: tuple[str, ...] = ()
    units: int = 1
    hold: Hold = Hold.RUNNING
    resource: str | None = None
    """Only this one will do."""
    selector: Mapping[str, str] | None = None
    roles: frozenset[str] = frozenset()
    skills: tuple[Skill, ...] = ()


def entity_lock(id: str) -> Resource:
    """Exclusive access to one entity: made at first use, nobody defines it."""
    return Resource(id, ENTITY)


def fits(resource: Resource, need: Need, now: datetime) -> bool:
    """Whether it is the kind of thing that is needed, free or not."""
    if resource.type != need.type or (need.resource is not None and need.resource != resource.id):
        return False
    if need.roles and need.roles.isdisjoint(resource.roles):
        return False
    if need.selector:
        labels = resource.labels or {}
        if any(labels.get(name) != value for name, value in need.selector.items()):
            return False
    return not need.skills or all(_has(resource, wanted, now) for wanted in need.skills)


def hindrance(state: State | None, need: Need, now: datetime) -> DenialReason | None:
    """Why this resource can't meet this need now; None where it can. The first reason that holds, most severe first."""
    if state is None or state.resource.deleted:
        return DenialReason.UNKNOWN_RESOURCE
    resource = state.resource
    if not fits(resource, need, now):
        return DenialReason.NOT_ELIGIBLE
    if resource.status is not ResourceStatus.IN_SERVICE or resource.presence is not Presence.AVAILABLE:
        return DenialReason.OUT_OF_SERVICE
    if resource.closed:
        return DenialReason.CLOSED
    if resource.capacity - state.used < need.units:
        return DenialReason.OUT_OF_STOCK if resource.is_consumable else DenialReason.NO_CAPACITY
    return None


def _has(resource: Resource, wanted: Skill, now: datetime) -> bool:
    return any(
        own.skill == wanted.skill and own.level >= wanted.level and (own.expires is None or own.expires > now)
        for own in resource.skills
    )
