"""Everything that planning looks at, kept up to date event by event. Each method is one fact; `planning.plan` decides."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from heapq import heappop, heappush
from typing import Final

from scheduler_svc.domain.demands import Demands, Held, Need, Signature
from scheduler_svc.domain.facts import Definition, QueueSettings, Usage
from scheduler_svc.domain.order import Key
from scheduler_svc.domain.queues import BUSY, Bucket, Item, ItemState, Queue
from scheduler_svc.domain.resources import LOCK_TYPE, Pool, Resource, eligible

ANSWER_TIME: Final = timedelta(seconds=30)
"""A proposal without an answer after this long is sent again, as it was."""
LEAVING_TIME: Final = timedelta(seconds=60)
"""Who has given everything back and is not told to have left after this long is proposed again: the refusal says how it is."""
FIRST_BACK_OFF: Final = timedelta(milliseconds=50)
LONGEST_BACK_OFF: Final = timedelta(seconds=30)
DOUBT_TIME: Final = timedelta(seconds=60)
"""A lock that has been waited for so long without news of it is asked for: the denial says how it really is."""
REMEMBERED: Final = 100_000
"""Of so many processes that left, the version is remembered: what arrives late about them is not new."""


@dataclass(slots=True)
class Changes:
    """What has to be saved."""

    items: dict[int, Item] = field(default_factory=dict)
    removed: dict[int, Item] = field(default_factory=dict)
    resources: dict[tuple[str, str], Resource] = field(default_factory=dict)
    forgotten: dict[tuple[str, str], Resource] = field(default_factory=dict)
    waits: list[tuple[str, str, float]] = field(default_factory=list)
    """(tenant, queue, seconds from READY to granted)."""


@dataclass(slots=True)
class _Kind:
    resources: dict[str, Resource] = field(default_factory=dict)
    pools: list[Pool] = field(default_factory=list)


class State:
    def __init__(self) -> None:
        self.queues: dict[tuple[str, str], Queue] = {}
        self.items: dict[int, Item] = {}
        self.resources: dict[tuple[str, str], Resource] = {}
        self.dirty: dict[Queue, None] = {}
        """Queues in which something may have become possible."""
        self.changes = Changes()
        self._pools: dict[tuple[str, Need], Pool] = {}
        self._kinds: dict[tuple[str, str], _Kind] = {}
        self._gone: dict[int, tuple[int, bool]] = {}
        self._deferred: dict[int, Item] = {}
        self._later: list[tuple[datetime, int]] = []
        self._asked: deque[tuple[datetime, int, str]] = deque()
        self._given: deque[tuple[datetime, int, str]] = deque()
        self._locks: dict[tuple[str, str], int] = {}
        """The versions of locks that were forgotten: what arrives late about them is not new."""
        self._doubts: list[tuple[datetime, str, str]] = []

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

    def left(self, pid: int, version: int, *, ended: bool = False) -> None:
        """It is neither READY nor RUNNING any more."""
        item = self.items.get(pid)
        if item is None:
            if version > self._gone.get(pid, (0, False))[0]:
                self._remember(pid, version, ended)
            return
        if version <= item.latest:
            return
        item.latest = version
        self._out(item)
        if ended or not item.held:
            self._remove(item, ended)
        else:
            item.dispatch_id = None
            self._become(item, ItemState.HOLDING)

    # --- answers to proposals

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
            if any(held.keep for held in kept.values()) and not self._gone.get(pid, (0, False))[1]:
                self._hold(tenant, pid, queue, kept, now)
            return
        if not kept and not ours:
            return
        if ours:
            kept = {id: _more(held, item.held.get(id)) for id, held in kept.items()}
        item.held = {**item.held, **kept}
        if ours:
            self.changes.waits.append((item.tenant, item.queue, (now - item.ready_at).total_seconds()))
            item.denials, item.reason = 0, None
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
        news = self._used(tenant, usage, loaded, now)
        if item is None or not ours:
            return
        self._back_in_line(item, reason, now, at_once=news and item.denials < 2)

    def refused(self, pid: int, dispatch_id: str, version: int, ready: bool, reason: str, now: datetime) -> None:
        """A grant came too late for the process: it had moved on."""
        item = self.items.get(pid)
        if item is None or item.dispatch_id != dispatch_id or item.state not in BUSY:
            return
        item.latest = max(item.latest, version)
        for resource in self._unreserved(item):
            self._settle(resource)
        if ready:
            self._back_in_line(item, reason, now, at_once=item.latest > item.version)
            return
        self._out(item)
        if item.held:
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
        if queue.policy is not told.policy:
            queue.policy = told.policy
            queue.reorder(
                self.items, [line for resource in self.resources.values() for line in resource.parked.items()]
            )
        self.dirty[queue] = None

    # --- looked up, made where missing

    def queue(self, tenant: str, name: str) -> Queue:
        queue = self.queues.get((tenant, name))
        if queue is None:
            queue = self.queues[tenant, name] = Queue(tenant, name)
        return queue

    def resource(self, tenant: str, id: str, type: str) -> Resource:
        resource = self.resources.get((tenant, id))
        if resource is None:
            resource = self.resources[tenant, id] = Resource(tenant, id, type)
            resource.version = self._locks.pop((tenant, id), 0)
            self._kind(tenant, type).resources[id] = resource
        return resource

    def pool(self, tenant: str, need: Need) -> Pool:
        pool = self._pools.get((tenant, need))
        if pool is None:
            pool = self._pools[tenant, need] = Pool(need)
            kind = self._kind(tenant, need.type)
            kind.pools.append(pool)
            for resource in kind.resources.values():
                if eligible(resource, need):
                    pool.add(resource)
        return pool

    def _kind(self, tenant: str, type: str) -> _Kind:
        kind = self._kinds.get((tenant, type))
        if kind is None:
            kind = self._kinds[tenant, type] = _Kind()
        return kind

    # --- for planning

    def wake(self, now: datetime) -> None:
        """Whose back-off has passed is in line again, and who should have left long ago."""
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
        while self._later and self._later[0][0] <= now:
            at, pid = heappop(self._later)
            item = self._deferred.get(pid)
            if item is not None and item.retry_at == at:
                self._enqueue(item)
        while self._doubts and self._doubts[0][0] <= now:
            _, tenant, id = heappop(self._doubts)
            resource = self.resources.get((tenant, id))
            if resource is not None and resource.parked and not self.doubts(resource, now):
                heappush(self._doubts, (max(resource.idle_since, now) + DOUBT_TIME, tenant, id))

    def doubts(self, resource: Resource, now: datetime) -> bool:
        """Whether a lock is taken, as we know it, but there was no news of it for long. Then it counts as free, once."""
        if resource.type != LOCK_TYPE or not resource.used or resource.outstanding:
            return False
        if resource.idle_since + DOUBT_TIME > now:
            return False
        resource.used, resource.version = 0, resource.version - 1
        self._settle(resource)
        return True

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
        self._become(item, ItemState.PROPOSED, slight=True)

    def park(self, item: Item, resource: Resource, units: int, now: datetime) -> None:
        """Out of its bucket until `resource` has room for `units`."""
        if resource.type == LOCK_TYPE and not resource.parked:
            heappush(self._doubts, (max(resource.idle_since + DOUBT_TIME, now), resource.tenant, resource.id))
        assert item.bucket is not None
        assert item.key is not None
        heappop(item.bucket.line)
        heappush(resource.parked.setdefault((item.bucket, units), []), item.key)
        self._next(item)

    def block(self, bucket: Bucket, pools: Iterable[Pool]) -> None:
        """Nothing is free for it; the first gain in one of `pools` wakes it."""
        bucket.blocked = True
        for pool in pools:
            pool.waiting.add(bucket)

    def shelve(self, item: Item) -> None:
        """Its window has closed: not proposed any more."""
        self._dequeue(item)

    def defer(self, item: Item, until: datetime) -> None:
        """Out of line until then."""
        if item.key is not None:
            self._dequeue(item)
        item.retry_at = until
        self._deferred[item.pid] = item
        heappush(self._later, (until, item.pid))
        self._changed(item)

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
        while self._later:
            at, pid = self._later[0]
            if pid in self._deferred and self._deferred[pid].retry_at == at:
                break
            heappop(self._later)
        times = [heap[0][0] for heap in (self._later, self._given, self._doubts) if heap]
        if self._next_asked() is not None:
            times.append(self._asked[0][0])
        return min(times, default=None)

    def _next_asked(self) -> Item | None:
        """The proposal that has waited longest; those that were answered are dropped on the way."""
        while self._asked:
            _, pid, dispatch_id = self._asked[0]
            item = self.items.get(pid)
            if item is not None and item.dispatch_id == dispatch_id and item.state is ItemState.PROPOSED:
                return item
            self._asked.popleft()
        return None

    def take_changes(self) -> Changes:
        """What changed since the last call. Locks that nobody has or waits for are forgotten."""
        changes, self.changes = self.changes, Changes()
        for place, resource in list(changes.resources.items()):
            if resource.idle_lock:
                del changes.resources[place]
                self.resources.pop(place, None)
                self._kind(resource.tenant, resource.type).resources.pop(resource.id, None)
                self._locks[place] = resource.version
                if len(self._locks) > REMEMBERED:
                    del self._locks[next(iter(self._locks))]
                if resource.stored is not None:
                    changes.forgotten[place] = resource
        return changes

    # --- from the store

    def restore_resource(self, resource: Resource) -> None:
        resource.settle()
        self.resources[resource.tenant, resource.id] = resource
        self._kind(resource.tenant, resource.type).resources[resource.id] = resource

    def restore_item(self, item: Item) -> None:
        """After all queues and resources. In order of `proposed_at`."""
        self.items[item.pid] = item
        queue = self.queue(item.tenant, item.queue)
        if item.state in BUSY:
            queue.busy += 1
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

    # --- within

    def _is_old(self, pid: int, version: int) -> bool:
        item = self.items.get(pid)
        known = item.latest if item is not None else self._gone.get(pid, (0, False))[0]
        return version <= known

    def _changed(self, item: Item, *, slight: bool = False) -> None:
        item.slight = slight and item.stored and item.pid not in self.changes.items
        self.changes.items[item.pid] = item

    def _become(self, item: Item, state: ItemState, *, slight: bool = False) -> None:
        before, item.state = item.state in BUSY, state
        after = state in BUSY
        if before != after:
            queue = self.queue(item.tenant, item.queue)
            queue.busy += 1 if after else -1
            if before and queue.limit is not None:
                self.dirty[queue] = None
        self._changed(item, slight=slight)

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

    def _requeue(self, item: Item) -> None:
        """What it holds has changed, and so what it still needs."""
        if item.key is not None:
            self._dequeue(item)
            self._enqueue(item)

    def _enqueue(self, item: Item) -> None:
        if self._deferred.pop(item.pid, None) is not None:
            item.retry_at = None
            self._changed(item)
        demands = item.demands
        item.fixed, item.pooled, signature = demands.fixed, demands.pooled, demands.signature
        if item.held:
            item.fixed, item.pooled, signature = missing(item)
        queue = self.queue(item.tenant, item.queue)
        bucket = queue.buckets.get(signature)
        if bucket is None:
            bucket = queue.bucket(signature, [self.pool(item.tenant, need) for need, _ in signature])
        item.bucket = bucket
        item.key = queue.order(item)
        heappush(bucket.line, item.key)
        self._advance(bucket, item.key)

    def _advance(self, bucket: Bucket, key: Key) -> None:
        if not bucket.blocked and bucket.line[0] is key:
            bucket.queue.activate(bucket)
            self.dirty[bucket.queue] = None

    def _dequeue(self, item: Item) -> None:
        self._deferred.pop(item.pid, None)
        if item.key is not None:
            item.key = None
            if item.fixed:
                self._next(item)

    def _next(self, item: Item) -> None:
        """It has made way: another that needs the same resource may take its place in the bucket."""
        bucket = item.bucket
        assert bucket is not None
        for index in item.fixed:
            demand = item.demands.all[index]
            resource = self.resources.get((item.tenant, demand.resource or ""))
            if resource is not None and resource.parked and resource.room >= demand.units:
                self._unpark(resource, bucket, demand.units)

    def _unpark(self, resource: Resource, bucket: Bucket, units: int) -> None:
        line = resource.parked.get((bucket, units))
        while line:
            key = heappop(line)
            item = self.items.get(key[-1])
            if item is not None and item.key is key:
                heappush(bucket.line, key)
                self._advance(bucket, key)
                break
        if not line:
            resource.parked.pop((bucket, units), None)

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

    def _settle(self, resource: Resource) -> None:
        room, rank = resource.room, resource.rank
        resource.settle()
        if resource.room > max(room, 0):
            for pool in resource.pools:
                pool.offer(resource)
                if pool.waiting:
                    self._wake(pool)
            for bucket, units in list(resource.parked):
                if units <= resource.room:
                    self._unpark(resource, bucket, units)
        elif resource.rank < rank:
            for pool in resource.pools:
                pool.offer(resource)

    def _wake(self, pool: Pool) -> None:
        for bucket in pool.waiting:
            if bucket.blocked:
                bucket.blocked = False
                bucket.queue.activate(bucket)
                self.dirty[bucket.queue] = None
        pool.waiting.clear()


def _more(held: Held, before: Held | None) -> Held:
    return held if before is None else Held(held.type, held.units + before.units, held.keep or before.keep)


def missing(item: Item) -> tuple[tuple[int, ...], tuple[int, ...], Signature]:
    """The demands that what it holds for good does not meet: fixed, pooled, and the signature of those."""
    held = match_held(item)
    demands = item.demands
    pooled = tuple(i for i in demands.pooled if i not in held)
    return (
        tuple(i for i in demands.fixed if i not in held),
        pooled,
        tuple((demands.all[i].need, demands.all[i].units) for i in pooled),
    )


def match_held(item: Item) -> dict[int, str]:
    """Demands that are met by what the process has kept: index -> resource. Each holding meets one demand."""
    left = {id: held for id, held in item.held.items() if held.keep}
    met: dict[int, str] = {}
    for index, demand in enumerate(item.demands.all):
        if not demand.keep:
            continue
        for id, held in left.items():
            same = demand.resource == id if demand.resource is not None else demand.need.type == held.type
            if same and held.units >= demand.units:
                met[index] = id
                del left[id]
                break
    return met
