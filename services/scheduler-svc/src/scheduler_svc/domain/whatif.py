"""What would be different with more people, other queues, other priorities: the plan ahead from a changed state, measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from scheduler_svc.domain.ahead import Run, play
from scheduler_svc.domain.facts import Definition, QueueSettings
from scheduler_svc.domain.queues import ItemState
from scheduler_svc.domain.resources import LOCK_TYPE
from scheduler_svc.domain.state import State


@dataclass(frozen=True, slots=True)
class Changes:
    """`added`: as they would be defined. `priorities` by service."""

    added: Sequence[Definition] = ()
    removed: Sequence[str] = ()
    queues: Sequence[QueueSettings] = ()
    priorities: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of the runs that begin until the end. Waits in seconds from READY; who has not begun by then has waited until then.

    `late`: of those with a deadline, how many end after it, or have not ended although it passed. `used`: share of the time
    of what is present that is taken, by type and by resource.
    """

    begun: int
    waiting: int
    mean_wait: float
    p50_wait: float
    p95_wait: float
    with_due: int
    late: int
    used: Mapping[str, float]
    by_resource: Mapping[str, float]


def apply(state: State, tenant: str, changes: Changes, now: datetime) -> list[str]:
    """The ids in `removed` that are not known."""
    unknown = []
    for id in changes.removed:
        known = state.resources.get((tenant, id))
        if known is None:
            unknown.append(id)
            continue
        state.defined(
            Definition(
                tenant, id, known.type, False, known.capacity, known.used, max(known.version, known.defined) + 1,
                known.labels, known.roles, known.skills,
            ),
            now,
        )  # fmt: skip
    for definition in changes.added:
        state.defined(definition, now)
    for settings in changes.queues:
        state.define(settings)
    if changes.priorities:
        for item in list(state.items.values()):
            wanted = changes.priorities.get(item.service)
            if wanted is not None and item.state is ItemState.READY:
                state.prioritized(item.pid, item.latest + 1, wanted)
    return unknown


def simulate(state: State, tenant: str, now: datetime, until: datetime, most: int) -> Outcome:
    """Plays the state on, which is used up by it, and measures."""
    line = {item.pid: item for item in state.items.values() if item.state is ItemState.READY}
    present = {
        id: (resource.type, resource.capacity)
        for (of, id), resource in state.resources.items()
        if of == tenant and resource.open and resource.type != LOCK_TYPE
    }
    dues = {item.pid: item.due for item in state.items.values() if item.due is not None}
    ready = {pid: item.ready_at for pid, item in line.items()}
    runs = play(state, now, until, most)
    ends = {run.pid: run.end for run in runs}
    begun = {run.pid: run.begin for run in runs if not run.runs}
    waits = sorted(max(0.0, (begun.get(pid, until) - at).total_seconds()) for pid, at in ready.items())
    late = sum(ends[pid] > due if pid in ends else due <= until for pid, due in dues.items())
    used, by_resource = _used(runs, present, now, until)
    count = len(waits)
    return Outcome(
        len(begun),
        count - sum(pid in begun for pid in ready),
        sum(waits) / count if count else 0.0,
        waits[count // 2] if count else 0.0,
        waits[int(0.95 * count)] if count else 0.0,
        len(dues),
        late,
        used,
        by_resource,
    )


def _used(
    runs: Sequence[Run], present: Mapping[str, tuple[str, int]], now: datetime, until: datetime
) -> tuple[dict[str, float], dict[str, float]]:
    taken = dict.fromkeys(present, 0.0)
    for run in runs:
        seconds = max(0.0, (min(run.end, until) - max(run.begin, now)).total_seconds())
        for _, id in run.resources:
            if id in taken:
                taken[id] += seconds
    span = (until - now).total_seconds()
    by_type: dict[str, list[float]] = {}
    for id, (type, capacity) in present.items():
        total = by_type.setdefault(type, [0.0, 0.0])
        total[0] += taken[id]
        total[1] += span * capacity
    shares = {id: taken[id] / (span * capacity) for id, (_, capacity) in present.items() if capacity}
    return {type: had / there for type, (had, there) in sorted(by_type.items()) if there}, shares
