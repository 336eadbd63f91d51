"""The outbox on its way to Kafka: all of it, in order per key, whatever happens in between."""

import asyncio
import os
import random
import signal
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import orjson
from bus import read_all, running, settings
from kernel_runtime.producer import Publisher, PublishError, Record
from kernel_testing import eventually
from kernel_testing.plugin import MakeProxy
from kernel_testing.topics import TestTopics
from lane import add, scalar

HEADERS = orjson.dumps({"ce_id": "1"}).decode()
INSERT = "INSERT INTO outbox (topic, key, headers, body) VALUES ('process-events', $1, $2, $3)"


async def write(dsn: str, writers: int, rounds: int) -> None:
    """Transactions that overlap: each locks its aggregate, writes at once or late, and commits late."""

    async def writer(number: int) -> None:
        connection = await asyncpg.connect(dsn)
        for _ in range(rounds):
            name = f"n{random.randrange(6)}"
            async with connection.transaction():
                version = await connection.fetchval(
                    "INSERT INTO counter VALUES ($1, 0, 1) ON CONFLICT (name) DO UPDATE"
                    " SET version = counter.version + 1 RETURNING version",
                    name,
                )
                await connection.execute(INSERT, name, HEADERS, str(version).encode())
                await asyncio.sleep(random.random() * 0.03)
        await connection.close()

    await asyncio.gather(*(writer(number) for number in range(writers)))


def by_key(messages: list[Any]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for message in messages:
        found[message.key().decode()].append(int(message.value()))
    return found


def without_repeats(versions: list[int]) -> list[int]:
    return list(dict.fromkeys(versions))


async def drained(dsn: str) -> bool:
    return bool(await scalar(dsn, "SELECT count(*) = 0 FROM outbox"))


async def test_overlapping_transactions_stay_in_order_per_key(dsn: str, kafka: str, topics: TestTopics) -> None:
    events = await topics("process-events")
    async with running(settings(dsn, kafka, topics), consume=False):
        await write(dsn, writers=12, rounds=40)
        await eventually(lambda: drained(dsn))
    found = by_key(read_all(kafka, events))
    assert sum(map(len, found.values())) == 480
    assert all(versions == list(range(1, len(versions) + 1)) for versions in found.values())


async def test_killed_between_send_and_delete_only_repeats(dsn: str, kafka: str, topics: TestTopics) -> None:
    events = await topics("process-events")
    told = settings(dsn, kafka, topics)
    for _ in range(5):
        writing = asyncio.create_task(write(dsn, writers=8, rounds=12))
        async with running(told, consume=False) as service:
            publisher = service.parts.publisher
            send = publisher.send

            async def sent_and_dead(records: Any, send: Any = send) -> None:
                await send(records)
                raise asyncio.CancelledError

            await asyncio.sleep(0.1)
            publisher.send = sent_and_dead  # type: ignore[method-assign]
            await eventually(service.tasks[1].done)
        await writing
    async with running(told, consume=False):
        await eventually(lambda: drained(dsn))
    found = by_key(read_all(kafka, events))
    assert sum(map(len, found.values())) > 480
    for versions in found.values():
        assert without_repeats(versions) == list(range(1, len(set(versions)) + 1))
    assert sum(len(set(versions)) for versions in found.values()) == 480


async def test_a_stopped_holder_is_taken_over_and_changes_nothing_when_it_wakes(
    dsn: str, kafka: str, topics: TestTopics
) -> None:
    events = await topics("process-events")
    await topics("process-commands")
    environment = {
        **os.environ,
        "KERNEL_DATABASE_URL": dsn,
        "KERNEL_KAFKA_BOOTSTRAP": kafka,
        "KERNEL_TOPIC_PREFIX": topics.prefix,
        "KERNEL_INTERNAL_TOKEN": "secret",
        "KERNEL_SERVICE_REPLICA": "1",
        "KERNEL_LEASE_TTL": "2",
    }
    holder = await asyncio.create_subprocess_exec(
        sys.executable, str(Path(__file__).parent / "counter_service.py"), "serve", env=environment
    )
    try:
        await eventually(lambda: scalar(dsn, "SELECT count(*) FROM lease WHERE holder = 'counter-1'"))
        writing = asyncio.create_task(write(dsn, writers=8, rounds=100))
        await asyncio.sleep(0.5)
        holder.send_signal(signal.SIGSTOP)
        async with running(settings(dsn, kafka, topics, replica=2), consume=False) as second:
            await eventually(second.parts.relay_lease.held.is_set)
            await asyncio.sleep(0.3)
            holder.send_signal(signal.SIGCONT)
            await writing
            await eventually(lambda: drained(dsn))
            assert (
                second.parts.relay_lease.epoch == await scalar(dsn, "SELECT epoch FROM lease WHERE name = 'relay'") == 2
            )
    finally:
        holder.kill()
        await holder.wait()
    found = by_key(read_all(kafka, events))
    assert {name: sorted(set(versions)) for name, versions in found.items()} == {
        name: list(range(1, max(versions) + 1)) for name, versions in found.items()
    }
    assert sum(len(set(versions)) for versions in found.values()) == 800


async def test_kafka_away_and_back(dsn: str, kafka: str, topics: TestTopics, fault_proxy: MakeProxy) -> None:
    """The broker's own address is what clients connect to after the first answer; so the topic is what is away here."""
    async with running(settings(dsn, kafka, topics), consume=False) as service:
        service.parts.publisher._settings |= {"message.timeout.ms": 700, "topic.metadata.propagation.max.ms": 200}
        await write(dsn, writers=2, rounds=5)
        await eventually(lambda: service.parts.publisher.problem is not None)
        assert await scalar(dsn, "SELECT count(*) FROM outbox") == 10
        events = await topics("process-events")
        await eventually(lambda: drained(dsn))
        assert service.parts.publisher.problem is None
    assert sum(map(len, by_key(read_all(kafka, events)).values())) == 10


async def test_no_broker_at_all_ends_in_time_and_the_producer_is_made_anew(kafka: str, topics: TestTopics) -> None:
    topic = await topics("process-events")
    publisher = Publisher("127.0.0.1:9", "nobody", timeout=0.6)
    record = Record(topic, "k", b"1", {"ce_id": "1"})
    try:
        await publisher.send([record])
        raise AssertionError("nobody was there")
    except PublishError:
        assert publisher._producer is None
        assert publisher.problem
    publisher._settings["bootstrap.servers"] = kafka
    await publisher.send([record, record._replace(headers=[("ce_id", b"2")])])
    assert publisher.problem is None
    await publisher.close()
    assert [dict(message.headers()) for message in read_all(kafka, topic)] == [{"ce_id": b"1"}, {"ce_id": b"2"}]


async def test_the_first_batch_is_as_quick_as_any_other(kafka: str, topics: TestTopics) -> None:
    """A cold librdkafka producer holds back what comes first for up to a second."""
    topic = await topics("process-events")
    publisher = Publisher(kafka, "warm")
    await publisher.connect()
    began = asyncio.get_running_loop().time()
    await publisher.send([Record(topic, "k", b"1", {"ce_id": "1"})])
    assert asyncio.get_running_loop().time() - began < 0.4
    await publisher.close()


async def test_closing_does_not_wait_for_a_broker_that_is_away() -> None:
    publisher = Publisher("127.0.0.1:9", "nobody", timeout=30)
    sending = asyncio.create_task(publisher.send([Record("t", "k", b"1", {})]))
    await asyncio.sleep(0.3)
    began = asyncio.get_running_loop().time()
    await publisher.close()
    assert isinstance((await asyncio.gather(sending, return_exceptions=True))[0], PublishError)
    assert asyncio.get_running_loop().time() - began < 1


async def test_postgres_sessions_cut_while_relaying(
    dsn: str, kafka: str, topics: TestTopics, fault_proxy: MakeProxy
) -> None:
    events = await topics("process-events")
    parts = urlsplit(dsn)
    proxy = await fault_proxy(str(parts.hostname), int(parts.port or 0))
    through = dsn.replace(f":{parts.port}/", f":{proxy.port}/")
    async with running(settings(through, kafka, topics), consume=False):
        writing = asyncio.create_task(write(dsn, writers=6, rounds=60))
        while not writing.done():
            await asyncio.sleep(0.2)
            await proxy.reset()
        await eventually(lambda: drained(dsn), timeout=20)
    found = by_key(read_all(kafka, events))
    assert sum(len(set(versions)) for versions in found.values()) == 360
    for versions in found.values():
        assert without_repeats(versions) == list(range(1, len(set(versions)) + 1))


async def test_the_holder_hears_of_other_replicas_commits_at_once(dsn: str, kafka: str, topics: TestTopics) -> None:
    await topics("process-events")
    async with running(settings(dsn, kafka, topics), consume=False) as holder:
        await eventually(holder.parts.relay_lease.held.is_set)
        holder.parts.relay._interval = 60
        async with running(settings(dsn, kafka, topics, replica=2), consume=False) as other:
            await asyncio.sleep(0.5)
            waits = []
            for turn in range(10):
                await other.parts.pipeline.submit(add(f"n{turn}"))
                began = asyncio.get_running_loop().time()
                await eventually(lambda: drained(dsn), timeout=5, interval=0.002)
                waits.append(asyncio.get_running_loop().time() - began)
            assert not other.parts.relay_lease.held.is_set()
    assert sorted(waits)[5] < 0.5
