"""Queues, and the items in them: bucketed by what they need, each bucket in the queue's order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from heapq import heapify, heappop, heappush, heapreplace

from kernel_contracts.vocabulary import QueuePolicy

from scheduler_svc.domain.demands import Demands, Held, Signature
from scheduler_svc.domain.order import ORDERS, Key
from scheduler_svc.domain.resources import Pool, Resource


class ItemState(StrEnum):
    READY = "ready"
    PROPOSED = "proposed"
    RUNNING = "running"
    """Granted; it runs, or is about to."""
    HOLDING = "holding"
    """Not in line, but still has units (waiting, suspended)."""


BUSY = (ItemState.PROPOSED, ItemState.RUNNING)

Candidates = tuple[tuple[str, ...], ...]
"""For each demand the ids of the resources proposed for it, best first."""


@dataclass(slots=True, eq=False)
class Item:
    """A process in line, or one that has units. `latest` is its version; `version` the one that was proposed or will be."""

    pid: int
    tenant: str
    queue: str
    service: str
    version: int
    priority: int
    ready_at: datetime
    demands: Demands
    not_after: datetime | None = None
    due: datetime | None = None
    expected: float | None = None
    """Seconds."""
    cause: str = ""
    """Where it came from, as the outer layers keep it."""
    state: ItemState = ItemState.READY
    attempt: int = 0
    """Proposals made for this version."""
    dispatch_id: str | None = None
    proposed_at: datetime | None = None
    candidates: Candidates = ()
    held: dict[str, Held] = field(default_factory=dict)
    denials: int = 0
    reason: str | None = None
    """Why it was denied the last time, as the outer layers keep it."""
    retry_at: datetime | None = None
    latest: int = 0
    reserved: list[tuple[Resource, int]] = field(default_factory=list)
    stored: bool = False
    """Whether there is a row of it."""
    slight: bool = False
    """Nothing has changed since it was saved but that it was proposed, or that its proposal was granted."""
    key: Key | None = None
    """Its place in line; None while it is in none."""
    fixed: tuple[int, ...] = ()
    bucket: Bucket | None = None
    pooled: tuple[int, ...] = ()
    """Demands that it still needs (what it holds already is not asked for), by index."""


class Bucket:
    """Items of one queue with one signature. Blocked: nothing was free for it; its pools wake it."""

    __slots__ = ("blocked", "line", "number", "pools", "queue", "signature")

    def __init__(self, queue: Queue, signature: Signature, pools: list[Pool], number: int) -> None:
        self.queue = queue
        self.signature = signature
        self.pools = pools
        self.number = number
        self.line: list[Key] = []
        self.blocked = False

    def head(self, items: Mapping[int, Item]) -> Item | None:
        """The first that is still in line with the key it was put in with."""
        line = self.line
        while line:
            key = line[0]
            item = items.get(key[-1])
            if item is not None and item.key is key:
                return item
            heappop(line)
        return None


class Queue:
    """A scheduling domain. `busy` counts what was proposed or runs, against the limit."""

    __slots__ = (
        "_active",
        "buckets",
        "busy",
        "by_number",
        "limit",
        "name",
        "order",
        "paused",
        "policy",
        "tenant",
        "version",
    )

    def __init__(self, tenant: str, name: str) -> None:
        self.tenant = tenant
        self.name = name
        self.version = 0
        self.policy = QueuePolicy.PRIORITY
        self.order = ORDERS[self.policy]
        self.limit: int | None = None
        self.paused = False
        self.busy = 0
        self.buckets: dict[Signature, Bucket] = {}
        self.by_number: list[Bucket] = []
        self._active: list[tuple[Key, int]] = []

    @property
    def open(self) -> bool:
        return not self.paused and (self.limit is None or self.busy < self.limit)

    def bucket(self, signature: Signature, pools: list[Pool]) -> Bucket:
        made = Bucket(self, signature, pools, len(self.by_number))
        self.buckets[signature] = made
        self.by_number.append(made)
        return made

    def activate(self, bucket: Bucket) -> None:
        """Its head competes from now on."""
        if bucket.line and not bucket.blocked:
            heappush(self._active, (bucket.line[0], bucket.number))

    def head(self, items: Mapping[int, Item]) -> tuple[Bucket, Item] | None:
        """The first item in the queue's order among the buckets that are not blocked."""
        active = self._active
        while active:
            key, number = active[0]
            bucket = self.by_number[number]
            item = None if bucket.blocked else bucket.head(items)
            if item is None:
                heappop(active)
            elif item.key is not key:
                heapreplace(active, (bucket.line[0], number))
            else:
                return bucket, item
        return None

    def reorder(self, items: Mapping[int, Item], parked: Iterable[tuple[tuple[Bucket, int], list[Key]]]) -> None:
        """After a change of policy: every item in line gets a new place, those that are parked too."""
        self.order = ORDERS[self.policy]
        self._active = []
        for bucket in self.by_number:
            bucket.line = self._renewed(bucket.line, items)
            self.activate(bucket)
        for (bucket, _), line in parked:
            if bucket.queue is self:
                line[:] = self._renewed(line, items)

    def _renewed(self, line: list[Key], items: Mapping[int, Item]) -> list[Key]:
        renewed: list[Key] = []
        for key in line:
            item = items.get(key[-1])
            if item is not None and item.key is key:
                item.key = self.order(item)
                renewed.append(item.key)
        heapify(renewed)
        return renewed


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """A queue's definition, as far as planning looks at it."""

    tenant: str
    name: str
    version: int
    policy: QueuePolicy
    limit: int | None
    paused: bool
