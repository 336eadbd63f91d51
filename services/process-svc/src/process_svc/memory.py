"""What a replica keeps between its batches: definitions, fresh numbers, and whom it tells what a batch has left to do."""

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from kernel_runtime.database import Connection

from process_svc.catalog import Catalog
from process_svc.store import processes as store
from process_svc.store.attributes import Paths
from process_svc.store.follow_ups import FollowUp
from process_svc.store.leases import NewLease

OLDEST = 600.0
"""Seconds after which a number is no longer used: the place of an old pid may have been dropped by the retention."""


class Numbers:
    """Numbers of one sequence, fetched many at a time; what a batch does not use the next one does."""

    def __init__(self, sequence: str) -> None:
        self._sequence = sequence
        self._fresh: list[int] = []
        self._since = 0.0

    async def have(self, connection: Connection, count: int) -> None:
        """At least `count` from now on. A sequence does not roll back, so these are fresh whatever becomes of the batch."""
        now = time.monotonic()
        if now - self._since > OLDEST:
            self._fresh = []
        missing = count - len(self._fresh)
        if missing > 0:
            self._fresh = await store.next_numbers(connection, self._sequence, missing) + self._fresh
            self._since = now

    def peek(self) -> int:
        """What `next` will give."""
        return self._fresh[-1]

    def next(self) -> int:
        return self._fresh.pop()


def _nobody(_: Sequence[FollowUp]) -> None:
    pass


def _never(_: datetime) -> None:
    pass


def _idle() -> None:
    pass


class Takers(Protocol):
    """Those who wait for work in this replica: the desk. A taker has `worker`, `by`, and the `seconds` of its lease or None."""

    def reserve(self, new: Sequence[NewLease]) -> Mapping[int, Any]:
        """pid -> the taker that gets it where this batch commits; the others are open to everybody."""

    def free(self, takers: Iterable[Any]) -> None:
        """It did not commit."""

    def hand_over(self, taken: Mapping[Any, Sequence[Mapping[str, Any]]]) -> None:
        """It did: the processes that each taker gets."""

    def offer(self, services: Collection[tuple[str, str]]) -> None:
        """There is something to be claimed of these (tenant, service)."""


class Memory:
    """`follow_up` is called with what a batch has left for relatives, `due` with when time has something to do.

    `go_on` is called where a bulk job has something to go on with. `takers` wait for work by programs.
    """

    def __init__(
        self,
        follow_up: Callable[[Sequence[FollowUp]], None] = _nobody,
        due: Callable[[datetime], None] = _never,
    ) -> None:
        self.catalog = Catalog()
        self.pids = Numbers("pid")
        self.incidents = Numbers("incident_id")
        self.holds = Numbers("hold_id")
        self.calls = Numbers("call_id")
        self.follow_up = follow_up
        self.due = due
        self.jobs = Numbers("job_id")
        self.paths: Paths = {}
        """What any version of a service declares to be indexed; as it was at `paths_at`, of the monotonic clock."""
        self.paths_at = -1e9
        self.go_on: Callable[[], None] = _idle
        self.takers: Takers | None = None

    def tell(self, follow_ups: Sequence[FollowUp], times: Iterable[datetime]) -> None:
        """After the commit."""
        if follow_ups:
            asyncio.get_running_loop().call_soon(self.follow_up, follow_ups)
        if (first := min(times, default=None)) is not None:
            self.due(first)
