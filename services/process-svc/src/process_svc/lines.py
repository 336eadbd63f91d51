"""Claims that wait for automatic work, in lines of those who ask for the same."""

import asyncio
import itertools
from dataclasses import dataclass, field
from typing import Any

from process_svc.store.leases import Asked, NewLease

FEW, MANY = 16, 500
"""Processes in one statement for one group of claims: more where the one before found many."""


@dataclass(slots=True, eq=False)
class Waiter:
    """One claim."""

    asked: Asked
    worker: str
    by: str
    max: int
    seconds: float | None
    answer: asyncio.Future[list[Any]] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    number: int = 0
    serving: bool = False
    """The statement that runs, or the batch that commits, may bring it something."""


@dataclass(slots=True, eq=False)
class Line:
    """Those who ask for the same, in the order in which they came; `leaving` go as soon as they were looked at.

    `seen`: the last number that was looked at. `size`: how many processes the next statement may bring.
    """

    waiters: dict[Waiter, None] = field(default_factory=dict)
    leaving: set[Waiter] = field(default_factory=set)
    seen: int = 0
    size: int = FEW

    def rooms(self) -> list[Waiter]:
        """One room each; then the second of those that want two, and so on."""
        hungry = [waiter for waiter in itertools.islice(self.waiters, self.size) if not waiter.serving]
        rooms: list[Waiter] = []
        for taken in itertools.count(1):
            rooms += hungry[: self.size - len(rooms)]
            hungry = [waiter for waiter in hungry if waiter.max > taken]
            if not hungry or len(rooms) == self.size:
                return rooms
        raise AssertionError("unreachable")


def fits(asked: Asked, lease: NewLease) -> bool:
    """The same as the statement asks."""
    return (asked.roles is None or not lease.roles or not set(asked.roles).isdisjoint(lease.roles)) and (
        asked.operator is None or lease.operator is None or lease.operator == asked.operator
    )
