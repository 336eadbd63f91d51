"""A machine shop (contest A2): each operation needs a machine and somebody who can run it, both at once.

`State` and `plan` decide, in a queue by deadline: an operation's deadline comes from what its order has left. With a budget, what
is known is looked ahead at every event, and deadlines move by what was found. No order is known before its release.
"""

from __future__ import annotations

import gzip
import json
import time
from heapq import heapify, heappop, heappush
from math import inf
from pathlib import Path
from random import Random
from typing import Any, Final

from kernel_contracts.vocabulary import QueuePolicy

from scheduler_svc.domain.deadlines import step_due
from scheduler_svc.domain.demands import Demand, Demands, Need
from scheduler_svc.domain.facts import QueueSettings
from scheduler_svc.domain.projects.lookahead import Chain, Floor, LookAhead, Position, least_flexible_first
from scheduler_svc.domain.queues import Item
from scheduler_svc.simulation.projects import SEED, budget
from scheduler_svc.simulation.world import QUEUE, TENANT, Unit, World, at

END, RELEASE, COMES, GOES = range(4)
MOST_STEPS: Final = 10_000
Row = tuple[int, int, float, int, int]
"""Order, operation, start in minutes, worker, machine."""


def read(path: Path) -> dict[str, Any]:
    raw = path.read_bytes()
    told: dict[str, Any] = json.loads(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)
    return told


class Shop:
    """`milliseconds`: the budget of CPU time for the whole run; None: no looking ahead, the same rows every time."""

    def __init__(self, told: dict[str, Any], milliseconds: float | None = None) -> None:
        self._orders = told["orders"]
        self._world = World(QueueSettings(TENANT, QUEUE, 1, QueuePolicy.EDF))
        self._demands = []
        for index, machine in enumerate(told["machines"]):
            name = f"m{index}"
            self._world.tell(Unit(name, "machine", machine["capacity"]), 0)
            need = Demand(Need("operator", roles=(name,)))
            self._demands.append(Demands.of((Demand(Need("machine"), 1, name), need)))
        self._workers = []
        self._events: list[tuple[float, int, int]] = [(o["release"], RELEASE, i) for i, o in enumerate(self._orders)]
        for index, worker in enumerate(told["workers"]):
            roles = frozenset(f"m{machine}" for machine in worker["skills"])
            self._workers.append(Unit(f"{index:06d}", "operator", worker["capacity"], roles, open=False))
            for begin, end in worker["presence"]:
                self._events += [(begin, COMES, index), (end, GOES, index)]
        heapify(self._events)
        self._here = [0] * len(self._workers)
        self._position = Position(0, self._here)
        self._told: dict[int, tuple[int, float]] = {}
        """Of each order in line the version of its operation and its deadline, as they were told."""
        self._left = sum(len(order["ops"]) for order in self._orders)
        self._milliseconds = milliseconds
        self._ahead = LookAhead(floor_of(told), Random(SEED).random)

    def run(self) -> list[Row]:
        rows = []
        while self._left:
            t = self._events[0][0]
            if self._take(t):
                self._look_ahead(t)
            for placement in self._world.plan(t * 60):
                index, step = divmod(placement.item.pid - 1, MOST_STEPS)
                chain = self._position.chains[index]
                machine, minutes = chain.steps.pop(0)
                chain.ready = inf
                worker = int(placement.candidates[1][0])
                rows.append((index, step, t, worker, machine))
                self._position.running.append((t + minutes, machine, worker, index))
                heappush(self._events, (t + minutes, END, index))
                del self._told[index]
                self._left -= 1
        return rows

    def _take(self, t: float) -> bool:
        """Everything of one instant; whether an operation ended or an order came."""
        self._position.now = t
        news = False
        changed: dict[int, None] = {}
        chains = self._position.chains
        while self._events and self._events[0][0] == t:
            _, kind, index = heappop(self._events)
            if kind == RELEASE:
                news = True
                order = self._orders[index]
                chains[index] = Chain(t, order["due"], [(machine, length) for machine, length in order["ops"]], t)
                self._arrive(index)
            elif kind == END:
                news = True
                chain = chains[index]
                self._world.end(self._pid(index, 1), t * 60)
                self._position.running = [each for each in self._position.running if each[3] != index]
                if chain.steps:
                    chain.ready = t
                    self._arrive(index)
                else:
                    del chains[index]
            else:
                self._here[index] += 1 if kind == COMES else -1
                changed[index] = None
        for index in changed:
            unit = self._workers[index]
            if unit.open != (self._here[index] > 0):
                unit.open = not unit.open
                self._world.tell(unit, t * 60)
        return news

    def _look_ahead(self, t: float) -> None:
        """An even share of what is left of the budget, and the deadlines that follow."""
        if self._milliseconds is None:
            return
        begun = time.process_time()
        self._ahead.improve(self._position, budget(self._milliseconds / (self._left + 1)))
        self._milliseconds -= (time.process_time() - begun) * 1000
        for index, (version, due) in list(self._told.items()):
            if self._due(index) != due:
                self._arrive(index, version + 1)

    def _pid(self, index: int, running: int = 0) -> int:
        step = len(self._orders[index]["ops"]) - len(self._position.chains[index].steps) - running
        return index * MOST_STEPS + step + 1

    def _due(self, index: int) -> float:
        chain = self._position.chains[index]
        return step_due(chain.ready, chain.due, [length for _, length in chain.steps]) + chain.moved

    def _arrive(self, index: int, version: int = 1) -> None:
        chain = self._position.chains[index]
        machine, minutes = chain.steps[0]
        due = self._due(index)
        self._told[index] = (version, due)
        self._world.arrive(
            Item(
                self._pid(index),
                TENANT,
                QUEUE,
                f"m{machine}",
                version,
                50,
                at(chain.ready * 60),
                self._demands[machine],
                due=at(due * 60),
                expected=minutes * 60.0,
            )
        )


def floor_of(told: dict[str, Any]) -> Floor:
    workers = told["workers"]
    shifts = [
        (when, index, sign)
        for index, worker in enumerate(workers)
        for interval in worker["presence"]
        for when, sign in zip(interval, (1, -1), strict=True)
    ]
    return Floor(
        tuple(machine["capacity"] for machine in told["machines"]),
        tuple(worker["capacity"] for worker in workers),
        least_flexible_first([worker["skills"] for worker in workers], len(told["machines"])),
        tuple(sorted(shifts)),
    )
