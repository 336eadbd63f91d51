"""Who is expected to run what, when: the planner's own model played on with a clock of its own.

What runs ends when it is expected to, what is placed is granted, and `plan` decides again at each end. Nobody comes or goes,
nothing new arrives. The state that is given is used up by it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import heappop, heappush
from typing import Final

from scheduler_svc.domain.demands import Held
from scheduler_svc.domain.durations import Durations
from scheduler_svc.domain.facts import Usage
from scheduler_svc.domain.planning import plan
from scheduler_svc.domain.queues import BUSY, Item, ItemState
from scheduler_svc.domain.reckoning import step_of
from scheduler_svc.domain.state import State

OVERDUE: Final = 0.2
"""What has run longer than expected is expected to take this share of that once more."""
STEPS: Final = 20_000
"""Moments looked at: there is nothing to see in what tries again every second."""
LONGEST: Final = 1e9
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Run:
    """`resources`: of each type those that it has or will have. `runs`: it has begun."""

    pid: int
    service: str
    queue: str
    begin: datetime
    end: datetime
    resources: tuple[tuple[str, str], ...]
    runs: bool


def play(state: State, now: datetime, until: datetime, most: int) -> list[Run]:
    """The runs that begin before `until`, in order of their begin; at most so many."""
    runs: list[Run] = []
    ends: list[tuple[datetime, int, str]] = []
    for item in sorted(state.items.values(), key=lambda each: each.pid):
        if item.state is ItemState.PROPOSED:
            _grant(state, item, now)
        if item.state in BUSY:
            begin = item.proposed_at or now
            end = begin + _length(state.durations, item)
            if end <= now:
                end = now + (end - begin) * OVERDUE
            runs.append(_run(state, item, begin, end, runs=True))
            heappush(ends, (end, item.pid, item.dispatch_id or ""))
    for _ in range(STEPS):
        if now >= until or len(runs) >= most:
            break
        for placement in plan(state, now, most):
            item = placement.item
            _grant(state, item, now)
            end = now + _length(state.durations, item)
            runs.append(_run(state, item, now, end, runs=False))
            heappush(ends, (end, item.pid, item.dispatch_id or ""))
        state.take_changes()
        times = [at for at in (ends[0][0] if ends else None, state.next_due()) if at is not None]
        if not times or (min(times) <= now and not ends):
            break
        now = max(now, min(times))
        while ends and ends[0][0] <= now:
            _, pid, dispatch_id = heappop(ends)
            over = state.items.get(pid)
            if over is not None and over.dispatch_id in (dispatch_id, None):
                _end(state, over, now)
    return runs[:most]


def _length(durations: Durations, item: Item) -> timedelta:
    seconds = item.expected
    if seconds is None:
        seconds = durations.expected(item.tenant, step_of(item))
    return timedelta(seconds=min(max(seconds, 1e-3), LONGEST))


def _run(state: State, item: Item, begin: datetime, end: datetime, *, runs: bool) -> Run:
    resources = tuple(sorted((held.type, id) for id, held in item.held.items()))
    return Run(item.pid, item.service, item.queue, begin, end, resources, runs)


def _grant(state: State, item: Item, now: datetime) -> None:
    keeps = {ids[0]: demand.keep for demand, ids in zip(item.demands.all, item.candidates, strict=False) if ids}
    taken = [(r.id, Held(r.type, units, keeps.get(r.id, False))) for r, units in item.reserved]
    state.granted(item.tenant, item.pid, item.dispatch_id or "", item.queue, _usage(state, item, taken, 1), now)


def _end(state: State, item: Item, now: datetime) -> None:
    given = _usage(state, item, item.held.items(), -1)
    state.left(item.pid, item.latest + 1, ended=True)
    state.released(item.tenant, item.pid, item.dispatch_id, given, "ended", now)


def _usage(state: State, item: Item, units: Iterable[tuple[str, Held]], sign: int) -> list[Usage]:
    told: list[Usage] = []
    used: dict[str, int] = {}
    for id, held in units:
        resource = state.resource(item.tenant, id, held.type)
        used[id] = used.get(id, resource.used) + sign * held.units
        version = resource.version + 1 + sum(each.resource == id for each in told)
        told.append(Usage(id, held.type, held.units, held.keep, max(0, used[id]), resource.capacity, version))
    return told
