"""A lease: a row that one replica holds at a time, by Postgres' clock, with an epoch that only grows.

Not an advisory lock: a holder that is stopped (SIGSTOP, a long pause) would keep that. Every write of a holder carries the
epoch, so one that wakes up too late changes nothing.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator

import asyncpg
import structlog

from kernel_runtime.database import AWAY, Connection, Database, is_away

log = structlog.get_logger()

_CLAIM = """
INSERT INTO lease (name, holder, epoch, until)
VALUES ($1, $2, 1, clock_timestamp() + make_interval(secs => $3))
ON CONFLICT (name) DO UPDATE SET holder = $2, epoch = lease.epoch + 1, until = clock_timestamp() + make_interval(secs => $3)
WHERE lease.until < clock_timestamp() OR lease.holder = $2
RETURNING epoch
"""
_RENEW = """
UPDATE lease SET until = clock_timestamp() + make_interval(secs => $4)
WHERE name = $1 AND holder = $2 AND epoch = $3
"""
_GIVE_UP = "UPDATE lease SET until = '-infinity' WHERE name = $1 AND holder = $2 AND epoch = $3"


class LeaseLostError(Exception):
    """Somebody else holds it now."""


class Lease:
    """`epoch` is set while this replica holds `name`; `held` can be awaited. The same holder name claims it back at once."""

    def __init__(self, database: Database, name: str, holder: str, ttl: float) -> None:
        self._database = database
        self.name = name
        self._holder = holder
        self._ttl = ttl
        self.epoch: int | None = None
        self.held = asyncio.Event()
        self._lost = asyncio.Event()

    async def keep(self) -> None:
        """Claims and renews until cancelled, then gives it up. Runs as a task of its own."""
        try:
            while True:
                self._lost.clear()
                pause = self._ttl / 3
                try:
                    await self._step()
                except (*AWAY, asyncpg.PostgresError) as error:
                    log.warning("lease.unsure", lease=self.name, error=str(error) or type(error).__name__)
                    self.lost()
                    self._lost.clear()
                    pause = min(0.25, pause)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._lost.wait()
        finally:
            await self._give_up()

    async def check(self, connection: Connection) -> None:
        """Inside the holder's transaction: raises LeaseLostError where the epoch is no longer the newest."""
        row = await connection.fetchval(
            "SELECT 1 FROM lease WHERE name = $1 AND epoch = $2 FOR SHARE", self.name, self.epoch
        )
        if row is None:
            self.lost()
            raise LeaseLostError(f"lease {self.name} was taken over")

    def lost(self) -> None:
        """Called by whoever notices; the next step of `keep` tries to claim it again."""
        if self.epoch is not None:
            log.warning("lease.lost", lease=self.name, epoch=self.epoch)
        self.epoch = None
        self.held.clear()
        self._lost.set()

    async def _step(self) -> None:
        async with self._database.connection() as connection:
            if self.epoch is None:
                epoch = await connection.fetchval(_CLAIM, self.name, self._holder, self._ttl)
                if epoch is not None:
                    self.epoch = epoch
                    self.held.set()
                    log.info("lease.claimed", lease=self.name, epoch=epoch)
            else:
                status = await connection.execute(_RENEW, self.name, self._holder, self.epoch, self._ttl)
                if status != "UPDATE 1":
                    self.lost()

    async def _give_up(self) -> None:
        epoch, self.epoch = self.epoch, None
        self.held.clear()
        if epoch is not None:
            with contextlib.suppress(*AWAY, asyncpg.PostgresError):
                async with self._database.connection() as connection:
                    await connection.execute(_GIVE_UP, self.name, self._holder, epoch)


async def while_held(lease: Lease, work: Callable[[int], Awaitable[None]]) -> None:
    """Runs `work(epoch)` whenever the lease is held, and cancels it when the lease is lost. Forever.

    Postgres away: the work starts anew once the lease is held again. Anything else that it raises ends this too.
    """
    while True:
        await lease.held.wait()
        epoch = lease.epoch
        if epoch is None:
            continue
        task = asyncio.ensure_future(work(epoch))
        try:
            while not task.done() and lease.epoch == epoch:
                await asyncio.wait([task], timeout=0.25)
        finally:
            task.cancel()
            await asyncio.wait([task])
        if task.cancelled():
            continue
        error = task.exception()
        if error is None:
            await asyncio.sleep(0.05)
        elif all(is_away(each) or isinstance(each, LeaseLostError) for each in _single(error)):
            log.warning("lease.work_interrupted", lease=lease.name, error=str(error) or type(error).__name__)
            await asyncio.sleep(0.25)
        else:
            raise error


def _single(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _single(each)
    else:
        yield error
