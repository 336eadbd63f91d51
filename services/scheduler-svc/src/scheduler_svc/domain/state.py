"""Everything that planning looks at, kept up to date event by event. Each method is one fact; `planning.plan` decides."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from kernel_contracts.vocabulary import ProcessState

from scheduler_svc.domain.demands import Demands, Held
from scheduler_svc.domain.facts import Definition, QueueSettings, Usage
from scheduler_svc.domain.held import more
from scheduler_svc.domain.line import REMEMBERED
from scheduler_svc.domain.order import LEARNING
from scheduler_svc.domain.queues import BUSY, Item, ItemState
from scheduler_svc.domain.reckoning import Reckoning, step_of
from scheduler_svc.domain.resources import LOCK_TYPE, Resource, eligible

ANSWER_TIME: Final = timedelta(seconds=30)
"""A proposal without an answer after this long is sent again, as it was."""
LEAVING_TIME: Final = timedelta(seconds=60)
"""Who has given everything back and is not told to have left after this long is proposed again: the refusal says how it is."""
FIRST_BACK_OFF: Final = timedelta(milliseconds=50)
LONGEST_BACK_OFF: Final = timedelta(seconds=30)

NEVER_SEEN: Final = (0, True)
"""A grant of a process that nothing is known of is old news: it ended before the planner was loaded."""


class State(Reckoning):
    def __init__(self) -> None:
        super().__init__()
        self._gone: dict[int, tuple[int, bool]] = {}
        """Of processes that left: the version, and whether they ended. What arrives late about them is not new."""
        self._asked: deque[tuple[datetime, int, str]] = deque()
        self._given: deque[tuple[datetime, int, str]] = deque()

    # --- processes

    def ready(self, item: Item) -> None:
        """A process is READY, or READY in another way than before (assigned); replaces what was known of it."""
        if self._is_old(item.pid, item.version):
            return
        item.latest = item.version
        old = self.items.get(item.pid)
        if old is not None:
            item.held = old.held
            item.stored = old.stored
            self._out(old)
        elif item.pid not in self._gone:
            self.changes.arrivals.append((item.tenant, item.service, item.ready_at))
        queue = self.queue(item.tenant, item.queue)
        if queue.learns:
            self.follow(item)
            if item.expected is None:
                item.expected = self.durations.expected(item.tenant, step_of(item))
        self.items[item.pid] = item
        self._gone.pop(item.pid, None)
        self.changes.removed.pop(item.pid, None)
        self._changed(item)
        self._enqueue(item)

    def prioritized(self, pid: int, version: int, priority: int) -> None:
        """A READY process has another priority."""
        item = self.items.get(pid)
        if item is None or version <= item.latest:
            return
        item.priority = priority
        self.moved(pid, version)
        if item.key is not None:
            self._dequeue(item)
            self._enqueue(item)
        self._changed(item)

    def moved(self, pid: int, version: int) -> None:
        """Its version is another; a proposal under way for the one before will come back as refused."""
        item = self.items.get(pid)
        if item is None or version <= item.latest:
            return
        item.latest = version
        if item.state is ItemState.READY:
            item.version, item.attempt = version, 0
        self._changed(item)

    def runs(self, pid: int, version: int) -> None:
        """It runs by a dispatch that is not ours."""
        item = self.items.get(pid)
        if item is None or version <= item.latest:
            return
        self._out(item)
        item.latest = version
        item.dispatch_id = None
        self._become(item, ItemState.RUNNING)

    def left(self, pid: int, version: int, now: datetime | None = None, *, ended: bool = False) -> None:
        """It is neither READY nor RUNNING any more. How long it ran is learnt where its queue looks at durations."""
        item = self.items.get(pid)
        if item is None:
            known = self._gone.get(pid, (0, False))
            if (version, ended) > known:
                self._remember(pid, version, ended)
            return
        if version < item.latest or (version == item.latest and not ended):
            return
        item.latest = version
        if now is not None and item.state is ItemState.RUNNING and self.queue(item.tenant, item.queue).learns:
            self._learn(item, now)
        self._out(item)
        if ended or not item.held:
            self._remove(item, ended)
        else:
            item.dispatch_id = None
            self._become(item, ItemState.HOLDING)

    # --- proposals and their answers

    def propose(self, item: Item, chosen: Iterable[tuple[Resource, int]], now: datetime) -> None:
        """Its units count against what was chosen until the answer comes."""
        item.reserved = list(chosen)
        for resource, units in item.reserved:
            resource.outstanding += units
            resource.settle()
        self._dequeue(item)
        item.attempt += 1
        item.dispatch_id = f"{item.pid}.{item.version}.{item.attempt}"
        item.proposed_at = now
        item.retry_at = None
        self._asked.append((now + ANSWER_TIME, item.pid, item.dispatch_id))
        queue = self.queue(item.tenant, item.queue)
        if queue.shares is not None:
            queue.shares.placed(item.tag)
        if queue.backfill:
            self._expect_back(item, [(resource.id, units) for resource, units in item.reserved])
        self._become(item, ItemState.PROPOSED, slight=True)

    def granted(
        self, tenant: str, pid: int, dispatch_id: str, queue: str, allocations: Sequence[Usage], now: datetime
    ) -> None:
        """Of another dispatch than the one under way only what is news counts as held: it may come again when it is over."""
        item = self.items.get(pid)
        ours = item is not None and item.dispatch_id == dispatch_id and item.state is ItemState.PROPOSED
        loaded = self._unreserved(item) if item is not None and ours else []
        fresh = allocations if ours else [use for use in allocations if self._is_news(tenant, use)]
        self._used(tenant, allocations, loaded, now)
        kept = {use.resource: Held(use.type, use.units, use.keep) for use in fresh}
        if item is None:
            if any(held.keep for held in kept.values()) and not self._gone.get(pid, NEVER_SEEN)[1]:
                self._hold(tenant, pid, queue, kept, now)
            return
        if not kept and not ours:
            return
        if ours:
            kept = {id: more(held, item.held.get(id)) for id, held in kept.items()}
        item.held = {**item.held, **kept}
        if ours:
            self.changes.waits.append((item.tenant, item.queue, (now - item.ready_at).total_seconds()))
            item.denials, item.reason = 0, None
            if pid in self.returns:
                self._expect_back(item, [(use.resource, use.units) for use in allocations])
            self._become(item, ItemState.RUNNING, slight=True)
        else:
            self._requeue(item)
            self._changed(item)

    def denied(
        self, tenant: str, pid: int, dispatch_id: str, usage: Sequence[Usage], reason: str, now: datetime
    ) -> None:
        """Back in line: at once where the true usage explains the denial, else (or at the third in a row) after a back-off."""
        item = self.items.get(pid)
        ours = item is not None and item.dispatch_id == dispatch_id and item.state is ItemState.PROPOSED
        loaded = self._unreserved(item) if item is not None and ours else []
        if ours:
            self.returns.pop(pid, None)
        news = self._used(tenant, usage, loaded, now)
        if item is None or not ours:
            return
        self._back_in_line(item, reason, now, at_once=news and item.denials < 2)

    def refused(
        self, pid: int, dispatch_id: str, version: int, state: ProcessState | None, reason: str, now: datetime
    ) -> None:
        """A grant came too late for the process: it had moved on to `state`; None where there is no such process."""
        item = self.items.get(pid)
        if item is None or item.dispatch_id != dispatch_id or item.state not in BUSY:
            return
        item.latest = max(item.latest, version)
        self.returns.pop(pid, None)
        for resource in self._unreserved(item):
            self._settle(resource)
        if state is ProcessState.READY:
            self._back_in_line(item, reason, now, at_once=item.latest > item.version)
            return
        self._out(item)
        if state is None or state is ProcessState.TERMINATED:
            self._remove(item, ended=True)
        elif item.held:
            item.dispatch_id = None
            self._become(item, ItemState.HOLDING)
        else:
            self._remove(item, ended=False)

    def released(
        self, tenant: str, pid: int, dispatch_id: str | None, allocations: Sequence[Usage], reason: str, now: datetime
    ) -> None:
        """Units are free again. A proposal that is answered so was granted and given back, unseen by us: it is made anew."""
        item = self.items.get(pid)
        ours = item is not None and item.dispatch_id == dispatch_id
        if self.returns and (ours or item is None or item.state is not ItemState.PROPOSED):
            self.returns.pop(pid, None)
        loaded = self._unreserved(item) if item is not None and ours else []
        self._used(tenant, allocations, loaded, now)
        if item is None:
            return
        if ours and item.state is ItemState.PROPOSED:
            self._back_in_line(item, reason, now, at_once=False)
            return
        held = dict(item.held)
        for use in allocations:
            had = held.pop(use.resource, None)
            if had is not None and had.units > use.units:
                held[use.resource] = Held(had.type, had.units - use.units, had.keep)
        item.held = held
        if item.state is ItemState.HOLDING and not held:
            self._remove(item, ended=False)
            return
        if ours and item.state is ItemState.RUNNING and not held:
            self._given.append((now + LEAVING_TIME, pid, item.dispatch_id or ""))
        if allocations:
            self._requeue(item)
            self._changed(item)

    # --- definitions

    def defined(self, told: Definition, now: datetime) -> None:
        """A resource or operator as it is now. Whoever was denied and waits is tried again."""
        resource = self.resource(told.tenant, told.id, told.type)
        if told.version <= resource.defined:
            return
        if resource.type != told.type:
            for pool in list(resource.pools):
                pool.remove(resource)
            del self._kind(told.tenant, resource.type).resources[told.id]
            resource.type = told.type
            self._kind(told.tenant, told.type).resources[told.id] = resource
        resource.defined = told.version
        resource.open = told.open
        resource.labels, resource.roles, resource.skills = told.labels, told.roles, told.skills
        resource.flexibility = len(told.roles) + len(told.skills)
        if told.version > resource.version:
            resource.version, resource.used, resource.capacity = told.version, told.used, told.capacity
        self._settle(resource)
        for pool in self._kind(told.tenant, told.type).pools:
            fits = eligible(resource, pool.need)
            if fits != (told.id in pool.members):
                if fits:
                    pool.add(resource)
                    if resource.room > 0:
                        self._wake(pool)
                else:
                    pool.remove(resource)
        self.changes.resources[told.tenant, told.id] = resource
        for item in [item for item in self._deferred.values() if item.tenant == told.tenant]:
            item.denials = 0
            self._enqueue(item)

    def define(self, told: QueueSettings) -> None:
        """A queue as it is now."""
        queue = self.queue(told.tenant, told.name)
        if told.version <= queue.version:
            return
        queue.version, queue.limit, queue.paused = told.version, told.limit, told.paused
        queue.learns = told.backfill or told.policy in LEARNING
        if queue.backfill is not told.backfill:
            queue.backfill = told.backfill
            for item in self.items.values():
                if item.queue == told.name and item.tenant == told.tenant and item.state in BUSY:
                    self._know_return(item)
        if (queue.policy, queue.ageing, queue.given_weights) != (told.policy, told.ageing, told.weights):
            queue.policy, queue.ageing, queue.given_weights = told.policy, told.ageing, told.weights
            self._share(queue)
            queue.reorder(
                self.items, [line for resource in self.resources.values() for line in resource.parked.items()]
            )
        self.dirty[queue] = None

    # --- time

    def wake(self, now: datetime) -> None:
        """Whose back-off has passed is in line again, and who gave everything back but never left."""
        while self._given and self._given[0][0] <= now:
            _, pid, dispatch_id = self._given.popleft()
            item = self.items.get(pid)
            if (
                item is not None
                and item.state is ItemState.RUNNING
                and item.dispatch_id == dispatch_id
                and not item.held
            ):
                self._back_in_line(item, item.reason, now, at_once=True)
        super().wake(now)

    def overdue(self, now: datetime) -> list[Item]:
        """Proposals whose answer is missing; each is told again after the same time."""
        found = []
        while (item := self._next_asked()) is not None and self._asked[0][0] <= now:
            self._asked.popleft()
            self._asked.append((now + ANSWER_TIME, item.pid, item.dispatch_id or ""))
            found.append(item)
        return found

    def next_due(self) -> datetime | None:
        """When time alone changes something next."""
        times = [super().next_due(), self._given[0][0] if self._given else None]
        times.append(self._asked[0][0] if self._next_asked() is not None else None)
        return min((at for at in times if at is not None), default=None)

    def _next_asked(self) -> Item | None:
        """The proposal that has waited longest; those that were answered are dropped on the way."""
        while self._asked:
            _, pid, dispatch_id = self._asked[0]
            item = self.items.get(pid)
            if item is not None and item.dispatch_id == dispatch_id and item.state is ItemState.PROPOSED:
                return item
            self._asked.popleft()
        return None

    # --- from the store

    def restore_item(self, item: Item) -> None:
        """After all queues and resources. In order of `proposed_at`."""
        self.items[item.pid] = item
        queue = self.queue(item.tenant, item.queue)
        if item.state in BUSY:
            queue.busy += 1
        if queue.shares is not None and item.tag >= 0:
            queue.shares.restore(item.service, item.tag, item.expected, busy=item.state in BUSY)
        if item.state is ItemState.READY:
            if item.retry_at is None:
                self._enqueue(item)
            else:
                self.defer(item, item.retry_at)
                del self.changes.items[item.pid]
        elif item.state is ItemState.RUNNING and not item.held and item.demands.all and item.proposed_at is not None:
            self._given.append((item.proposed_at + LEAVING_TIME, item.pid, item.dispatch_id or ""))
        elif item.state is ItemState.PROPOSED and item.dispatch_id is not None and item.proposed_at is not None:
            self._asked.append((item.proposed_at + ANSWER_TIME, item.pid, item.dispatch_id))
            for demand, candidates in zip(item.demands.all, item.candidates, strict=False):
                if candidates and candidates[0] not in item.held:
                    resource = self.resource(item.tenant, candidates[0], demand.need.type)
                    item.reserved.append((resource, demand.units))
                    resource.outstanding += demand.units
                    resource.settle()
        if item.state in BUSY:
            self._know_return(item)
        self.restore_chain(item)

    # --- within

    def _is_old(self, pid: int, version: int) -> bool:
        item = self.items.get(pid)
        known = item.latest if item is not None else self._gone.get(pid, (0, False))[0]
        return version <= known

    def _out(self, item: Item) -> None:
        """Neither in line nor proposed nor running."""
        self._dequeue(item)
        for resource in self._unreserved(item):
            self._settle(resource)
        if item.state in BUSY:
            self._become(item, ItemState.READY)

    def _remove(self, item: Item, ended: bool) -> None:
        del self.items[item.pid]
        self.changes.items.pop(item.pid, None)
        if item.stored:
            self.changes.removed[item.pid] = item
        self._remember(item.pid, item.latest, ended)

    def _remember(self, pid: int, version: int, ended: bool) -> None:
        self._gone.pop(pid, None)
        self._gone[pid] = (version, ended)
        if len(self._gone) > REMEMBERED:
            del self._gone[next(iter(self._gone))]

    def _hold(self, tenant: str, pid: int, queue: str, held: dict[str, Held], now: datetime) -> None:
        version = self._gone.pop(pid, (0, False))[0]
        item = Item(pid, tenant, queue, "", version, 0, now, Demands(()), latest=version, held=held)
        item.state = ItemState.HOLDING
        self.items[pid] = item
        self.changes.removed.pop(pid, None)
        self._changed(item)

    def _back_in_line(self, item: Item, reason: str | None, now: datetime, *, at_once: bool) -> None:
        if item.latest > item.version:
            item.version, item.attempt = item.latest, 0
        item.denials += 1
        item.reason = reason
        item.dispatch_id = item.proposed_at = None
        item.candidates = ()
        self._become(item, ItemState.READY)
        if at_once:
            self._enqueue(item)
        else:
            self.defer(item, now + min(FIRST_BACK_OFF * 2 ** min(item.denials - 1, 12), LONGEST_BACK_OFF))

    def _unreserved(self, item: Item) -> list[Resource]:
        """Its reservations are gone; the resources still have to settle."""
        loaded = []
        for resource, units in item.reserved:
            resource.outstanding -= units
            loaded.append(resource)
            self.changes.resources.setdefault((resource.tenant, resource.id), resource)
        item.reserved = []
        return loaded

    def _used(self, tenant: str, told: Sequence[Usage], loaded: list[Resource], now: datetime) -> bool:
        """Takes over usage that is newer than ours; whether any was."""
        news = False
        for use in told:
            resource = self.resource(tenant, use.resource, use.type)
            if use.version > resource.version:
                news = True
                if use.used < resource.used or resource.type == LOCK_TYPE:
                    resource.idle_since = now
                resource.version, resource.used, resource.capacity = use.version, use.used, use.capacity
                self.changes.resources[tenant, resource.id] = resource
                loaded.append(resource)
        for resource in loaded:
            self._settle(resource)
        return news

    def _is_news(self, tenant: str, use: Usage) -> bool:
        resource = self.resources.get((tenant, use.resource))
        return resource is None or use.version > resource.version
