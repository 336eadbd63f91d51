"""Why a READY process does not run: what stands in its way, most severe first, and what would let it go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from scheduler_svc.domain.demands import Demand, Need
from scheduler_svc.domain.held import missing
from scheduler_svc.domain.queues import Item, ItemState
from scheduler_svc.domain.resources import LOCK_TYPE, Resource, eligible


class Reason(StrEnum):
    """Most severe first."""

    WINDOW_CLOSED = "window_closed"
    QUEUE_PAUSED = "queue_paused"
    NOBODY_ELIGIBLE = "nobody_eligible"
    NOBODY_PRESENT = "nobody_present"
    QUEUE_LIMIT = "queue_limit"
    NO_CAPACITY = "no_capacity"
    DENIED = "denied"
    OTHERS_FIRST = "others_first"
    PROPOSED = "proposed"
    RUNNING = "running"


TURN_COMES = frozenset({Reason.QUEUE_LIMIT, Reason.NO_CAPACITY, Reason.DENIED, Reason.OTHERS_FIRST})
"""Nothing but time is missing."""


@dataclass(frozen=True, slots=True)
class Blocker:
    requirement: dict[str, Any]
    total: int
    free: int
    held_by: tuple[int, ...]
    detail: str


@dataclass(frozen=True, slots=True)
class Explanation:
    reason: Reason
    blockers: tuple[Blocker, ...] = ()
    would_unblock: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """The item's queue: whether it is paused, its limit, and how many of it were proposed or run."""

    paused: bool
    limit: int | None
    busy: int


Holders = Mapping[str, Sequence[tuple[int, int]]]
"""Resource -> (pid, units) of those who have it or were proposed for it; proposals are in its `outstanding` as well."""


def explain(
    item: Item, standing: Standing, resources: Iterable[Resource], holders: Holders, now: datetime
) -> Explanation:
    """From what is stored; the resources have to include all of the types that the item needs."""
    if item.state is ItemState.PROPOSED:
        return Explanation(Reason.PROPOSED, (), ("the answer of resource-svc, within a moment",))
    if item.state is not ItemState.READY:
        return Explanation(Reason.RUNNING)
    if item.not_after is not None and item.not_after < now:
        return Explanation(Reason.WINDOW_CLOSED, (), ("a later not_after: its window closed",))
    known = list(resources)
    fixed, pooled, _ = missing(item)
    found: list[tuple[Reason, Blocker, str]] = []
    for index in sorted((*fixed, *pooled)):
        blocked = _blocked(item.demands.all[index], known, holders, now)
        if blocked is not None:
            found.append(blocked)
    severity = list(Reason)
    found.sort(key=lambda each: severity.index(each[0]))
    blockers = tuple(blocker for _, blocker, _ in found)
    unblock = [text for _, _, text in found]
    if standing.paused:
        return Explanation(Reason.QUEUE_PAUSED, blockers, ("resuming its queue", *unblock))
    if found and found[0][0] is not Reason.NO_CAPACITY:
        return Explanation(found[0][0], blockers, tuple(unblock))
    if standing.limit is not None and standing.busy >= standing.limit:
        text = f"the end of one of the {standing.busy} that run in its queue, or a higher limit than {standing.limit}"
        return Explanation(Reason.QUEUE_LIMIT, blockers, (text, *unblock))
    if found:
        return Explanation(Reason.NO_CAPACITY, blockers, tuple(unblock))
    if item.reason is not None:
        return Explanation(Reason.DENIED, (), ("the next try, after a short back-off",))
    return Explanation(Reason.OTHERS_FIRST, (), ("its turn: those before it in line",))


def _blocked(
    demand: Demand, resources: Sequence[Resource], holders: Holders, now: datetime
) -> tuple[Reason, Blocker, str] | None:
    if demand.resource is not None:
        fit = [resource for resource in resources if resource.id == demand.resource]
        if not fit and demand.need.type == LOCK_TYPE:
            return None
        if fit and demand.need.type != LOCK_TYPE and not eligible(fit[0], demand.need, now):
            who, wanted = f"{demand.need.type} {demand.resource}", _need_words(demand.need)
            detail = f"It is assigned to {demand.resource}, who is no {wanted}."
            return _made(Reason.NOBODY_ELIGIBLE, demand, 0, 0, (), detail, f"another assignment, or {who} as {wanted}")
    else:
        fit = [resource for resource in resources if eligible(resource, demand.need, now)]
    present = [resource for resource in fit if resource.open]
    total = sum(resource.capacity for resource in present)
    free = sum(max(0, resource.room) for resource in present)
    if any(resource.room >= demand.units for resource in present):
        return None
    what = _words(demand)
    held_by = tuple(sorted({pid for resource in present for pid, _ in holders.get(resource.id, ())}))
    if not fit:
        return _made(Reason.NOBODY_ELIGIBLE, demand, total, free, held_by, f"There is no {what}.", f"one {what}")
    if not present:
        detail = f"Of {len(fit)} {what} none is present, in service and within its hours."
        return _made(
            Reason.NOBODY_PRESENT, demand, total, free, held_by, detail, f"one {what} coming back, or its hours"
        )
    detail = f"All {what} are taken: {free} of {total} units free, {demand.units} needed."
    return _made(Reason.NO_CAPACITY, demand, total, free, held_by, detail, f"one more {what}, or one coming free")


def _made(
    reason: Reason, demand: Demand, total: int, free: int, held_by: tuple[int, ...], detail: str, unblock: str
) -> tuple[Reason, Blocker, str]:
    return reason, Blocker(requirement_of(demand), total, free, held_by, detail), unblock


def requirement_of(demand: Demand) -> dict[str, Any]:
    """As requirements are written; empty parts left out."""
    need = demand.need
    parts: dict[str, Any] = {
        "type": need.type,
        "resource": demand.resource,
        "selector": dict(need.selector),
        "roles": list(need.roles),
        "skills": [{"skill": name, "level": level} for name, level in need.skills],
        "units": demand.units,
    }
    return {name: value for name, value in parts.items() if value}


def _words(demand: Demand) -> str:
    if demand.resource is not None:
        return f"{demand.need.type} {demand.resource}"
    return _need_words(demand.need)


def _need_words(need: Need) -> str:
    words = need.type
    if need.roles:
        words += f" with the role {' or '.join(need.roles)}"
    if need.skills:
        skills = (name if level <= 1 else f"{name} at level {level}" for name, level in need.skills)
        words += f" with the skill {' and '.join(skills)}"
    if need.selector:
        words += f" with {', '.join(f'{name}={value}' for name, value in need.selector)}"
    return words
