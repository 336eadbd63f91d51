"""Projects that people with skills carry out, one at a time each, one activity at a time (MS-RCPSP)."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush

from scheduler_svc.domain.projects.network import Plan, Project, latest_first


class Crew:
    """Who can do what: `can[j]` lists the people for activity j, not empty. People are numbered."""

    def __init__(self, project: Project, can: Sequence[Sequence[int]], people: int) -> None:
        self.project = project
        pressure = [0.0] * people
        for length, who in zip(project.durations, can, strict=True):
            for person in who:
                pressure[person] += length / len(who)
        self.pressure = pressure
        """How much of the work would be theirs if all who can do it shared it: those with the least are taken first."""
        self.can = [sorted(who, key=lambda person: (pressure[person], person)) for who in can]
        self._reversed = project.topological[::-1]
        self._people = people

    def bound(self) -> int:
        """No plan is shorter: the longest chain, or what only some can do, shared by them evenly."""
        sets = {frozenset(who) for who in self.can}
        unions = sets | {a | b for a in sets for b in sets} | {frozenset(range(self._people))}
        least = max(self.project.tails(), default=0)
        work = [(frozenset(who), length) for who, length in zip(self.can, self.project.durations, strict=True)]
        for union in unions:
            least = max(least, -(-sum(length for who, length in work if who <= union) // len(union)))
        return least

    def forward(self, order: Sequence[int]) -> Plan:
        """In this order, each with whoever can begin first; of those the one with the least pressure."""
        return self._serial(order, self.project.before)

    def justified(self, plan: Plan) -> Plan:
        """All to the right by their ends, then all to the left again, people chosen anew each time."""
        mirrored, _ = self._serial(latest_first(self._reversed, plan[0]), self.project.after)
        return self._serial(latest_first(self.project.topological, mirrored), self.project.before)

    def _serial(self, order: Sequence[int], before: Sequence[Sequence[int]]) -> Plan:
        durations, can = self.project.durations, self.can
        free = [0] * self._people
        ends = [0] * len(durations)
        chosen = [0] * len(durations)
        for job in order:
            ready = 0
            for each in before[job]:
                if ends[each] > ready:
                    ready = ends[each]
            start, who = -1, -1
            for person in can[job]:
                at = free[person]
                if at <= ready:
                    start, who = ready, person
                    break
                if start < 0 or at < start:
                    start, who = at, person
            chosen[job] = who
            free[who] = ends[job] = start + durations[job]
        return ends, chosen

    def parallel(self, ranks: Sequence[float]) -> Plan:
        """As an online dispatcher: at each time the ready activities, lowest rank first, with whoever is idle then."""
        project = self.project
        waits = [len(earlier) for earlier in project.before]
        ready = [(ranks[job], job) for job in range(len(waits)) if not waits[job]]
        idle = [True] * self._people
        ends, chosen = [0] * len(waits), [0] * len(waits)
        running: list[tuple[int, int]] = []
        now = 0
        while True:
            heapify(ready)
            kept = []
            while ready:
                entry = heappop(ready)
                job = entry[1]
                for person in self.can[job]:
                    if idle[person]:
                        idle[person] = False
                        chosen[job], ends[job] = person, now + project.durations[job]
                        heappush(running, (ends[job], job))
                        break
                else:
                    kept.append(entry)
            ready = kept
            if not running:
                return ends, chosen
            now = running[0][0]
            while running and running[0][0] == now:
                job = heappop(running)[1]
                idle[chosen[job]] = True
                for each in project.after[job]:
                    waits[each] -= 1
                    if not waits[each]:
                        heappush(ready, (ranks[each], each))
