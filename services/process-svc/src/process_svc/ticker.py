"""Time, and what a batch has left to do: sent through the pipeline as commands of our own.

Time drives one replica at a time, by lease. It sleeps until the next thing is due, a second at most (another replica may have
made something due), and is woken where this replica made something due earlier. Follow-ups are sent right after their commit by
the replica that wrote them; the ticker finds those of a replica that died.
"""

import asyncio
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

from kernel_runtime.command import Answer, Cause, Command
from kernel_runtime.database import Database
from kernel_runtime.pipeline import Pipeline
from prometheus_client import Gauge

from process_svc.handlers.bodies import Lapse, Tick
from process_svc.handlers.work import unpacked
from process_svc.store import follow_ups as store
from process_svc.store.follow_ups import COMPENSATE, JOIN, SPAWN, TURN, FollowUp
from process_svc.store.leases import counts, lapsed
from process_svc.store.processes import due
from process_svc.wire import SOURCE

BATCH = 500
LONGEST = 1.0
"""Seconds between two looks, at most."""


LEASES = Gauge(
    "kernel_work_leases", "Running processes of programs: open to be claimed, or held by a worker.", ("state",)
)
MEASURE = 5.0
"""Seconds between two counts of them."""


class Ticker:
    """`abandoned`: seconds after which a follow-up counts as left behind."""

    def __init__(self, database: Database, pipeline: Pipeline, *, abandoned: float = 3.0) -> None:
        self._database = database
        self._pipeline = pipeline
        self._abandoned = abandoned
        self._next: datetime | None = None
        self._earlier = asyncio.Event()
        self._measured = 0.0

    def wake(self, at: datetime) -> None:
        """Something is due at `at`."""
        if self._next is None or at < self._next:
            self._earlier.set()

    async def run(self, _: int) -> None:
        """Forever, while the lease is held."""
        while True:
            self._earlier.clear()
            wait = await self._pass()
            self._next = datetime.fromtimestamp(datetime.now(UTC).timestamp() + wait, UTC)
            if wait > 0:
                try:
                    async with asyncio.timeout(wait):
                        await self._earlier.wait()
                except TimeoutError:
                    pass

    async def _pass(self) -> float:
        """Carries out what is due; in how many seconds to look again."""
        async with self._database.connection() as connection:
            now_due, wait = await due(connection, BATCH)
            left = await store.abandoned(connection, self._abandoned, BATCH)
            silent = await lapsed(connection, BATCH)
            if self._measured + MEASURE < (now := time.monotonic()):
                self._measured = now
                for state, number in zip(("open", "held"), await counts(connection), strict=True):
                    LEASES.labels(state).set(number)
        work = [[tick(pid, tenant) for pid, tenant in now_due]] if now_due else []
        if silent:
            work.append([lapse(pid, tenant, token) for pid, tenant, token in silent])
        for part in (*work, *parts(left)):
            if not all(isinstance(result, Answer) for result in await self._pipeline.submit_all(part)):
                return LONGEST
        if BATCH in (len(now_due), len(left), len(silent)):
            return 0.0
        return LONGEST if wait is None else min(max(wait, 0.005), LONGEST)


def tick(pid: int, tenant: str) -> Command:
    id = uuid.uuid4().hex
    return Command(id, "tick", tenant, Tick(pid), SOURCE, Cause(None, id))


def lapse(pid: int, tenant: str, token: int) -> Command:
    id = uuid.uuid4().hex
    return Command(id, "lapse", tenant, Lapse(pid, token), SOURCE, Cause(None, id))


def follow_up(body: FollowUp) -> Command:
    """Caused by the same as the change that it follows from."""
    return Command(f"follow-up-{body.id}", "follow_up", "", body, SOURCE, unpacked(body.cause))


def parts(found: Sequence[FollowUp]) -> list[list[Command]]:
    """What may be carried out in one transaction each: those that touch many relatives alone."""
    light = [follow_up(each) for each in found if _is_light(each)]
    heavy = [[follow_up(each)] for each in found if not _is_light(each)]
    return [light, *heavy] if light else heavy


def _is_light(each: FollowUp) -> bool:
    return each.kind in (JOIN, TURN, COMPENSATE) or (each.kind == SPAWN and each.position == 1)


class FollowUps:
    """Sends what a batch has left for relatives through the pipeline, right after its commit."""

    def __init__(self) -> None:
        self.pipeline: Pipeline | None = None
        self._running: set[asyncio.Task[object]] = set()

    def __call__(self, found: Sequence[FollowUp]) -> None:
        if self.pipeline is None:
            return
        for part in parts(found):
            task: asyncio.Task[object] = asyncio.ensure_future(self.pipeline.submit_all(part))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
