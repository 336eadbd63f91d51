"""What every service is made of, in the order in which it starts and stops.

A service's `app.py` builds a Parts, hands in its handlers, routes and consumers, and runs it: readable on one screen.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from starlette.routing import BaseRoute

from kernel_runtime.consumer import Consumer
from kernel_runtime.consumer import Route as MessageRoute
from kernel_runtime.database import Database
from kernel_runtime.dead_letters_http import routes as dead_letter_routes
from kernel_runtime.health import Health
from kernel_runtime.http import application
from kernel_runtime.lease import Lease
from kernel_runtime.pipeline import Handler, Pipeline, Work
from kernel_runtime.producer import Publisher
from kernel_runtime.relay import LEASE, Relay
from kernel_runtime.server import Server
from kernel_runtime.settings import ServiceSettings
from kernel_runtime.supervise import Stop, tasks


class Parts:
    """Database, pipeline and relay of one service, wired; nothing runs yet."""

    def __init__(
        self,
        name: str,
        settings: ServiceSettings,
        begin: Callable[[], Work],
        handlers: Mapping[str, Handler],
        *,
        database: Database | None = None,
    ) -> None:
        self.name = name
        self.settings = settings
        self.member = settings.member(name)
        self.database = database or Database(settings.database_url.get_secret_value(), name=self.member)
        self.publisher = Publisher(settings.kafka_bootstrap, self.member)
        self.relay_lease = self.lease(LEASE)
        self.relay = Relay(self.database, self.publisher, self.relay_lease, prefix=settings.topic_prefix)
        self.pipeline = Pipeline(
            self.database,
            begin,
            handlers,
            committed=self.relay.wake,
            batch_size=settings.batch_size,
            queue_size=settings.queue_size,
        )
        self.consumers: list[Consumer] = []
        self.health = Health(
            self.database, self.pipeline, lambda: self.consumers, self.publisher, outbox_limit=settings.outbox_limit
        )

    def lease(self, name: str) -> Lease:
        """A lease in this service's database, held in the name of this replica."""
        return Lease(self.database, name, self.member, self.settings.lease_ttl)

    def consumer(
        self,
        topics: Sequence[str],
        routes: Mapping[str, MessageRoute],
        *,
        other: MessageRoute | None = None,
        assign: bool = False,
        group: str | None = None,
    ) -> Consumer:
        """A reader for this service's group, watched by its health.

        With `assign` it reads all partitions without membership, and whoever holds the lease for it calls its `run`, for
        instance by `while_held`; `run` of this class leaves it alone. It needs a group of its own where others subscribe.
        """
        consumer = Consumer(
            self.settings.kafka_bootstrap,
            group or self.name,
            topics,
            routes,
            self.pipeline,
            self.database,
            member=self.member,
            default_tenant=self.settings.default_tenant,
            other=other,
            assign=assign,
            batch=self.settings.batch_size,
            attempts=self.settings.attempts,
            prefix=self.settings.topic_prefix,
        )
        self.consumers.append(consumer)
        return consumer

    async def run(self, stop: Stop, routes: Sequence[BaseRoute], *forever: Callable[[], Awaitable[None]]) -> None:
        """Runs everything until `stop`; the doors close first, what they need ends last."""
        self.settings.refuse_unsafe()
        if not await self._opened(stop):
            return
        app = application(
            [
                *self.health.routes(),
                *dead_letter_routes(self.database, self.relay.wake, self.settings.default_tenant),
                *routes,
            ],
            internal_token=self.settings.internal_token.get_secret_value(),
        )
        server = Server(app, self.settings.http_host, self.settings.http_port)
        try:
            await tasks(
                stop,
                server.run_forever,
                *(consumer.run for consumer in self.consumers if not consumer.assign),
                *(consumer.watch for consumer in self.consumers),
                *forever,
                last=(self.pipeline.run, self.relay.run, self.relay_lease.keep, self.health.run),
            )
        finally:
            await asyncio.shield(self._close())

    async def _opened(self, stop: Stop) -> bool:
        """False where the signal came before the database did."""
        opening, stopping = asyncio.ensure_future(self.database.open()), asyncio.ensure_future(stop.wait())
        await asyncio.wait((opening, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not opening.done():
            opening.cancel()
            return False
        opening.result()
        return True

    async def _close(self) -> None:
        await self.publisher.close()
        await self.database.close()
