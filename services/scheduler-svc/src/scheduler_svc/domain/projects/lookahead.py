"""Looking ahead on a floor of machines and people: what is known is played to its end in changed orders, and the best kept.

A rollout places like the dispatcher: whatever can go goes, the lowest key first, with the least loaded who can. What is searched
is how far each chain of operations is moved forward or back in line; the search goes on from one event to the next, as work
arrives and ends, so nothing that was found is lost (a rolling horizon).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from math import inf, sqrt
from typing import Final

FLOW: Final = 0.05
"""A minute of flow counts as so many of tardiness."""


@dataclass(frozen=True, slots=True)
class Floor:
    """`who[m]`: the people that can run machine m. `shifts`: (time, person, +1 or -1) of everybody, in order."""

    machines: tuple[int, ...]
    people: tuple[int, ...]
    who: tuple[tuple[int, ...], ...]
    shifts: tuple[tuple[float, int, int], ...]


@dataclass(slots=True)
class Chain:
    """An order as it stands: its operations (machine, length) still to begin, the first ready at `ready`."""

    release: float
    due: float
    steps: list[tuple[int, float]]
    ready: float = inf
    """inf: one of its operations runs."""
    moved: float = 0.0
    """So much later in line than its slack says."""


@dataclass(slots=True)
class Position:
    """What is known on the floor at `now`. `running`: end, machine, person, chain."""

    now: float
    here: list[int]
    chains: dict[int, Chain] = field(default_factory=dict)
    running: list[tuple[float, int, int, int]] = field(default_factory=list)


def key_of(chain: Chain, ready: float, first: int, left: float) -> float:
    """The place in line of its operation `first`: latest begin by its share of the slack (as `deadlines.step_due`), moved."""
    return ready + (chain.due - ready - left) / sqrt(len(chain.steps) - first) + chain.moved


class LookAhead:
    def __init__(self, floor: Floor, chance: Callable[[], float]) -> None:
        self.floor = floor
        self.chance = chance
        self._times = [time for time, _, _ in floor.shifts]

    def improve(self, position: Position, more: Callable[[], bool]) -> None:
        """Moves chains in line for as long as `more` says, each change kept only where the known work ends better by it."""
        chains = [number for number, chain in sorted(position.chains.items()) if chain.steps]
        if len(chains) < 2:
            return
        cost = self.rollout(position)
        chance = self.chance
        while more():
            undo = []
            for _ in range(1 + int(chance() * 2.5)):
                chain = position.chains[chains[int(chance() * len(chains))]]
                undo.append((chain, chain.moved))
                if chain.moved and chance() < 0.2:
                    chain.moved = 0.0
                else:
                    chain.moved += (chance() - 0.5) * 2 * 10 ** (1.5 + 2.2 * chance())
            found = self.rollout(position, cost)
            if found < cost:
                cost = found
            else:
                for chain, moved in reversed(undo):
                    chain.moved = moved

    def rollout(self, position: Position, limit: float = inf) -> float:
        """Tardiness of all that is known, and a little of its flow; given up (inf) beyond `limit`."""
        floor, now = self.floor, position.now
        room, people, who = list(floor.machines), list(floor.people), floor.who
        capacity = floor.people
        here = list(position.here)
        shifts, shift = floor.shifts, bisect_right(self._times, now)
        next_shift = shifts[shift][0] if shift < len(shifts) else inf
        queues: list[list[tuple[float, int, int, float, float]]] = [[] for _ in room]
        ends: list[tuple[float, int, int, int, int, float]] = []
        cost, left_chains = 0.0, 0
        lefts: dict[int, float] = {}
        chains = position.chains
        for number, chain in chains.items():
            lefts[number] = left = sum(length for _, length in chain.steps)
            if chain.ready < inf and chain.steps:
                machine, length = chain.steps[0]
                queues[machine].append((key_of(chain, chain.ready, 0, left), number, 0, length, left))
                left_chains += 1
        for end, machine, person, number in position.running:
            room[machine] -= 1
            people[person] -= 1
            ends.append((end, number, -1, machine, person, lefts[number]))
            left_chains += 1
        for queue in queues:
            heapify(queue)
        heapify(ends)
        open_machines = {machine for machine, queue in enumerate(queues) if queue and room[machine] > 0}
        while left_chains:
            heads = [(queues[machine][0], machine) for machine in open_machines]
            heapify(heads)
            while heads:
                (_, number, step, length, left), machine = heappop(heads)
                best, least = -1, inf
                for person in who[machine]:
                    if here[person] > 0 and people[person] > 0:
                        load = 1 - people[person] / capacity[person]
                        if load < least:
                            best, least = person, load
                            if not load:
                                break
                if best < 0:
                    continue
                heappop(queues[machine])
                people[best] -= 1
                room[machine] -= 1
                heappush(ends, (now + length, number, step, machine, best, left - length))
                if room[machine] > 0 and queues[machine]:
                    heappush(heads, (queues[machine][0], machine))
                else:
                    open_machines.discard(machine)
            now = ends[0][0] if ends else inf
            if next_shift < now:
                now = next_shift
            if now == inf:
                return inf
            while ends and ends[0][0] == now:
                _, number, step, machine, person, left = heappop(ends)
                people[person] += 1
                room[machine] += 1
                if queues[machine]:
                    open_machines.add(machine)
                chain = chains[number]
                step += 1
                if step == len(chain.steps):
                    left_chains -= 1
                    cost += FLOW * (now - chain.release) + (now - chain.due if now > chain.due else 0.0)
                    if cost >= limit:
                        return inf
                else:
                    to, length = chain.steps[step]
                    heappush(queues[to], (key_of(chain, now, step, left), number, step, length, left))
                    if room[to] > 0:
                        open_machines.add(to)
            while next_shift == now:
                _, person, sign = shifts[shift]
                here[person] += sign
                shift += 1
                next_shift = shifts[shift][0] if shift < len(shifts) else inf
        return cost


def least_flexible_first(skills: Sequence[Sequence[int]], machines: int) -> tuple[tuple[int, ...], ...]:
    """Of each machine who can run it, those who can do least else first."""
    return tuple(
        tuple(sorted((p for p, own in enumerate(skills) if machine in own), key=lambda p: (len(skills[p]), p)))
        for machine in range(machines)
    )
