"""Keeps the ledger: signs a checkpoint from time to time, of one replica at a time, by lease."""

import asyncio
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import structlog
from kernel_runtime.database import Database
from kernel_runtime.lease import Lease

from process_svc import wire
from process_svc.http.ledger import told
from process_svc.settings import Settings
from process_svc.signing import Signer
from process_svc.store import checkpoints
from process_svc.store.checkpoints import Checkpoint

log = structlog.get_logger()


class Keeper:
    """Without a `signer` no checkpoints are made."""

    def __init__(self, database: Database, lease: Lease, signer: Signer | None, settings: Settings) -> None:
        self._database = database
        self._lease = lease
        self._signer = signer
        self._every = settings.checkpoint_every
        self._file = settings.checkpoint_file

    async def run(self, _: int) -> None:
        """Forever, while the lease is held."""
        if self._signer is None:
            log.warning(
                "checkpoint.no_key", hint="KERNEL_CHECKPOINT_KEY is empty: a cut tail of the journal won't show"
            )
        while True:
            while await self.checkpoint():
                pass
            await asyncio.sleep(self._every)

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
        return more


def append(file: Path, new: Sequence[Checkpoint]) -> None:
    """A line of JSON each: kept outside of the database, they show where that was set back."""
    lines = b"".join(wire.canonical(told(each)).encode() + b"\n" for each in new)
    with file.open("ab") as out:
        out.write(lines)
        out.flush()
        os.fsync(out.fileno())
