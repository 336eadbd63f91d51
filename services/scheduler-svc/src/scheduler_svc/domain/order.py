"""Who comes before whom. Every ordering is total: the last criterion is the pid."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from kernel_contracts.vocabulary import QueuePolicy

Key = tuple[Any, ...]
"""Ascending: the smaller goes first. The last element is the pid."""

NEVER: Final = datetime.max.replace(tzinfo=UTC)


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


def by_priority(item: Orderable) -> Key:
    """Priority, highest first; then age, longest READY first; then pid. Also the order between the heads of queues."""
    return (-item.priority, item.ready_at, item.pid)


def by_arrival(item: Orderable) -> Key:
    """`fifo`: longest READY first; then pid."""
    return (item.ready_at, item.pid)


def by_deadline(item: Orderable) -> Key:
    """`edf`: earliest `due` first, those without one last; then priority, age, pid."""
    return (item.due or NEVER, -item.priority, item.ready_at, item.pid)


def by_length(item: Orderable) -> Key:
    """`sjf`: shortest expected duration first, those without one last; then priority, age, pid."""
    return (float("inf") if item.expected is None else item.expected, -item.priority, item.ready_at, item.pid)


ORDERS: Final[Mapping[QueuePolicy, Callable[[Orderable], Key]]] = {
    QueuePolicy.PRIORITY: by_priority,
    QueuePolicy.FIFO: by_arrival,
    QueuePolicy.EDF: by_deadline,
    QueuePolicy.SJF: by_length,
}
"""The policies that there are now; a queue can't be defined with another."""
