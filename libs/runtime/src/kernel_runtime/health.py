"""Live, ready, metrics: what a supervisor, Kubernetes and Prometheus ask."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence

import asyncpg
import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from kernel_runtime import inbox, metrics, outbox
from kernel_runtime.consumer import Consumer
from kernel_runtime.database import AWAY, Database
from kernel_runtime.http import json_response
from kernel_runtime.pipeline import Pipeline
from kernel_runtime.producer import Publisher

log = structlog.get_logger()

INBOX_DAYS = 7
"""Ids are remembered as long as Kafka keeps the commands."""


class Health:
    """Measures once a second; readiness is read from what was measured."""

    def __init__(
        self,
        database: Database,
        pipeline: Pipeline | None = None,
        consumers: Callable[[], Sequence[Consumer]] = tuple,
        publisher: Publisher | None = None,
        *,
        outbox_limit: int = 100_000,
    ) -> None:
        self._database = database
        self._pipeline = pipeline
        self._consumers = consumers
        self._publisher = publisher
        self._outbox_limit = outbox_limit
        self._reasons: list[str] = ["starting"]

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/health/live", self._live),
            Route("/health/ready", self._ready),
            Route("/metrics", self._metrics),
        ]

    async def run(self) -> None:
        """Forever."""
        passes = 0
        while True:
            started = time.monotonic()
            await asyncio.sleep(1)
            metrics.LOOP_LAG.set(max(0.0, time.monotonic() - started - 1))
            self._reasons = await self._measure()
            passes += 1
            if passes % 60 == 0 and not self._reasons:
                await self._keep_house()

    async def _measure(self) -> list[str]:
        reasons = []
        try:
            async with self._database.connection() as connection:
                depth, age = await outbox.age(connection)
        except (*AWAY, asyncpg.PostgresError) as error:
            reasons.append(f"database: {str(error) or type(error).__name__}")
        else:
            metrics.OUTBOX_MESSAGES.set(depth)
            metrics.OUTBOX_AGE.set(age)
            full = depth >= self._outbox_limit
            if self._pipeline is not None:
                self._pipeline.blocked = (
                    "Messages can't be published at the moment and too many wait. Try again later." if full else None
                )
            if full:
                reasons.append(f"outbox: {depth} messages wait")
        reasons += [f"consumer of {each.group}: stands still" for each in self._consumers() if each.stands_still]
        return reasons

    async def _keep_house(self) -> None:
        """Drops ids that are too old to come again, a few thousand at a time."""
        with contextlib.suppress(*AWAY, asyncpg.PostgresError):
            async with self._database.connection() as connection:
                for _ in range(200):
                    if not await inbox.forget(connection, INBOX_DAYS):
                        break
                    await asyncio.sleep(0.1)

    async def _live(self, _: Request) -> Response:
        return json_response({"live": True})

    async def _ready(self, _: Request) -> Response:
        """Kafka away is told but leaves it ready: commands are taken, and published later."""
        if self._reasons == ["starting"]:
            self._reasons = await self._measure()
        problem = self._publisher.problem if self._publisher is not None else None
        told = {
            "ready": not self._reasons,
            "reasons": self._reasons,
            "degraded": [f"kafka: {problem}"] if problem else [],
        }
        return json_response(told, 503 if self._reasons else 200)

    async def _metrics(self, _: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
