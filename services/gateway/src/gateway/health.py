"""Live, ready, metrics. The gateway is ready while it can tell who calls; what else is away is named."""

import asyncio
import time

import asyncpg
from kernel_runtime import metrics
from kernel_runtime.database import AWAY, Database
from kernel_runtime.http import Receive, Scope, Send
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest

from gateway.auth.keys import Keys
from gateway.live.hub import Hub
from gateway.reply import Reply, json_reply, send_reply

STREAM_CLIENTS = Gauge("kernel_stream_clients", "Clients connected to the live stream.")


class Health:
    def __init__(self, database: Database, keys: Keys, hub: Hub) -> None:
        self._database = database
        self._keys = keys
        self._hub = hub
        self._degraded: list[str] = []

    async def run(self) -> None:
        """Measures. Forever."""
        while True:
            started = time.monotonic()
            await asyncio.sleep(1)
            metrics.LOOP_LAG.set(max(0.0, time.monotonic() - started - 1))
            STREAM_CLIENTS.set(self._hub.clients)
            if not self._keys.loaded:
                await self._keys.refresh()
            self._degraded = await self._measure()

    async def _measure(self) -> list[str]:
        try:
            async with self._database.connection() as connection:
                await connection.fetchval("SELECT 1")
        except (*AWAY, asyncpg.PostgresError) as error:
            return [f"database: {str(error) or type(error).__name__}; no tickets for the stream"]
        return []

    async def live(self, _: Scope, __: Receive, send: Send) -> None:
        await send_reply(json_reply({"live": True}), send)

    async def ready(self, _: Scope, __: Receive, send: Send) -> None:
        reasons = [] if self._keys.loaded else ["auth: the issuer's keys could not be loaded"]
        body = {"ready": not reasons, "reasons": reasons, "degraded": self._degraded}
        await send_reply(json_reply(body, 503 if reasons else 200), send)

    async def metrics(self, _: Scope, __: Receive, send: Send) -> None:
        await send_reply(Reply(200, generate_latest(), [(b"content-type", CONTENT_TYPE_LATEST.encode())]), send)
