"""Queues, and the items in them: bucketed by what they need, each bucket in the queue's order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from heapq import heapify, heappop, heappush, heapreplace
from typing import TYPE_CHECKING

from kernel_contracts.vocabulary import QueuePolicy

from scheduler_svc.domain.demands import Demands, Held, Signature
from scheduler_svc.domain.order import UNTAGGED, Ageing, Key, order_of
from scheduler_svc.domain.resources import Pool, Resource
from scheduler_svc.domain.shares import Shares

if TYPE_CHECKING:
    from scheduler_svc.domain.backfill import Reservation


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
    chain: str = ""
    """What belongs together: all processes that follow from one another."""
    tries: int = 1
    """The how manieth time this service is READY in its chain, as far as that is known."""
    previous: str = ""
    """The service that was READY before it in its chain, where that is known."""
    tag: float = UNTAGGED
    """Its virtual start, in queues that share."""
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
        "_active", "ageing", "aside", "backfill", "buckets", "busy", "by_number", "given_weights", "learns", "limit", "name",
        "order", "paused", "policy", "reservation", "shares", "tenant", "version",
    )  # fmt: skip

    def __init__(self, tenant: str, name: str) -> None:
        self.tenant = tenant
        self.name = name
        self.version = 0
        self.policy = QueuePolicy.PRIORITY
        self.ageing = Ageing()
        self.order = order_of(self.policy, self.ageing)
        self.given_weights: tuple[tuple[str, float], ...] = ()
        self.shares: Shares | None = None
        """Where the policy is one that shares."""
        self.learns = False
        """Whether durations matter in it."""
        self.backfill = False
        """Whether the first that finds no room gets a reservation, and others go in front of it if they don't delay it."""
        self.reservation: Reservation | None = None
        self.aside: list[tuple[Bucket, Key]] = []
        """In the course of one plan: those that would delay the reservation."""
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

    def put_aside(self, bucket: Bucket) -> None:
        """The first of the bucket makes way for those behind it until the plan is made."""
        self.aside.append((bucket, heappop(bucket.line)))

    def all_back(self) -> None:
        """The plan is made: who was put aside is in line again, and the reservation is gone."""
        self.reservation = None
        if self.aside:
            for bucket, key in self.aside:
                heappush(bucket.line, key)
            self.aside.clear()
            self._active = [(each.line[0], each.number) for each in self.by_number if each.line and not each.blocked]
            heapify(self._active)

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
        self.order = order_of(self.policy, self.ageing)
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
