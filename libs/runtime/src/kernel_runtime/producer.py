"""Publishing to Kafka: a librdkafka producer, driven from one thread of its own."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Producer


class PublishError(Exception):
    """Not all of the records were acknowledged. The producer was thrown away; send all of them again."""


class Record(NamedTuple):
    topic: str
    key: str | bytes | None
    value: bytes | None
    headers: dict[str, str | bytes | None] | list[tuple[str, str | bytes | None]]


class Publisher:
    """Sends batches; returns when every record is acknowledged by all in-sync replicas.

    Idempotent, in order per partition. Records gather until the flush that ends each batch, so no timer delays them.
    On any error the producer is rebuilt: an idempotent producer whose sequence broke may never recover by itself.
    """

    def __init__(self, bootstrap: str, client_id: str, *, timeout: float = 30.0) -> None:
        self._settings: dict[str, Any] = {
            "bootstrap.servers": bootstrap,
            "client.id": client_id,
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 50,
            "batch.num.messages": 2_000,
            "message.timeout.ms": int(timeout * 1000),
            "message.max.bytes": 4_000_000,
            "delivery.report.only.error": True,
            "socket.nagle.disable": True,
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 1_000,
            "log_level": 0,
        }
        self._timeout = timeout
        self._producer: Producer | None = None
        self._closed = threading.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="publisher")
        self.problem: str | None = None
        """Why the last batch was not acknowledged."""

    async def connect(self) -> None:
        """So that the first batch is as quick as any other."""
        await self._run(self._connect)

    async def send(self, records: Sequence[Record]) -> None:
        """Raises PublishError where not every record was acknowledged in time."""
        await self._run(self._send, records)

    async def _run(self, work: Callable[..., object], *arguments: object) -> None:
        running = asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            running.add_done_callback(_nobody_asks)
            raise

    async def close(self) -> None:
        """What was not acknowledged is given up; the outbox still has it."""
        self._closed.set()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _send(self, records: Sequence[Record]) -> None:
        failures: list[str] = []

        def delivered(error: KafkaError | None, _: object) -> None:
            if error is not None:
                failures.append(error.str())

        left = len(records)
        try:
            producer = self._producer or self._connect()
            for topic, key, value, headers in records:
                producer.produce(topic, value, key, headers=headers, on_delivery=delivered)
            left = self._flush(producer)
        except (KafkaException, BufferError) as error:
            failures.append(str(error))
        if left or failures:
            self._discard()
            self.problem = "; ".join(failures[:3]) or f"{left} of {len(records)} records not acknowledged"
            raise PublishError(self.problem)
        self.problem = None

    def _connect(self) -> Producer:
        """Asks for all topics: what is produced before the client knows any waits for its timers, up to a second."""
        self._producer = producer = Producer(self._settings)
        for _ in range(8):
            with contextlib.suppress(KafkaException):
                producer.list_topics(timeout=0.25)
                break
            if self._closed.is_set():
                break
        return producer

    def _flush(self, producer: Producer) -> int:
        """How many are not acknowledged when the time is up, or the publisher closed."""
        deadline = time.monotonic() + self._timeout
        while left := producer.flush(0.25):
            if self._closed.is_set() or time.monotonic() > deadline:
                break
        return left

    def _discard(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            with contextlib.suppress(KafkaException):
                producer.purge()


def _nobody_asks(running: asyncio.Future[object]) -> None:
    if not running.cancelled():
        running.exception()
