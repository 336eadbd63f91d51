"""Short plans for a project: sampled priority rules first, then a genetic algorithm over orders, each schedule justified.

After Hartmann (1998, permutations with a two-point crossover) and Valls, Ballestin and Quintanilla (2008, justification of
each descendant). Whatever time it gets it has a plan after the first schedule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush
from typing import Final

from scheduler_svc.domain.projects.network import Plan, Scheme

SAMPLES: Final = 24
"""Schedules by rules that the search begins with."""
POPULATION: Final = 40
MUTATES: Final = 0.1
PATIENCE: Final = 15
"""So many populations' worth of descendants without a better plan, and it begins again, keeping the best."""

Individual = tuple[int, list[int]]
"""(length, order of activities by start)."""


def shortest(scheme: Scheme, chance: Callable[[], float], more: Callable[[], bool]) -> Plan:
    """The shortest plan found; ends as soon as it can't be shorter, or `more` says no."""
    search = _Search(scheme, chance, more)
    search.run()
    assert search.best is not None
    return search.best


class _Search:
    def __init__(self, scheme: Scheme, chance: Callable[[], float], more: Callable[[], bool]) -> None:
        self.scheme = scheme
        self.project = project = scheme.project
        self.chance = chance
        self.more = more
        self.bound = scheme.bound()
        self.length = sum(project.durations) + 1
        self.best: Plan | None = None
        tails = project.tails()
        horizon = max(tails, default=0)
        self.latest = [horizon - tail + length for tail, length in zip(tails, project.durations, strict=True)]
        """By when each has to end where nothing is to be late (LFT)."""

    def run(self) -> None:
        size = POPULATION
        while True:
            people = self._sample(size)
            if self._done():
                return
            self._evolve(people)
            if self._done():
                return

    def _done(self) -> bool:
        return self.length <= self.bound or not self.more()

    def _sample(self, size: int) -> list[Individual]:
        """Rules with noise: latest end first, by both schemes in turn."""
        people: list[Individual] = []
        chance, latest = self.chance, self.latest
        spread = 0.25 * (max(latest, default=0) or 1)
        for turn in range(max(size, SAMPLES)):
            noise = spread * (0.0 if turn < 2 and not self.best else chance())
            ranks = [end + noise * chance() for end in latest]
            made = self.scheme.forward(self._listed(ranks)) if turn % 2 else self.scheme.parallel(ranks)
            people.append(self._improved(made))
            if self._done():
                break
        people.sort(key=_length)
        return people[:size]

    def _listed(self, ranks: Sequence[float]) -> list[int]:
        """All activities, each after those before it, the lowest rank first among those that can be next."""
        project = self.project
        waits = [len(earlier) for earlier in project.before]
        ready = [(ranks[job], job) for job in range(len(waits)) if not waits[job]]
        heapify(ready)
        order = []
        while ready:
            job = heappop(ready)[1]
            order.append(job)
            for each in project.after[job]:
                waits[each] -= 1
                if not waits[each]:
                    heappush(ready, (ranks[each], each))
        return order

    def _improved(self, plan: Plan) -> Individual:
        length = max(plan[0], default=0)
        if length > self.bound:
            again = self.scheme.justified(plan)
            shorter = max(again[0], default=0)
            if shorter <= length:
                plan, length = again, shorter
        if length < self.length:
            self.length, self.best = length, plan
        ends, durations = plan[0], self.project.durations
        order = sorted(self.project.topological, key=lambda job: ends[job] - durations[job])
        return length, order

    def _evolve(self, people: list[Individual]) -> None:
        """Steady state: one descendant at a time takes the place of the worst."""
        count = len(people)
        known = {tuple(order) for _, order in people}
        idle = 0
        while idle < PATIENCE * count:
            mother, father = self._pick(people), self._pick(people)
            child = self._crossed(mother[1], father[1])
            self._mutate(child)
            before = self.length
            made = self._improved(self.scheme.forward(child))
            idle = 0 if self.length < before else idle + 1
            if self._done():
                return
            key = tuple(made[1])
            if made[0] <= people[-1][0] and key not in known:
                known.discard(tuple(people[-1][1]))
                known.add(key)
                people.pop()
                place = 0
                while place < len(people) and people[place][0] <= made[0]:
                    place += 1
                people.insert(place, made)

    def _pick(self, people: Sequence[Individual]) -> Individual:
        count = len(people)
        return people[min(int(self.chance() * count), int(self.chance() * count))]

    def _crossed(self, mother: Sequence[int], father: Sequence[int]) -> list[int]:
        """The mother's beginning, the father's order in the middle, the mother's again at the end."""
        count = len(mother)
        first, last = sorted((int(self.chance() * count), int(self.chance() * count)))
        head = mother[:first]
        taken = set(head)
        middle = [job for job in father if job not in taken][: last - first]
        taken.update(middle)
        return [*head, *middle, *(job for job in mother if job not in taken)]

    def _mutate(self, order: list[int]) -> None:
        """Neighbours that don't depend on each other change places, here and there."""
        chance, before = self.chance, self.project.before
        at = int(chance() * 2 / MUTATES)
        while at < len(order) - 1:
            if order[at] not in before[order[at + 1]]:
                order[at], order[at + 1] = order[at + 1], order[at]
            at += 1 + int(chance() * 2 / MUTATES)


def _length(person: Individual) -> int:
    return person[0]
