"""Backfill: the first in line that finds no room gets a reservation, and others go in front of it only where they don't delay it.

EASY (Lifka 1995) on demands that may be for several resources at once. When units come back follows from how long their
holders are expected to take; what has no expected end never counts as coming back, so without durations there is no
reservation and a queue is planned as any other. A reservation lives for one plan: the next makes it anew from what is then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from math import inf
from typing import Final

from scheduler_svc.domain.profile import Profile
from scheduler_svc.domain.queues import Bucket, Item, Queue
from scheduler_svc.domain.reckoning import Reckoning
from scheduler_svc.domain.resources import Resource

CANDIDATES: Final = 3
"""So many are proposed for each demand, the best first."""
DEPTH: Final = 500
"""So many that would delay the reservation are looked at in one plan; what stands behind them has to wait for the next."""
OVERDUE: Final = 60.0
"""Who runs longer than expected is expected to end after this many seconds."""
LOOKS: Final = 200
"""For a gang so many of the times are looked at at which something comes free."""


class Reservation:
    """Room that is kept for one item from `at` on: `profiles` of what is free beside it, by resource."""

    __slots__ = ("at", "pid", "profiles")

    def __init__(self, pid: int, at: float, profiles: dict[str, Profile]) -> None:
        self.pid = pid
        self.at = at
        self.profiles = profiles

    def allows(self, taken: Mapping[str, int], start: float, length: float) -> bool:
        """Whether units of these resources can be taken now for so long without delaying it."""
        for id, units in taken.items():
            profile = self.profiles.get(id)
            if profile is not None and not profile.fits(units, start, start + length):
                return False
        return True

    def take(self, taken: Mapping[str, int], start: float, length: float) -> None:
        for id, units in taken.items():
            if (profile := self.profiles.get(id)) is not None:
                profile.take(units, start, start + length)


def keep_room(state: Reckoning, queue: Queue, until: Item, now: datetime) -> None:
    """Before `until` is looked at: where somebody before it found no room, the first of those gets its reservation."""
    if queue.reservation is not None:
        return
    blocked: list[tuple[Item, Bucket]] = []
    for bucket in queue.by_number:
        if bucket.blocked and (head := bucket.head(state.items)) is not None and head.key < until.key:  # type: ignore[operator]
            blocked.append((head, bucket))
    for item, bucket in sorted(blocked, key=lambda found: found[0].key or ()):
        queue.reservation = reserve(state, item, bucket, now.timestamp())
        if queue.reservation is not None:
            return


def reserve(state: Reckoning, item: Item, bucket: Bucket, now: float) -> Reservation | None:
    """At the earliest time at which everything that it needs is expected to be free; None where nothing says when that is."""
    profiles = _profiles(state, item, bucket, now)
    length = inf if item.expected is None else item.expected
    wanted: list[tuple[list[str], int]] = []
    for pool, (_, units) in zip(bucket.pools, bucket.signature, strict=True):
        ids = [id for id, resource in pool.members.items() if resource.open and resource.capacity >= units]
        wanted.append((sorted(ids), units))
    for index in item.fixed:
        demand = item.demands.all[index]
        if demand.resource in profiles:
            wanted.append(([demand.resource], demand.units))
    found = _earliest(profiles, wanted, length)
    if found is None:
        return None
    at, chosen = found
    for id, units in chosen:
        profiles[id].take(units, at, at + length)
    return Reservation(item.pid, at, profiles)


def _profiles(state: Reckoning, item: Item, bucket: Bucket, now: float) -> dict[str, Profile]:
    gains: dict[str, list[tuple[float, int]]] = {}
    for back in state.returns.values():
        if back.tenant == item.tenant:
            for id, units in back.units:
                gains.setdefault(id, []).append((max(back.at, now) if back.at >= now else now + OVERDUE, units))
    members: dict[str, Resource] = {}
    for pool in bucket.pools:
        members.update(pool.members)
    for index in item.fixed:
        resource = state.resources.get((item.tenant, item.demands.all[index].resource or ""))
        if resource is not None:
            members[resource.id] = resource
    return {
        id: Profile(now, resource.room, gains.get(id, ())) for id, resource in sorted(members.items()) if resource.open
    }


def _earliest(
    profiles: Mapping[str, Profile], wanted: Sequence[tuple[list[str], int]], length: float
) -> tuple[float, list[tuple[str, int]]] | None:
    if len(wanted) == 1:
        ids, units = wanted[0]
        found = [(at, id) for id in ids if (at := profiles[id].earliest(units, length)) is not None]
        return (min(found)[0], [(min(found)[1], units)]) if found else None
    times = sorted({at for ids, _ in wanted for id in ids for at in profiles[id].times})
    for at in times[:LOOKS]:
        chosen: list[tuple[str, int]] = []
        for ids, units in sorted(wanted, key=lambda each: len(each[0])):
            for id in ids:
                more = sum(taken for other, taken in chosen if other == id)
                if profiles[id].fits(units + more, at, at + length):
                    chosen.append((id, units))
                    break
            else:
                break
        if len(chosen) == len(wanted):
            return at, chosen
    return None


def beside(
    state: Reckoning,
    bucket: Bucket,
    item: Item,
    fixed: Sequence[tuple[Resource, int]],
    chosen: Sequence[Sequence[Resource]],
    now: datetime,
) -> list[list[Resource]] | None:
    """Of the choices for an item those that delay nobody before it; None where there is none. What it takes is reckoned with."""
    queue = bucket.queue
    keep_room(state, queue, item, now)
    kept = queue.reservation
    if kept is None:
        return [list(options[:CANDIDATES]) for options in chosen]
    start, length = now.timestamp(), inf if item.expected is None else item.expected
    units = [units for _, units in bucket.signature]
    if len(chosen) == 1 and not fixed:
        free = [each for each in chosen[0] if kept.allows({each.id: units[0]}, start, length)]
        if not free:
            return None
        kept.take({free[0].id: units[0]}, start, length)
        return [free[:CANDIDATES]]
    taken: dict[str, int] = {}
    for resource, wanted in (*fixed, *((options[0], wanted) for options, wanted in zip(chosen, units, strict=True))):
        taken[resource.id] = taken.get(resource.id, 0) + wanted
    if not kept.allows(taken, start, length):
        return None
    kept.take(taken, start, length)
    return [
        [options[0], *(each for each in options[1:] if kept.allows({each.id: wanted}, start, length))][:CANDIDATES]
        for options, wanted in zip(chosen, units, strict=True)
    ]
