"""A project: activities with predecessors that share resources of fixed capacity (RCPSP)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Project:
    """Activity j takes `durations[j]`, needs `needs[j][k]` of the `capacities[k]` units of k, and follows `before[j]`."""

    durations: tuple[int, ...]
    needs: tuple[tuple[int, ...], ...]
    capacities: tuple[int, ...]
    before: tuple[tuple[int, ...], ...]
    after: tuple[tuple[int, ...], ...] = field(init=False)
    topological: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Raises ValueError where it can't be carried out: a circle, or a need beyond the capacity."""
        count = len(self.durations)
        after: list[list[int]] = [[] for _ in range(count)]
        for job, earlier in enumerate(self.before):
            for each in earlier:
                after[each].append(job)
        waits = [len(earlier) for earlier in self.before]
        order = [job for job in range(count) if not waits[job]]
        for job in order:
            for each in after[job]:
                waits[each] -= 1
                if not waits[each]:
                    order.append(each)
        if len(order) < count:
            raise ValueError("the activities wait for each other in a circle")
        for job, need in enumerate(self.needs):
            if any(units > capacity for units, capacity in zip(need, self.capacities, strict=True)):
                raise ValueError(f"activity {job} needs more than there is")
        object.__setattr__(self, "after", tuple(map(tuple, after)))
        object.__setattr__(self, "topological", tuple(order))

    def heads(self) -> list[int]:
        """The earliest start of each activity where resources don't count."""
        start = [0] * len(self.durations)
        for job in self.topological:
            start[job] = max((start[each] + self.durations[each] for each in self.before[job]), default=0)
        return start

    def tails(self) -> list[int]:
        """The least time from the start of each activity to the end of all, its own included."""
        tail = [0] * len(self.durations)
        for job in reversed(self.topological):
            tail[job] = self.durations[job] + max((tail[each] for each in self.after[job]), default=0)
        return tail

    def bound(self) -> int:
        """No plan is shorter: the longest chain, or the work of a resource through its capacity."""
        work = [0] * len(self.capacities)
        for need, length in zip(self.needs, self.durations, strict=True):
            for index, units in enumerate(need):
                work[index] += units * length
        loads = [-(-total // capacity) for total, capacity in zip(work, self.capacities, strict=True) if capacity]
        return max(max(self.tails(), default=0), max(loads, default=0))


Plan = tuple[list[int], list[int]]
"""The end of each activity, and who does it; the second is empty where nobody is chosen."""


class Scheme(Protocol):
    """Makes schedules for a project."""

    @property
    def project(self) -> Project: ...

    def bound(self) -> int: ...

    def forward(self, order: Sequence[int]) -> Plan: ...

    def parallel(self, ranks: Sequence[float]) -> Plan: ...

    def justified(self, plan: Plan) -> Plan: ...


def latest_first(jobs: Sequence[int], ends: Sequence[int]) -> list[int]:
    """Those that end together stay as they are, so an activity without length keeps its side of its neighbours."""
    return sorted(jobs, key=ends.__getitem__, reverse=True)
