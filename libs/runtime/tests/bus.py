"""Kafka as the tests see it: what is on a topic, and putting something there."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from counter_service import ADD, HANDLERS, ROUTES, Counters
from kernel_runtime.service import Parts
from kernel_runtime.settings import ServiceSettings
from kernel_testing.topics import TestTopics

HEADERS = {
    "ce_specversion": "1.0",
    "ce_type": ADD,
    "ce_source": "/test",
    "ce_tenant": "main",
}


def read_all(bootstrap: str, topic: str) -> list[Any]:
    """Every record of a topic as it is now, in order per partition."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": secrets.token_hex(4), "enable.auto.commit": False})
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        ends = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10) for p in partitions}
        wanted = {p for p, (low, high) in ends.items() if high > low}
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in wanted])
        found = []
        while wanted:
            for message in consumer.consume(1000, 1):
                if message.error() is None:
                    found.append(message)
                    if message.offset() + 1 >= ends[message.partition()][1]:
                        wanted.discard(message.partition())
        return found
    finally:
        consumer.close()


def headers_of(message: Any) -> dict[str, str]:
    return {name: value.decode() for name, value in message.headers() or []}


class Sender:
    """Puts commands onto the bus, as an other system would."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._producer = Producer(
            {"bootstrap.servers": bootstrap, "linger.ms": 1, "message.max.bytes": 4_000_000, "enable.idempotence": True}
        )
        self._topic = topic
        self._serial = 0
        self.failures: list[str] = []

    def add(self, name: str, amount: int = 1, *, id: str | None = None, **headers: str | None) -> None:
        self._serial += 1
        every: dict[str, Any] = {**HEADERS, "ce_id": id or f"k{self._serial}", **headers}
        body = orjson.dumps({"name": name, "amount": amount})
        self.raw(body, name, {name: value for name, value in every.items() if value is not None})

    def raw(self, value: bytes | None, key: Any, headers: Any) -> None:
        self._producer.produce(self._topic, value, key, headers=headers, on_delivery=self._delivered)
        self._producer.poll(0)

    def _delivered(self, error: Any, _: object) -> None:
        if error is not None:
            self.failures.append(str(error))

    def flush(self) -> None:
        assert self._producer.flush(60) == 0
        assert self.failures == []


def settings(dsn: str, kafka: str, topics: TestTopics, replica: int = 1, **more: Any) -> ServiceSettings:
    return ServiceSettings(
        database_url=dsn,
        kafka_bootstrap=kafka,
        service_replica=replica,
        topic_prefix=topics.prefix,
        internal_token="secret",
        lease_ttl=2.0,
        **more,
    )


class Running:
    """A counter service in this process, without its HTTP door; `die` ends it as a kill would."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.tasks: list[asyncio.Task[None]] = []

    async def start(self, *, consume: bool = True, relay: bool = True) -> "Running":
        await self.parts.database.open()
        forever: list[Callable[[], Awaitable[None]]] = [self.parts.pipeline.run]
        if relay:
            forever += [self.parts.relay.run, self.parts.relay_lease.keep]
        if consume:
            forever += [consumer.run for consumer in self.parts.consumers]
        self.tasks = [asyncio.ensure_future(work()) for work in forever]
        return self

    async def stop(self) -> None:
        for task in reversed(self.tasks):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self.parts.publisher.close()
        await self.parts.database.close()

    def failed(self) -> list[BaseException]:
        return [
            error
            for task in self.tasks
            if task.done() and not task.cancelled() and (error := task.exception()) is not None
        ]


@contextlib.asynccontextmanager
async def running(told: ServiceSettings, *, begin: Any = Counters, **options: Any) -> AsyncIterator[Running]:
    parts = Parts("counter", told, begin, HANDLERS)
    parts.consumer(["process-commands"], ROUTES)
    service = await Running(parts).start(**options)
    try:
        yield service
    finally:
        await service.stop()
        for error in service.failed():
            raise error
