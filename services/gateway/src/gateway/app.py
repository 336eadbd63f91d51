"""The gateway, wired on one screen."""

import asyncio

import orjson
import structlog
from kernel_runtime.database import Database
from kernel_runtime.http import Receive, Scope, Send
from kernel_runtime.problem import Problem
from kernel_runtime.server import Server
from kernel_runtime.supervise import Stop, tasks
from starlette.routing import BaseRoute, Route, Router, WebSocketRoute
from starlette.types import ASGIApp

from gateway import __version__
from gateway.auth.keys import Keys
from gateway.auth.policy import POLICY
from gateway.auth.tokens import Tokens
from gateway.door import Door
from gateway.endpoint import ByMethod, Endpoint
from gateway.health import Health
from gateway.live.hub import Hub
from gateway.live.sse import EventStream
from gateway.live.websocket import Socket
from gateway.openapi import document
from gateway.pages import fixed, pages
from gateway.proxy import Proxy
from gateway.reply import JSON_TYPE, Reply, problem_reply, send_reply
from gateway.routes import operations
from gateway.settings import Settings

log = structlog.get_logger()

LOCAL_ISSUER = "kernel-local"


class Gateway:
    """Everything that it is made of; nothing runs yet."""

    def __init__(self, settings: Settings) -> None:
        settings.refuse_unsafe()
        refuse_local_issuer(settings)
        member = f"gateway-{settings.service_replica}"
        self.settings = settings
        self.database = Database(settings.database_url.get_secret_value(), name=member, max_size=4)
        self.keys = Keys(settings.auth_jwks)
        tokens = Tokens(self.keys, settings.auth_issuer, settings.auth_audience, default_tenant=settings.default_tenant)
        self.proxy = Proxy(settings.upstreams, settings.internal_token.get_secret_value())
        self.hub = Hub(
            settings.kafka_bootstrap,
            tokens,
            self.database,
            self.proxy,
            member=member,
            ring=settings.stream_ring,
            queue=settings.stream_queue,
            prefix=settings.topic_prefix,
        )
        self.health = Health(self.database, self.keys, self.hub)
        self.operations = operations(self.database)
        self.app = Door(Router(self._routes(tokens), redirect_slashes=False, default=_unknown), settings.max_in_flight)

    def _routes(self, tokens: Tokens) -> list[BaseRoute]:
        """Paths in the order in which they are tried: what is asked for most comes first."""
        stream = EventStream(self.hub)
        by_path: dict[str, dict[str, ASGIApp]] = {}
        for operation in self.operations:
            endpoint: ASGIApp = Endpoint(operation, POLICY.get(operation.key), tokens, self.proxy)
            served = stream if operation.path == "/v1/stream" else endpoint
            by_path.setdefault(operation.path, {})[operation.method] = served
        others: dict[str, ASGIApp] = {
            "/health/live": self.health.live,
            "/health/ready": self.health.ready,
            "/metrics": self.health.metrics,
            "/openapi.json": fixed(Reply(200, orjson.dumps(document(self.operations, __version__)), [JSON_TYPE])),
            "/": fixed(Reply(307, b"", [(b"location", b"/docs")])),
            **pages(),
        }
        return [
            *(Route(path, ByMethod(path, endpoints)) for path, endpoints in by_path.items()),
            *(Route(path, ByMethod(path, {"GET": page})) for path, page in others.items()),
            WebSocketRoute("/v1/stream", Socket(self.hub)),
        ]

    async def run(self, stop: Stop) -> None:
        """Until `stop`: first the database and the keys, last the door; the other way round at the end."""
        if not await self._opened(stop):
            return
        await self.proxy.open()
        await self.keys.refresh()
        server = Server(self.app, self.settings.http_host, self.settings.http_port)
        try:
            await tasks(stop, self.proxy.until_stop, server.run_forever, self.hub.run, self.health.run)
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
        await self.proxy.close()
        await self.database.close()


def refuse_local_issuer(settings: Settings) -> None:
    """The built-in issuer's key lies in a file of this machine: whoever reads it may be anyone."""
    if settings.auth_issuer == LOCAL_ISSUER and settings.env != "dev":
        raise SystemExit(
            f"gateway: KERNEL_AUTH_ISSUER={LOCAL_ISSUER} is for local use and KERNEL_ENV is {settings.env}. "
            "Configure the issuer of your organisation, or set KERNEL_ENV=dev on your own machine."
        )
    if settings.env == "dev":
        log.warning(
            "auth.local_use_only",
            hint="KERNEL_ENV=dev: tokens of the local issuer are accepted. Never offer this to a network.",
            issuer=settings.auth_issuer,
            host=settings.http_host,
        )


async def serve(settings: Settings, stop: Stop) -> None:
    await Gateway(settings).run(stop)


async def _unknown(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": "There is no such address."})
        return
    path = scope["path"][:200]
    await send_reply(problem_reply(Problem(404, "Not found", f"There is no address {path}. See /docs.")), send)
