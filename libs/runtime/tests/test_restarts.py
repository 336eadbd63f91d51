"""Postgres and Kafka killed and started again under load: a server of this test's own each."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from bus import Sender, headers_of, read_all, running
from counter_service import ADD_ONCE, TABLES
from kernel_platform import jars
from kernel_platform.home import Home
from kernel_platform.kafka import Kafka
from kernel_platform.ports import free_port
from kernel_platform.postgres import Postgres
from kernel_platform.topics import declared, ensure_topics
from kernel_platform.unit import Unit
from kernel_runtime.schema import RUNTIME_TABLES
from kernel_runtime.settings import ServiceSettings
from kernel_testing import eventually
from lane import scalar, values


class Server:
    """Started again by its unit whenever it is killed."""

    def __init__(self, unit: Unit, address: str) -> None:
        self.unit = unit
        self.address = address

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        assert self.unit.identity is not None
        self.unit.ready.clear()
        os.kill(self.unit.identity.pid, how)

    async def up(self) -> None:
        await asyncio.wait_for(self.unit.ready.wait(), 60)


async def kept(unit: Unit, address: str) -> AsyncIterator[Server]:
    task = asyncio.create_task(unit.run())
    server = Server(unit, address)
    await server.up()
    yield server
    await unit.stop()
    await task


@pytest.fixture
async def own_postgres(tmp_path: Path) -> AsyncIterator[Server]:
    home = Home(tmp_path / "pg").make()
    server = Postgres(home.postgres, free_port(), home.secret("postgres"))
    async for each in kept(Unit(server.spec(), home, lambda: None), server.dsn):
        yield each


@pytest.fixture
async def own_kafka(tmp_path: Path) -> AsyncIterator[Server]:
    home = Home(tmp_path / "kafka").make()
    server = Kafka(home.kafka, free_port(), free_port(), await asyncio.to_thread(jars.fetch))
    async for each in kept(Unit(server.spec(), home, lambda: None), server.bootstrap):
        yield each


async def load(bus: Sender, seconds: float) -> int:
    sent = 0
    until = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < until:
        for _ in range(10):
            bus.add(f"n{sent % 30}", id=f"id{sent}", ce_type=ADD_ONCE)
            sent += 1
        await asyncio.sleep(0.02)
    return sent


async def test_servers_killed_under_load(own_postgres: Server, own_kafka: Server) -> None:
    """Each command has one effect, each effect is told, in order per key."""
    dsn, kafka = own_postgres.address, own_kafka.address
    connection = await asyncpg.connect(dsn)
    await connection.execute(RUNTIME_TABLES + TABLES)
    await connection.close()
    await asyncio.to_thread(ensure_topics, kafka, declared())
    told = ServiceSettings(database_url=dsn, kafka_bootstrap=kafka, internal_token="x", lease_ttl=2.0)  # type: ignore[arg-type]
    bus = Sender(kafka, "process-commands")
    async with running(told), running(told.model_copy(update={"service_replica": 2})):
        sending = asyncio.create_task(load(bus, 12))
        await eventually(lambda: scalar(dsn, "SELECT count(*) > 50 FROM done"), timeout=20)
        own_postgres.kill()
        await own_postgres.up()
        await asyncio.sleep(1.5)
        own_kafka.kill()
        await own_kafka.up()
        await asyncio.sleep(1)
        own_postgres.kill(signal.SIGINT)  # a fast shutdown: sessions are told to go
        await own_postgres.up()
        sent = await sending
        await asyncio.to_thread(bus.flush)

        async def all_done() -> bool:
            assert sum((await values(dsn)).values()) == sent
            return True

        await eventually(all_done, timeout=75)
        await eventually(lambda: scalar(dsn, "SELECT count(*) = 0 FROM outbox"), timeout=60)
        assert await scalar(dsn, "SELECT count(*) FROM dead_letter") == 0
        assert await scalar(dsn, "SELECT count(*) FROM done") == sent
    versions: dict[str, list[int]] = {}
    for message in read_all(kafka, "process-events"):
        version = int(headers_of(message)["ce_aggregateversion"])
        seen = versions.setdefault(message.key().decode(), [])
        if version not in seen:
            assert not seen or version > seen[-1]
            seen.append(version)
    assert sum(map(len, versions.values())) == sent
