"""Who stands where in line, and which resources there are: the mechanics under `state`, which takes in the facts.

A bucket competes while it is active; blocked, its pools wake it; an item whose own resource is taken is parked there; one
that backs off is deferred. Whatever gains room wakes exactly those that wait for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from heapq import heappop, heappush
from typing import Final

from scheduler_svc.domain.demands import Need
from scheduler_svc.domain.durations import Known, Step
from scheduler_svc.domain.held import missing
from scheduler_svc.domain.order import Key
from scheduler_svc.domain.queues import BUSY, Bucket, Item, ItemState, Queue
from scheduler_svc.domain.resources import LOCK_TYPE, Pool, Resource, eligible

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
    arrivals: list[tuple[str, str, datetime]] = field(default_factory=list)
    """(tenant, service, when) of processes that are READY for the first time."""
    learnt: dict[tuple[str, Step], Known] = field(default_factory=dict)
    """What is known now of how long steps take."""


@dataclass(slots=True)
class _Kind:
    resources: dict[str, Resource] = field(default_factory=dict)
    pools: list[Pool] = field(default_factory=list)


class Line:
    def __init__(self) -> None:
        self.queues: dict[tuple[str, str], Queue] = {}
        self.items: dict[int, Item] = {}
        self.resources: dict[tuple[str, str], Resource] = {}
        self.dirty: dict[Queue, None] = {}
        """Queues in which something may have become possible."""
        self.changes = Changes()
        self._pools: dict[tuple[str, Need], Pool] = {}
        self._kinds: dict[tuple[str, str], _Kind] = {}
        self._deferred: dict[int, Item] = {}
        self._later: list[tuple[datetime, int]] = []
        self._locks: dict[tuple[str, str], int] = {}
        """The versions of locks that were forgotten: what arrives late about them is not new."""
        self._doubts: list[tuple[datetime, str, str]] = []

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
        """Whose back-off has passed is in line again; locks that were waited for too long are doubted."""
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

    def restore_resource(self, resource: Resource) -> None:
        resource.settle()
        self.resources[resource.tenant, resource.id] = resource
        self._kind(resource.tenant, resource.type).resources[resource.id] = resource

    def next_due(self) -> datetime | None:
        """When time alone changes something next."""
        while self._later:
            at, pid = self._later[0]
            if pid in self._deferred and self._deferred[pid].retry_at == at:
                break
            heappop(self._later)
        return min((heap[0][0] for heap in (self._later, self._doubts) if heap), default=None)

    # --- within

    def _changed(self, item: Item, *, slight: bool = False) -> None:
        item.slight = slight and item.stored and item.pid not in self.changes.items
        self.changes.items[item.pid] = item

    def _become(self, item: Item, state: ItemState, *, slight: bool = False) -> None:
        before, item.state = item.state in BUSY, state
        after = state in BUSY
        if before != after:
            queue = self.queue(item.tenant, item.queue)
            queue.busy += 1 if after else -1
            if before and (queue.limit is not None or queue.backfill):
                self.dirty[queue] = None
        self._changed(item, slight=slight)

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
        if queue.shares is not None and item.tag < 0:
            item.tag = queue.shares.tag(item.service, item.expected)
            self._changed(item)
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
