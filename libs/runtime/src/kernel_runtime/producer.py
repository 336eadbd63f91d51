"""Publishing to Kafka: a librdkafka producer, driven from one thread of its own."""

import asyncio
import contextlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer


class PublishError(Exception):
    """Not all of the records were acknowledged. The producer was thrown away; send all of them again."""


@dataclass(frozen=True, slots=True)
class Record:
    topic: str
    key: str | bytes | None
    value: bytes | None
    headers: list[tuple[str, str | bytes | None]]


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
            "socket.nagle.disable": True,
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 1_000,
            "log_level": 0,
            "statistics.interval.ms": 0,
        }
        self._timeout = timeout
        self._producer: Producer | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="publisher")

    async def send(self, records: Sequence[Record]) -> None:
        """Raises PublishError where not every record was acknowledged in time."""
        loop = asyncio.get_running_loop()
        await asyncio.shield(loop.run_in_executor(self._thread, self._send, records))

    async def close(self) -> None:
        """What was not acknowledged is given up; the outbox still has it."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._producer = None

    def _send(self, records: Sequence[Record]) -> None:
        failures: list[str] = []

        def delivered(error: KafkaError | None, _: object) -> None:
            if error is not None:
                failures.append(error.str())

        if self._producer is None:
            self._producer = Producer(self._settings)
        producer = self._producer
        try:
            for record in records:
                producer.produce(record.topic, record.value, record.key, headers=record.headers, on_delivery=delivered)
            left = producer.flush(self._timeout)
        except (KafkaException, BufferError) as error:
            left, failures = 1, [str(error)]
        if left or failures:
            self._producer = None
            with contextlib.suppress(KafkaException):
                producer.purge()
            raise PublishError(f"{left} of {len(records)} records not acknowledged: {'; '.join(failures[:3])}")
