"""What planning reckons with beside who stands where: how long steps take, when units come back, who has had his share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from kernel_contracts.vocabulary import QueuePolicy

from scheduler_svc.domain.durations import Durations, Known, Step
from scheduler_svc.domain.line import REMEMBERED, Line
from scheduler_svc.domain.order import SHARING, by_arrival
from scheduler_svc.domain.queues import Item, Queue
from scheduler_svc.domain.shares import Shares

COUNTED: Final = 1_000
"""Nobody counts further how often a step was tried."""


@dataclass(frozen=True, slots=True)
class Return:
    """Units that are expected back: of each resource, at `at` (seconds of the epoch)."""

    tenant: str
    at: float
    units: tuple[tuple[str, int], ...]


class Reckoning(Line):
    def __init__(self) -> None:
        super().__init__()
        self.durations = Durations()
        self.returns: dict[int, Return] = {}
        """What will come free, and when, of those that run by queues with backfill: by pid."""
        self._chains: dict[tuple[str, str], tuple[str, dict[str, int]]] = {}
        """Of each chain the service that was READY last, and how often each was."""

    def restore_duration(self, tenant: str, step: Step, known: Known) -> None:
        self.durations.restore(tenant, step, known)

    def follow(self, item: Item) -> None:
        """It goes on with its chain: what came before it there, and how often it did, says how long it will take."""
        if not item.chain:
            return
        place = (item.tenant, item.chain)
        last, times = self._chains.pop(place, ("", {}))
        if len(self._chains) >= REMEMBERED:
            del self._chains[next(iter(self._chains))]
        item.previous = last
        item.tries = min(max(item.tries, times.get(item.service, 0) + 1), COUNTED)
        times[item.service] = item.tries
        self._chains[place] = (item.service, times)

    def restore_chain(self, item: Item) -> None:
        if item.chain and self.queue(item.tenant, item.queue).learns:
            place = (item.tenant, item.chain)
            _, times = self._chains.get(place, ("", {}))
            times[item.service] = max(item.tries, times.get(item.service, 0))
            self._chains[place] = (item.service, times)

    def _learn(self, item: Item, now: datetime) -> None:
        """Its run is over."""
        if item.proposed_at is not None:
            seconds = (now - item.proposed_at).total_seconds()
            place = self.durations.learn(item.tenant, step_of(item), max(0.0, seconds))
            self.changes.learnt[place] = self.durations.steps[place]

    def _expect_back(self, item: Item, units: Sequence[tuple[str, int]]) -> None:
        if item.expected is None or item.proposed_at is None:
            self.returns.pop(item.pid, None)
        else:
            at = item.proposed_at.timestamp() + item.expected
            self.returns[item.pid] = Return(item.tenant, at, tuple(units))

    def _know_return(self, item: Item) -> None:
        """Of one that was proposed or runs, as its queue is now."""
        self.returns.pop(item.pid, None)
        if self.queue(item.tenant, item.queue).backfill:
            had = [(id, held.units) for id, held in item.held.items()]
            self._expect_back(item, had + [(resource.id, units) for resource, units in item.reserved])

    def _share(self, queue: Queue) -> None:
        """After a change of policy: who is in line takes its place in virtual time by age; the time starts anew."""
        queue.shares = None
        if queue.policy not in SHARING:
            return
        queue.shares = Shares()
        if queue.policy is QueuePolicy.WEIGHTED:
            queue.shares.weights = dict(queue.given_weights)
        line = [
            i for i in self.items.values() if i.queue == queue.name and i.tenant == queue.tenant and i.key is not None
        ]
        for item in sorted(line, key=by_arrival):
            item.tag = queue.shares.tag(item.service, item.expected)
            self._changed(item)


def step_of(item: Item) -> Step:
    return Step(item.service, item.tries, item.previous)
