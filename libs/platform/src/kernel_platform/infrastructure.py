"""Postgres with its databases at head, Kafka with its topics: whichever servers were chosen, both at once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from kernel_platform import backends, databases, issuer, jars, migrations, topics
from kernel_platform.backends import Backends, Kind
from kernel_platform.catalog import Addresses, Service
from kernel_platform.home import Home
from kernel_platform.kafka import Kafka, answers
from kernel_platform.ports import kept_port
from kernel_platform.postgres import Postgres, accepts
from kernel_platform.spec import ServiceSpec


class BootError(Exception):
    """The installation could not be started; the message is for the user."""


class Infrastructure:
    """`start` runs a server under supervision and returns once it is ready; `stopping` cuts a download short."""

    def __init__(
        self,
        home: Home,
        start: Callable[[ServiceSpec], Awaitable[None]],
        announce: Callable[[str], None],
        stopping: Callable[[], bool],
    ) -> None:
        self._home = home
        self._start = start
        self._announce = announce
        self._stopping = stopping
        self._containers: list[str] = []

    async def up(self, services: Sequence[Service]) -> Addresses:
        chosen = backends.choose()
        for line in chosen.describe():
            self._announce(line)
        issuer.ensure_keys(self._home)
        async with asyncio.TaskGroup() as group:
            dsns = group.create_task(self._postgres(chosen, services))
            bootstrap = group.create_task(self._kafka(chosen))
        return Addresses(bootstrap.result(), dsns.result())

    async def down(self) -> None:
        """Stops containers; processes are the supervisor's to stop."""
        if self._containers:
            await asyncio.to_thread(backends.compose, self._home, "stop", *self._containers)

    async def _postgres(self, chosen: Backends, services: Sequence[Service]) -> dict[str, str]:
        admin = chosen.admin_dsn
        if chosen.postgres is Kind.EMBEDDED:
            server = Postgres.at(self._home, kept_port(self._home, "postgres"))
            await self._start(server.spec())
            admin = server.dsn
        elif chosen.postgres is Kind.COMPOSE:
            self._containers.append("postgres")
            admin = await asyncio.to_thread(backends.compose_postgres, self._home)
        own = dict(chosen.service_dsns)
        if len(own) < len(databases.DATABASES):
            assert admin is not None
            if not await accepts(admin):
                raise BootError("Postgres does not answer at the configured address")
            passwords = {name: self._home.secret(name) for name in databases.DATABASES}
            own = {**await databases.ensure_all(admin, passwords), **own}
        async with asyncio.TaskGroup() as group:
            for each in services:
                if each.migrates:
                    group.create_task(migrations.migrate(self._home, each.name, each.module, own[each.name]))
        self._announce("databases are at head")
        return own

    async def _kafka(self, chosen: Backends) -> str:
        bootstrap = chosen.bootstrap
        if chosen.kafka is Kind.EMBEDDED:
            there = await asyncio.to_thread(jars.fetch, self._download_progress())
            port, controller = kept_port(self._home, "kafka"), kept_port(self._home, "kafka-controller")
            broker = Kafka.at(self._home, port, controller, there)
            await self._start(broker.spec())
            bootstrap = broker.bootstrap
        elif chosen.kafka is Kind.COMPOSE:
            self._containers.append("kafka")
            bootstrap = await asyncio.to_thread(backends.compose_kafka, self._home)
        assert bootstrap is not None
        if chosen.kafka is Kind.CONFIGURED and not await answers(bootstrap, timeout=10):
            raise BootError(f"Kafka does not answer at {bootstrap}")
        made = await asyncio.to_thread(topics.ensure_topics, bootstrap, topics.declared())
        self._announce(f"topics: {len(made)} made" if made else "topics are all there")
        return bootstrap

    def _download_progress(self) -> jars.OnBytes:
        said = -1

        def progress(there: int, total: int) -> None:
            nonlocal said
            if self._stopping():
                raise BootError("stopped")  # ends the threads that download
            step = 5 * there // max(total, 1)
            if step > said:
                said = step
                self._announce(f"Kafka's jars, once for this user: {there / 1e6:.0f} of {total / 1e6:.0f} MB")

        return progress
