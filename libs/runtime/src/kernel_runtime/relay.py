"""The relay: publishes the outbox in id order, by the replica that holds the lease `relay`.

It asks for what is there, not for what comes after a position: transactions overlap, and a cursor would jump over rows that
commit late. Deleting what was published and reading what is next is one statement, fenced by the lease's epoch. Deletions
need no fsync: one that is lost with the machine publishes its messages again, which readers bear. A replica without the lease
tells the holder of its commits by NOTIFY: after them, on a connection of its own, and many at once.
"""

import asyncio
import time

import asyncpg
import orjson
import structlog

from kernel_runtime import metrics
from kernel_runtime.database import AWAY, Database
from kernel_runtime.lease import Lease, LeaseLostError
from kernel_runtime.producer import Publisher, PublishError, Record

log = structlog.get_logger()

LEASE = "relay"
CHANNEL = "kernel_relay"
PAUSE = 0.004
"""Seconds between two notifications: what is committed meanwhile is told by the next."""
SETTLE = 0.05
"""Seconds that a deletion waits for the next reading, to go with it: one statement a batch, and none in the next one's way."""

_NEXT = """
WITH held AS MATERIALIZED (SELECT FROM lease WHERE name = 'relay' AND epoch = $1),
gone AS (DELETE FROM outbox WHERE id = ANY($2::bigint[]) AND EXISTS (SELECT FROM held) RETURNING 1),
next AS (
    SELECT id, topic, key, headers, body FROM outbox
    WHERE id NOT IN (SELECT unnest($2::bigint[])) AND EXISTS (SELECT FROM held) ORDER BY id LIMIT $3)
SELECT next.*, (SELECT count(*) FROM held) AS held FROM (SELECT 1) one LEFT JOIN next ON true ORDER BY next.id
"""


class Relay:
    """`wake()` after a commit makes the holder look at once; else it looks each `interval` seconds."""

    def __init__(
        self,
        database: Database,
        publisher: Publisher,
        lease: Lease,
        *,
        prefix: str = "",
        batch: int = 500,
        interval: float = 1.0,
    ) -> None:
        self._database = database
        self._publisher = publisher
        self._lease = lease
        self._prefix = prefix
        self._batch = batch
        self._interval = interval
        self._woken = asyncio.Event()

    def wake(self) -> None:
        self._woken.set()

    async def run(self) -> None:
        """Forever. Postgres or Kafka away: backs off and goes on."""
        delay = 0.05
        await self._publisher.connect()
        while True:
            try:
                if self._lease.held.is_set():
                    await self._publish()
                else:
                    await self._stand_by()
                delay = 0.05
            except LeaseLostError:
                self._lease.lost()
            except (PublishError, *AWAY, asyncpg.PostgresError) as error:
                log.warning("relay.backs_off", error=str(error) or type(error).__name__, seconds=delay)
                await asyncio.sleep(delay)
                delay = min(delay * 2, 2.0)

    async def _stand_by(self) -> None:
        """Until the lease is ours."""
        held = asyncio.ensure_future(self._lease.held.wait())
        held.add_done_callback(lambda _: self.wake())
        try:
            async with self._database.own_connection(synchronous_commit="off") as connection:
                while not held.done():
                    await self._woken.wait()
                    self._woken.clear()
                    await connection.execute(f"NOTIFY {CHANNEL}")
                    await asyncio.sleep(PAUSE)
        finally:
            held.cancel()

    async def _publish(self) -> None:
        sent: list[int] = []
        async with self._database.own_connection(synchronous_commit="off") as connection:
            await connection.add_listener(CHANNEL, lambda *_: self.wake())
            while (epoch := self._lease.epoch) is not None:
                self._woken.clear()
                rows = await connection.fetch(_NEXT, epoch, sent, self._batch)
                sent = []
                if not rows[0]["held"]:
                    raise LeaseLostError
                if rows[0]["id"] is None:
                    await self._wait(self._interval)
                    continue
                started = time.perf_counter()
                await self._publisher.send(
                    [
                        Record(self._prefix + topic, key, body, orjson.loads(headers))
                        for _, topic, key, headers, body, _ in rows
                    ]
                )
                metrics.RELAY_SECONDS.observe(time.perf_counter() - started)
                metrics.PUBLISHED.inc(len(rows))
                sent = [row["id"] for row in rows]
                if len(rows) < self._batch:
                    await self._wait(SETTLE)

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            pass
