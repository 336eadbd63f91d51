"""What is promised when things die: nothing acknowledged is lost, nothing runs twice, capacity holds, `kernel fsck` is clean."""

import asyncio
import contextlib
import random
import signal
from collections.abc import AsyncIterator

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from kernel_contracts.topics import TOPICS

from .installation import Installation
from .load import Load

pytestmark = pytest.mark.timeout(300)

RATE = 40.0


@contextlib.asynccontextmanager
async def under_load(installation: Installation, least: int) -> AsyncIterator[Load]:
    """Load before, during and after what the block does; then everything is accounted for."""
    load = Load(installation, RATE)
    async with load:
        await asyncio.sleep(1.5)
        yield load
        await installation.ready()
        await asyncio.sleep(1.5)
    await load.verify(least)
    await installation.check()


@pytest.mark.parametrize("service", ["process-svc", "resource-svc", "scheduler-svc", "rules-svc", "gateway"])
async def test_each_replica_killed(installation: Installation, service: str) -> None:
    async with under_load(installation, least=40):
        for pid in installation.pids(service):
            installation.kill(pid)
            await installation.gone(pid)
            await installation.ready()


async def test_a_stopped_replica_wakes_up_as_a_zombie(installation: Installation) -> None:
    async with under_load(installation, least=40):
        stopped = [installation.pids(name)[0] for name in ("scheduler-svc", "process-svc", "resource-svc")]
        for pid in stopped:
            installation.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(8)
        for pid in stopped:
            installation.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
async def test_postgres_restarts(installation: Installation, how: signal.Signals) -> None:
    async with under_load(installation, least=40):
        pid = installation.infrastructure("postgres")
        installation.kill(pid, how)
        await installation.gone(pid)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_kafka_restarts(installation: Installation, how: signal.Signals) -> None:
    async with under_load(installation, least=40):
        pid = installation.infrastructure("kafka")
        installation.kill(pid, how)
        await installation.gone(pid)


async def test_every_message_twice_and_shuffled(installation: Installation) -> None:
    async with under_load(installation, least=40):
        await asyncio.sleep(2)
        sent = await asyncio.to_thread(deliver_again, installation.kafka, random.Random(11))
        assert sent > 500


def deliver_again(bootstrap: str, order: random.Random) -> int:
    """Publishes each record of every topic again, up to 20,000 of them, in an order of chance; returns how many."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "again", "enable.auto.commit": False})
    records = []
    for topic in (topic for topic in TOPICS if not topic.compacted):
        for partition in range(topic.partitions):
            low, high = consumer.get_watermark_offsets(TopicPartition(topic.name, partition), timeout=10)
            consumer.assign([TopicPartition(topic.name, partition, max(low, high - 1000))])
            while low < high and (message := consumer.poll(5)) is not None:
                if message.error() is None:
                    records.append((message.topic(), message.key(), message.value(), message.headers()))
                    if message.offset() >= high - 1:
                        break
    consumer.close()
    order.shuffle(records)
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all"})
    for topic_name, key, value, headers in records[:20_000]:
        producer.produce(topic_name, value, key, headers=headers)
        producer.poll(0)
    assert producer.flush(30) == 0
    return len(records)
