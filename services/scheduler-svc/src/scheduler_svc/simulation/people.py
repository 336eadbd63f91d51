"""Work items for people with skills and shifts (contest A, replays of recorded work): one queue, shortest expected first, aged.

How often a step was done before in its case, what came before it there, and how long such a run takes, the planner learns as
in production: a case is a chain of processes.
"""

from __future__ import annotations

from typing import Any

from kernel_contracts.vocabulary import QueuePolicy

from scheduler_svc.domain.demands import Demand, Demands, Need
from scheduler_svc.domain.facts import QueueSettings
from scheduler_svc.domain.order import DOUBLING
from scheduler_svc.domain.queues import Item
from scheduler_svc.simulation.world import QUEUE, TENANT, Unit, World, at

SETTINGS = QueueSettings(TENANT, QUEUE, 1, QueuePolicy.SJF)


class People:
    def __init__(self, hello: dict[str, Any]) -> None:
        self._world = World(SETTINGS)
        self._services = [str(name) for name in hello["activities"]]
        self._demands = [
            Demands.of((Demand(Need("operator", roles=(str(index),))),)) for index in range(len(self._services))
        ]
        self._people: list[Unit] = []
        self._present: list[int] = []
        for index, person in enumerate(hello["operators"]):
            roles = frozenset(str(skill) for skill in person["skills"])
            unit = Unit(f"{index:06d}", "operator", roles=roles, open=False)
            self._people.append(unit)
            self._present.append(0)
            self._world.tell(unit, 0)

    def answer(self, told: dict[str, Any]) -> dict[str, Any]:
        t = told["t"]
        for item, _ in told["done"]:
            self._world.end(item + 1, t)
        changed: dict[int, None] = {}
        for sign, people in ((1, told["present"]), (-1, told["absent"])):
            for person in people:
                self._present[person] += sign
                changed[person] = None
        for person in changed:
            unit = self._people[person]
            if unit.open != (self._present[person] > 0):
                unit.open = not unit.open
                self._world.tell(unit, t)
        for each in told["ready"]:
            self._world.arrive(self._item(each, t))
        return {"start": [[p.item.pid - 1, int(p.candidates[0][0])] for p in self._world.plan(t)]}

    def _item(self, told: dict[str, Any], t: float) -> Item:
        service = self._services[told["activity"]]
        return Item(
            told["id"] + 1,
            TENANT,
            QUEUE,
            service,
            1,
            min(100, 50 + DOUBLING * told["priority"]),
            at(t),
            self._demands[told["activity"]],
            due=at(told["due"]),
            chain=str(told["case"]),
        )
