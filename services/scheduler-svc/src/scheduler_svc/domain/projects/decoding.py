"""From an order of activities to a schedule: the serial and the parallel scheme, and justification.

The free units of all resources in one unit of time are one number: a field each, with a guard bit above it that a subtraction
clears where too little is free. So one operation tests all resources.
"""

from __future__ import annotations

from collections.abc import Sequence

from scheduler_svc.domain.projects.network import Plan, Project, latest_first


class Decoder:
    def __init__(self, project: Project) -> None:
        self.project = project
        self._count = len(project.durations)
        self._reversed = project.topological[::-1]
        self._horizon = sum(project.durations) + 1
        width = max((capacity.bit_length() for capacity in project.capacities), default=1) + 1
        self._guard = sum(1 << (width * index + width - 1) for index in range(len(project.capacities)))
        self._full = self._guard + sum(units << (width * index) for index, units in enumerate(project.capacities))
        self._needs = [sum(units << (width * index) for index, units in enumerate(need)) for need in project.needs]

    def bound(self) -> int:
        return self.project.bound()

    def forward(self, order: Sequence[int]) -> Plan:
        """Placed in this order, each as early as possible (serial scheme)."""
        return self._serial(order, self.project.before), []

    def justified(self, plan: Plan) -> Plan:
        """All to the right by their ends, then all to the left again: never longer, often shorter (Valls et al. 2005)."""
        # in the mirrored project an end is the start counted from the last end: the larger, the earlier
        mirrored = self._serial(latest_first(self._reversed, plan[0]), self.project.after)
        return self._serial(latest_first(self.project.topological, mirrored), self.project.before), []

    def _serial(self, order: Sequence[int], before: Sequence[Sequence[int]]) -> list[int]:
        durations, needs, guard = self.project.durations, self._needs, self._guard
        free = [self._full] * self._horizon
        ends = [0] * self._count
        for job in order:
            start = 0
            for each in before[job]:
                if ends[each] > start:
                    start = ends[each]
            length = durations[job]
            if length:
                need = needs[job]
                at, end = start, start + length
                while at < end:
                    if (free[at] - need) & guard != guard:
                        start = at + 1
                        end = start + length
                    at += 1
                for at in range(start, end):
                    free[at] -= need
                ends[job] = end
            else:
                ends[job] = start
        return ends

    def parallel(self, ranks: Sequence[float]) -> Plan:
        """At each time those go that can, the lowest rank first (parallel scheme)."""
        project, needs, guard = self.project, self._needs, self._guard
        waits = [len(earlier) for earlier in project.before]
        ready = sorted((ranks[job], job) for job in range(self._count) if not waits[job])
        ends = [0] * self._count
        running: list[tuple[int, int]] = []
        free, now, left = self._full, 0, self._count
        while left:
            kept = []
            fresh: list[tuple[float, int]] = []
            queue = ready
            while queue:
                for entry in queue:
                    job = entry[1]
                    if (free - needs[job]) & guard == guard:
                        length = project.durations[job]
                        ends[job] = now + length
                        left -= 1
                        if length:
                            free -= needs[job]
                            running.append((now + length, job))
                        else:
                            for each in project.after[job]:
                                waits[each] -= 1
                                if not waits[each]:
                                    fresh.append((ranks[each], each))
                    else:
                        kept.append(entry)
                queue, fresh = sorted(fresh), []
            if not running:
                break
            now = min(running)[0]
            ready = kept
            still = []
            for entry in running:
                if entry[0] == now:
                    free += needs[entry[1]]
                    for each in project.after[entry[1]]:
                        waits[each] -= 1
                        if not waits[each]:
                            ready.append((ranks[each], each))
                else:
                    still.append(entry)
            running = still
            ready.sort()
        return ends, []
