"""Runs one server for a test session, and ends it when the session is gone, however that ended.

A process of its own, so that xdist workers share the server and a killed session leaves nothing behind.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from kernel_platform import jars
from kernel_platform.home import Home, write_json
from kernel_platform.identity import Identity
from kernel_platform.kafka import Kafka
from kernel_platform.ports import free_port
from kernel_platform.postgres import Postgres
from kernel_platform.spec import ServiceSpec
from kernel_platform.unit import Unit

POSTGRES_IMAGE = "postgres:18-alpine"
KAFKA_IMAGE = "apache/kafka:4.1.2"


@asynccontextmanager
async def _running(spec: ServiceSpec, home: Home) -> AsyncIterator[None]:
    """The server, ready, and started again should it end."""
    unit = Unit(spec, home, changed=lambda: None)
    task = asyncio.create_task(unit.run())
    try:
        async with asyncio.timeout(90):
            while not unit.ready.is_set():
                if unit.failures:
                    raise RuntimeError(f"{spec.name} does not start; {unit.explain()}")
                await asyncio.sleep(0.02)
        yield
    finally:
        await unit.stop()
        await task


@asynccontextmanager
async def postgres(home: Home) -> AsyncIterator[str]:
    server = Postgres(
        home.postgres,
        free_port(),
        home.secret("postgres"),
        {"wal_level": "minimal", "max_wal_senders": "0"},
        durable=False,
    )
    async with _running(server.spec(), home):
        yield server.dsn


@asynccontextmanager
async def kafka(home: Home) -> AsyncIterator[str]:
    server = Kafka(home.kafka, free_port(), free_port(), await asyncio.to_thread(jars.fetch), short_lived=True)
    async with _running(server.spec(), home):
        yield server.bootstrap


@asynccontextmanager
async def postgres_container(_: Home) -> AsyncIterator[str]:
    from testcontainers.postgres import PostgresContainer

    container = PostgresContainer(POSTGRES_IMAGE, username="postgres", dbname="postgres", driver=None)
    with container.with_command("postgres -c fsync=off -c max_connections=200"):
        yield container.get_connection_url()


@asynccontextmanager
async def kafka_container(_: Home) -> AsyncIterator[str]:
    from testcontainers.community.kafka import KafkaContainer

    with KafkaContainer(KAFKA_IMAGE).with_kraft() as container:
        yield container.get_bootstrap_server()


KINDS: dict[str, Callable[[Home], AbstractAsyncContextManager[str]]] = {
    "postgres": postgres,
    "kafka": kafka,
    "postgres-container": postgres_container,
    "kafka-container": kafka_container,
}


async def main(kind: str, root: str, session: int) -> None:
    home = Home(Path(root)).make()
    owner = Identity.of(session)
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with KINDS[kind](home) as address:
        write_json(home.root / f"{kind}.json", {"address": address, "keeper": os.getpid()})
        while not stopping.is_set() and owner is not None and owner.alive():
            try:
                async with asyncio.timeout(0.5):
                    await stopping.wait()
            except TimeoutError:
                continue


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
