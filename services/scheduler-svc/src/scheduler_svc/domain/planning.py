"""The plan: who goes now, on whom.

Between queues the heads compete by priority, age, pid; within a queue its policy decides. An item is proposed with all its
demands or not at all. Nothing stays in line while all it needs is free, except what was denied and waits for its back-off,
what is past its `not_after`, and what its queue holds back (paused, limit).

A bucket whose signature finds nothing free is left out until one of its pools gains room, so the length of the line does
not matter; an item whose very own resource is taken is parked there, so it does not stand in the way of those behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import heapify, heappop, heappush
from typing import Final

from scheduler_svc.domain.backfill import CANDIDATES, DEPTH, beside
from scheduler_svc.domain.demands import Demand
from scheduler_svc.domain.held import match_held
from scheduler_svc.domain.order import Key, by_priority
from scheduler_svc.domain.queues import Bucket, Candidates, Item, Queue
from scheduler_svc.domain.resources import LOCK_TYPE, Pool, Resource, eligible
from scheduler_svc.domain.state import State

OPTIONS: Final = 64
"""So many are looked at where some may be kept for another."""
OWN_CONFLICT: Final = timedelta(seconds=1)
NOT_ELIGIBLE: Final = timedelta(hours=1)
"""Whose assigned operator lacks a role or skill is looked at again after this long, or when any definition changes."""
STEPS: Final = 10_000
"""The search for a way to meet overlapping demands gives up after this many steps."""


@dataclass(frozen=True, slots=True)
class Placement:
    """One item that goes now. `candidates`: for each of its demands, best first."""

    item: Item
    dispatch_id: str
    version: int
    candidates: Candidates


def plan(state: State, now: datetime, most: int | None = None) -> list[Placement]:
    """At most `most` placements, in the order in which they were decided; where there are more to make, `state.dirty` says so."""
    state.wake(now)
    items = state.items
    placements: list[Placement] = []
    line: list[tuple[Key, str, str]] = []
    filled: dict[Queue, None] = {}
    for queue in state.dirty:
        if queue.open and (found := queue.head(items)) is not None:
            line.append((by_priority(found[1]), queue.tenant, queue.name))
    state.dirty.clear()
    heapify(line)
    while line:
        place, tenant, name = heappop(line)
        queue = state.queues[tenant, name]
        if len(placements) == most:
            state.dirty[queue] = None
            continue
        found = queue.head(items)
        if found is None:
            continue
        bucket, item = found
        if (current := by_priority(item)) != place:
            heappush(line, (current, tenant, name))
            continue
        placement = _place(state, bucket, item, now)
        if placement is not None:
            placements.append(placement)
        if queue.backfill:
            filled[queue] = None
            if len(queue.aside) >= DEPTH:
                state.dirty.pop(queue, None)
                continue
        _again(line, queue, state)
    for queue in filled:
        queue.all_back()
    return placements


def _again(line: list[tuple[Key, str, str]], queue: Queue, state: State) -> None:
    state.dirty.pop(queue, None)
    if queue.open and (found := queue.head(state.items)) is not None:
        heappush(line, (by_priority(found[1]), queue.tenant, queue.name))


def _place(state: State, bucket: Bucket, item: Item, now: datetime) -> Placement | None:
    if item.not_after is not None and item.not_after < now:
        state.shelve(item)
        return None
    demands = item.demands.all
    fixed: list[tuple[Resource, int]] = []
    for index in item.fixed:
        demand = demands[index]
        resource = state.resource(item.tenant, demand.resource or "", demand.need.type)
        if resource.defined and resource.type != LOCK_TYPE and not eligible(resource, demand.need, now):
            state.defer(item, now + NOT_ELIGIBLE)
            return None
        if resource.room < demand.units and not state.doubts(resource, now):
            state.park(item, resource, demand.units, now)
            return None
        fixed.append((resource, demand.units))
    queue = bucket.queue
    if not fixed and len(bucket.pools) == 1:
        options = bucket.pools[0].best(bucket.signature[0][1], OPTIONS if queue.backfill else CANDIDATES, now)
        chosen = [options] if options else None
    else:
        chosen = _choose(bucket, fixed, now)
    if chosen is None:
        if fixed and _choose(bucket, [], now) is not None:
            state.defer(item, now + OWN_CONFLICT)
        else:
            state.block(bucket, _to_wait_for(bucket, now))
        return None
    if queue.backfill:
        chosen = beside(state, bucket, item, fixed, chosen, now)
        if chosen is None:
            queue.put_aside(bucket)
            return None
    reserved = fixed + [(options[0], demands[index].units) for index, options in zip(item.pooled, chosen, strict=True)]
    item.candidates = _candidates(item, demands, chosen)
    state.propose(item, reserved, now)
    assert item.dispatch_id is not None
    return Placement(item, item.dispatch_id, item.version, item.candidates)


def _candidates(item: Item, demands: Sequence[Demand], chosen: Sequence[Sequence[Resource]]) -> Candidates:
    if len(demands) == len(item.pooled):
        return tuple(tuple(resource.id for resource in options) for options in chosen)
    met = match_held(item) if item.held else {}
    pooled = dict(zip(item.pooled, chosen, strict=True))
    return tuple(
        tuple(resource.id for resource in pooled[index])
        if index in pooled
        else (met.get(index) or demand.resource or "",)
        for index, demand in enumerate(demands)
    )


def _to_wait_for(bucket: Bucket, now: datetime) -> list[Pool]:
    """A pool that alone can't meet its demand; else, where the demands stand in each other's way, all of them."""
    for pool, (_, units) in zip(bucket.pools, bucket.signature, strict=True):
        if not pool.best(units, 1, now):
            return [pool]
    return bucket.pools


def _choose(bucket: Bucket, fixed: Sequence[tuple[Resource, int]], now: datetime) -> list[list[Resource]] | None:
    """For each pooled demand its candidates, the first of each such that all fit together; None where there is no such choice.

    With k demands, the k best of each pool are enough to look at: the others can take room from at most k - 1 of them.
    """
    count = max(CANDIDATES, len(bucket.pools) + len(fixed))
    units = [units for _, units in bucket.signature]
    options = []
    for pool, wanted in zip(bucket.pools, units, strict=True):
        best = pool.best(wanted, count, now)
        if not best:
            return None
        options.append(best)
    taken: dict[str, int] = {}
    for resource, wanted in fixed:
        taken[resource.id] = taken.get(resource.id, 0) + wanted
        if taken[resource.id] > resource.room:
            return None
    order = sorted(range(len(options)), key=lambda index: (len(options[index]), index))
    picks: dict[int, Resource] = {}
    if not _search(order, options, units, taken, picks, [STEPS]):
        return None
    return [
        [picks[index], *(other for other in options[index] if other is not picks[index])][:CANDIDATES]
        for index in range(len(options))
    ]


def _search(
    order: Sequence[int],
    options: Sequence[Sequence[Resource]],
    units: Sequence[int],
    taken: dict[str, int],
    picks: dict[int, Resource],
    steps: list[int],
) -> bool:
    """Depth first, the demand with the fewest candidates first, each by rank."""
    if len(picks) == len(order):
        return True
    index = order[len(picks)]
    for resource in options[index]:
        steps[0] -= 1
        if steps[0] < 0:
            return False
        before = taken.get(resource.id, 0)
        if resource.room - before >= units[index]:
            taken[resource.id] = before + units[index]
            picks[index] = resource
            if _search(order, options, units, taken, picks, steps):
                return True
            del picks[index]
            taken[resource.id] = before
    return False
