"""Rigid jobs on identical processors (contest B, traces in the Standard Workload Format): a queue with backfill."""

from __future__ import annotations

from typing import Any

from kernel_contracts.vocabulary import QueuePolicy

from scheduler_svc.domain.demands import Demand, Demands, Need
from scheduler_svc.domain.facts import QueueSettings
from scheduler_svc.domain.order import Ageing
from scheduler_svc.domain.queues import Item
from scheduler_svc.simulation.world import QUEUE, TENANT, Unit, World, at

SETTINGS = QueueSettings(TENANT, QUEUE, 1, QueuePolicy.SJF, ageing=Ageing(2.0, 1.5 * 86_400.0), backfill=True)
"""A second of a job's estimate stands back for two of waiting: jobs are about as long as their waits."""
POOL = Need("processor")


class Batch:
    def __init__(self, hello: dict[str, Any]) -> None:
        self._world = World(SETTINGS)
        self._world.tell(Unit("pool", POOL.type, hello["procs"]), 0)
        self._demands: dict[int, Demands] = {}

    def answer(self, told: dict[str, Any]) -> dict[str, Any]:
        t = told["t"]
        for job in told["done"]:
            self._world.end(job + 1, t)
        for job in told["submit"]:
            procs = job["procs"]
            demands = self._demands.get(procs)
            if demands is None:
                demands = self._demands[procs] = Demands.of((Demand(POOL, procs),))
            item = Item(job["id"] + 1, TENANT, QUEUE, "job", 1, 50, at(t), demands, expected=float(job["est"]))
            self._world.arrive(item)
        return {"start": [placement.item.pid - 1 for placement in self._world.plan(t)]}
