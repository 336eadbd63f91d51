"""Who comes before whom. Every ordering is total: the last criterion is the pid.

An effective priority is a sum of named factors, in seconds: `factors` shows them, and the key of a queue's order is the same
sum without the age, which grows alike for all. So nobody's place changes while it waits, and a heap never has to be
re-keyed (ageing for nothing: ready + k x expected service).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from math import inf
from typing import Any, Final, Protocol

from kernel_contracts.vocabulary import QueuePolicy

from scheduler_svc.domain.durations import PRIOR

Key = tuple[Any, ...]
"""Ascending: the smaller goes first. The last element is the pid."""

DOUBLING: Final = 25
"""So many points of priority double the weight: 50 weighs 1, 100 weighs 4, 0 a quarter."""


class Orderable(Protocol):
    @property
    def pid(self) -> int: ...
    @property
    def priority(self) -> int: ...
    @property
    def ready_at(self) -> datetime: ...
    @property
    def due(self) -> datetime | None: ...
    @property
    def expected(self) -> float | None: ...
    @property
    def tag(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Ageing:
    """Of `sjf`: a second of expected length stands back as long as `factor` seconds of waiting, but never longer than `bound`.

    So it is up to half of the bound; what is longer comes ever nearer to the bound, so of two long ones the shorter still goes
    first. Nothing is passed by what became READY more than `bound` seconds after it.
    """

    factor: float = 480.0
    bound: float = 5 * 86_400.0

    def back(self, length: float) -> float:
        """The seconds by which an expected length, weighted already, puts an item back in line."""
        wanted, half = self.factor * length, self.bound / 2
        if wanted <= half:
            return wanted
        return half + half * (wanted - half) / wanted


STANDARD: Final = Ageing()


@dataclass(frozen=True, slots=True)
class Factor:
    """One part of the effective priority. In `priority` the first is in points and decides before the second; else seconds."""

    name: str
    value: float


def weight_of(priority: int) -> float:
    return float(2.0 ** ((priority - 50) / DOUBLING))


def by_priority(item: Orderable) -> Key:
    """Priority, highest first; then age, longest READY first; then pid. Also the order between the heads of queues."""
    return (-item.priority, item.ready_at, item.pid)


def by_arrival(item: Orderable) -> Key:
    """`fifo`: longest READY first; then pid."""
    return (item.ready_at, item.pid)


def by_slack(item: Orderable) -> Key:
    """`edf`: least slack first, which is `due` less what it is expected to take; no `due` is last; then priority, age, pid."""
    slack = inf if item.due is None else item.due.timestamp() - (item.expected or 0.0)
    return (slack, -item.priority, item.ready_at, item.pid)


def by_length(ageing: Ageing) -> Callable[[Orderable], Key]:
    """`sjf`: shortest expected duration first, weighted by priority, aged; then age, pid."""

    def key(item: Orderable) -> Key:
        length = (PRIOR if item.expected is None else item.expected) / weight_of(item.priority)
        return (item.ready_at.timestamp() + ageing.back(length), item.ready_at, item.pid)

    return key


def by_share(item: Orderable) -> Key:
    """`fair`, `weighted`: the earliest virtual start first (start-time fair queueing, Goyal et al.); then pid."""
    return (item.tag, item.pid)


LEARNING: Final = frozenset({QueuePolicy.EDF, QueuePolicy.SJF, QueuePolicy.FAIR, QueuePolicy.WEIGHTED})
"""Policies that look at durations: in their queues they are learnt."""
UNTAGGED: Final = -1.0
SHARING: Final = frozenset({QueuePolicy.FAIR, QueuePolicy.WEIGHTED})

_ORDERS: Final[Mapping[QueuePolicy, Callable[[Orderable], Key]]] = {
    QueuePolicy.PRIORITY: by_priority,
    QueuePolicy.FIFO: by_arrival,
    QueuePolicy.EDF: by_slack,
    QueuePolicy.FAIR: by_share,
    QueuePolicy.WEIGHTED: by_share,
}


def order_of(policy: QueuePolicy, ageing: Ageing) -> Callable[[Orderable], Key]:
    return by_length(ageing) if policy is QueuePolicy.SJF else _ORDERS[policy]


def factors(item: Orderable, policy: QueuePolicy, ageing: Ageing, now: datetime) -> tuple[Factor, ...]:
    """What an item's place in line is made of; the higher their sum, the sooner (`priority`: compared one by one)."""
    age = Factor("age", (now - item.ready_at).total_seconds())
    expected = PRIOR if item.expected is None else item.expected
    if policy is QueuePolicy.PRIORITY:
        return Factor("priority", float(item.priority)), age
    if policy is QueuePolicy.FIFO:
        return (age,)
    if policy is QueuePolicy.EDF:
        if item.due is None:
            return ()
        return Factor("deadline", (now - item.due).total_seconds()), Factor("length", item.expected or 0.0)
    if policy in SHARING:
        return (Factor("share", -item.tag),)
    length = ageing.factor * expected
    weighted = length / weight_of(item.priority)
    bounded = ageing.back(expected / weight_of(item.priority))
    return age, Factor("length", -length), Factor("weight", length - weighted), Factor("bound", weighted - bounded)
