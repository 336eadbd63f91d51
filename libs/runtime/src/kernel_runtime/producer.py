"""Publishing to Kafka: a librdkafka producer, driven from one thread of its own."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Sequence
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

    async def send(self, records: Sequence[Record]) -> None:
        """Raises PublishError where not every record was acknowledged in time."""
        sending = asyncio.get_running_loop().run_in_executor(self._thread, self._send, records)
        try:
            await asyncio.shield(sending)
        except asyncio.CancelledError:
            sending.add_done_callback(_nobody_asks)
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
            if self._producer is None:
                self._producer = Producer(self._settings)
            produce = self._producer.produce
            for topic, key, value, headers in records:
                produce(topic, value, key, headers=headers, on_delivery=delivered)
            left = self._flush(self._producer)
        except (KafkaException, BufferError) as error:
            failures.append(str(error))
        if left or failures:
            self._discard()
            self.problem = "; ".join(failures[:3]) or f"{left} of {len(records)} records not acknowledged"
            raise PublishError(self.problem)
        self.problem = None

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


def _nobody_asks(sending: asyncio.Future[None]) -> None:
    if not sending.cancelled():
        sending.exception()
