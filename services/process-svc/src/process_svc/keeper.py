"""Keeps the ledger, one replica at a time, by lease: signs checkpoints, makes partitions ahead, drops what need not be kept."""

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import orjson
import structlog
from kernel_runtime.database import Database, is_away
from kernel_runtime.lease import Lease

from process_svc import wire
from process_svc.http.ledger import told
from process_svc.settings import Settings
from process_svc.signing import Signer, dropped
from process_svc.store import checkpoints, partitions
from process_svc.store.checkpoints import Checkpoint

MANY = 1_000
LOOK = 600.0
"""Seconds between two looks for partitions to drop."""

log = structlog.get_logger()


class Keeper:
    """Without a `signer` no checkpoints are made."""

    def __init__(self, database: Database, lease: Lease, signer: Signer | None, settings: Settings) -> None:
        self._database = database
        self._lease = lease
        self._signer = signer
        self._keep = settings.retention
        self._every = settings.checkpoint_every
        self._file = settings.checkpoint_file
        self._looked = float("-inf")

    async def run(self, _: int) -> None:
        """Forever, while the lease is held."""
        if self._signer is None:
            log.warning(
                "checkpoint.no_key", hint="KERNEL_CHECKPOINT_KEY is empty: a cut tail of the journal won't show"
            )
        await self.catch_up()
        while True:
            for step in (self.make_ahead, self.checkpoints, self.look, self.clear_all):
                await self.attempt(step)
            await asyncio.sleep(self._every)

    async def attempt(self, step: Callable[[], Awaitable[object]]) -> None:
        """Tables that somebody has meddled with are no reason to stop serving: it is said, and the rest goes on."""
        try:
            await step()
        except asyncpg.PostgresError as error:
            if is_away(error):
                raise
            log.error("ledger.failed", step=step.__name__, error=f"{type(error).__name__}: {error}")

    async def checkpoints(self) -> None:
        while await self.checkpoint():
            pass

    async def look(self) -> None:
        """For partitions to drop, every now and then."""
        if self._keep is not None and time.monotonic() - self._looked > LOOK:
            self._looked = time.monotonic()
            await self.retain(self._keep)

    async def clear_all(self) -> None:
        while await self.clear():
            pass

    async def catch_up(self) -> None:
        """Adds to the file what is missing at its end: another replica signed it, or died before it was written down."""
        if self._file is None:
            return
        reached = await asyncio.to_thread(in_file, self._file)
        while True:
            async with self._database.connection() as connection:
                found = await checkpoints.behind(connection, reached, MANY)
            if not found:
                return
            await asyncio.to_thread(append, self._file, found)
            reached |= {each.tenant: each.number for each in found}

    async def make_ahead(self) -> None:
        """Partitions for processes that are still to be made."""
        async with self._database.transaction() as connection:
            await self._lease.check(connection)
            for lower in await partitions.make_ahead(connection):
                log.info("partition.made", lower=lower)

    async def retain(self, keep: timedelta) -> None:
        """Drops partitions all of whose processes ended longer ago, where none is under a legal hold."""
        async with self._database.connection() as connection:
            full = await partitions.full(connection)
        for lower, upper in full:
            try:
                await self._drop(lower, upper, keep)
            except asyncpg.LockNotAvailableError:
                log.info("partition.busy", lower=lower, hint="it is tried again")

    async def _drop(self, lower: int, upper: int, keep: timedelta) -> None:
        async with self._database.connection() as connection:
            if await partitions.needed(connection, lower, upper, keep):
                return
            found = await partitions.contents(connection, lower, upper)
        async with self._database.transaction() as connection:
            await self._lease.check(connection)
            if not await partitions.drop(connection, lower, upper):
                return
            now = datetime.now(UTC)
            text = dropped(lower, upper, now, found)
            signed = None if self._signer is None else self._signer.sign_text(text)
            await partitions.record(connection, lower, now, found, signed)
        log.info("partition.dropped", lower=lower, upper=upper, processes=found.processes, rows=found.rows)

    async def clear(self) -> bool:
        """Takes contexts off processes whose history was dropped; whether there may be more."""
        async with self._database.transaction() as connection:
            await self._lease.check(connection)
            return await partitions.clear(connection)

    async def checkpoint(self) -> bool:
        """Signs what has changed; whether there is more."""
        if self._signer is None:
            return False
        async with self._database.transaction() as connection:
            await self._lease.check(connection)
            upto, due, more = await checkpoints.collect(connection)
            now = datetime.now(UTC)
            new = [self._signer.sign(each, upto, now) for each in due]
            if new:
                await checkpoints.add(connection, new)
        for each in new:
            log.info("checkpoint.signed", tenant=each.tenant, number=each.number, hash=each.hash.hex())
        if new and self._file is not None:
            await asyncio.to_thread(append, self._file, new)
        return more and bool(new)


def in_file(file: Path) -> dict[str, int]:
    """tenant -> the greatest number in the file. A line that was cut off is ended, so that the next one stands alone."""
    reached: dict[str, int] = {}
    if not file.exists():
        return reached
    with file.open("rb") as lines:
        line = b"\n"
        for line in lines:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                told = orjson.loads(line)
                reached[told["tenant"]] = max(told["number"], reached.get(told["tenant"], 0))
    if not line.endswith(b"\n"):
        with file.open("ab") as out:
            out.write(b"\n")
    return reached


def append(file: Path, new: Sequence[Checkpoint]) -> None:
    """A line of JSON each: kept outside of the database, they show where that was set back."""
    lines = b"".join(wire.canonical(told(each)).encode() + b"\n" for each in new)
    with file.open("ab") as out:
        out.write(lines)
        out.flush()
        os.fsync(out.fileno())
