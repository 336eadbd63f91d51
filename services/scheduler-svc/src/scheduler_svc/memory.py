"""The planner's model in memory: valid for one epoch of the lease, and only as long as every transaction succeeds."""

import asyncio
import gc
import time
from datetime import UTC, datetime

import structlog
from kernel_runtime.database import Connection
from kernel_runtime.lease import Lease, LeaseLostError

from scheduler_svc.domain.state import State
from scheduler_svc.store.arrivals import Arrivals
from scheduler_svc.store.planner import load_state
from scheduler_svc.store.waits import Waits

log = structlog.get_logger()

CLOCKS_APART = 0.01
"""Seconds between looking again, where Postgres' clock, which decides, is behind ours."""


class Memory:
    """`state` mirrors the database. Whoever can't be sure of that drops it; the next batch reads it again."""

    def __init__(self, lease: Lease, most: int) -> None:
        self.lease = lease
        self.most = most
        self.waits = Waits()
        self.arrivals = Arrivals()
        self.waits_saved = 0.0
        self._state: State | None = None
        self._epoch: int | None = None
        self._woken = asyncio.Event()

    async def open(self, connection: Connection) -> State:
        """Within a transaction: the state, if the lease is still ours then; raises LeaseLostError otherwise."""
        epoch = self.lease.epoch
        if epoch is None:
            raise LeaseLostError("another replica plans")
        await self.lease.check(connection)
        if self._state is None or self._epoch != epoch:
            started = time.perf_counter()
            self._state = await load_state(connection)
            self._epoch = epoch
            _spare_the_collector()
            log.info(
                "planner.loaded",
                epoch=epoch,
                items=len(self._state.items),
                resources=len(self._state.resources),
                seconds=round(time.perf_counter() - started, 3),
            )
        return self._state

    def drop(self) -> None:
        """A transaction failed: what is in memory may be ahead of the database."""
        self._state = None
        self._woken.set()

    def wake(self) -> None:
        """Something may be due earlier than it was."""
        self._woken.set()

    async def due(self) -> None:
        """Returns when time, or a plan that was cut short, calls for another batch."""
        while True:
            self._woken.clear()
            state = self._state
            if state is None or state.dirty:
                return
            at = state.next_due()
            seconds = 1.0 if at is None else (at - datetime.now(UTC)).total_seconds()
            if seconds <= 0:
                await asyncio.sleep(CLOCKS_APART)
                return
            if (self.waits or self.arrivals) and time.monotonic() - self.waits_saved > 1.0:
                return
            try:
                async with asyncio.timeout(min(seconds, 1.0)):
                    await self._woken.wait()
            except TimeoutError:
                pass


def _spare_the_collector() -> None:
    """What was loaded stays and makes no cycles: looking through it again and again would stop the planner for long."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 1_000)
