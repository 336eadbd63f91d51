"""A whole gateway on a real port, its issuer, and real HTTP servers that stand where the services would."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from gateway.app import Gateway
from gateway.settings import Settings
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey
from kernel_runtime.supervise import Stop
from kernel_testing import eventually

NOWHERE = "127.0.0.1:9"
SERVICES = ("process-svc", "resource-svc", "scheduler-svc", "rules-svc")


@pytest.fixture(scope="session")
def service_module() -> str:
    return "gateway"


@dataclass
class Issuer:
    """Mints tokens; `keys` is what its JWKS tells."""

    name: str = "https://issuer.test"
    keys: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.keys = {
            "Ed25519": OKPKey.generate_key("Ed25519", {"use": "sig", "alg": "Ed25519", "kid": "ed"}),
            "RS256": RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256", "kid": "rsa"}),
            "ES256": ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256", "kid": "ec"}),
        }

    def jwks(self) -> str:
        return json.dumps(KeySet(list(self.keys.values())).as_dict(private=False))

    def claims(self, *roles: str, **more: Any) -> dict[str, Any]:
        now = int(time.time())
        claims = {"iss": self.name, "aud": "kernel", "sub": "anna", "roles": list(roles), "tenant": "main"}
        return {**claims, "iat": now, "exp": now + 600, **more}

    def token(
        self, *roles: str, algorithm: str = "Ed25519", header: dict[str, Any] | None = None, **claims: Any
    ) -> str:
        key = self.keys[algorithm]
        told = {name: value for name, value in self.claims(*roles, **claims).items() if value is not None}
        return jwt.encode({"alg": algorithm, "kid": key.kid, **(header or {})}, told, key, algorithms=[algorithm])


Answering = Callable[[web.Request, bytes], Awaitable[web.StreamResponse]]


@dataclass
class Seen:
    """A request as a service got it."""

    service: str
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Services:
    """One HTTP server for each service. Answers by (service, method, path), else an echo."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.answers: dict[tuple[str, str, str], Any] = {}
        self.urls: dict[str, str] = {}
        self._runners: list[web.AppRunner] = []

    def answer(self, service: str, method: str, path: str, status: int, body: Any, **headers: str) -> None:
        self.answers[service, method, path] = (status, body, {k.replace("_", "-"): v for k, v in headers.items()})

    async def start(self) -> None:
        for name in SERVICES:
            self.urls[name] = await self.replica(name)

    async def replica(self, name: str) -> str:
        app = web.Application(client_max_size=16 * 1024 * 1024)
        app.router.add_route("*", "/{rest:.*}", self._handler(name))
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self._runners.append(runner)
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    def _handler(self, name: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            body = await request.read()
            self.seen.append(Seen(name, request.method, request.raw_path, dict(request.headers), body))
            answer = self.answers.get((name, request.method, request.path))
            if callable(answer):
                made: web.StreamResponse = await answer(request, body)
                return made
            status, content, headers = answer or (
                200,
                {"service": name, "target": request.raw_path, "state": "RUNNING", "items": []},
                {},
            )
            kind = "application/problem+json" if status >= 400 else "application/json"
            return web.Response(status=status, body=json.dumps(content), content_type=kind, headers=headers)

        return handle

    async def stop(self) -> None:
        for runner in self._runners:
            await runner.cleanup()


@dataclass
class Running:
    """A gateway that serves."""

    url: str
    gateway: Gateway
    issuer: Issuer
    services: Services
    http: aiohttp.ClientSession

    def bearer(self, *roles: str, **claims: Any) -> dict[str, str]:
        return {"authorization": f"Bearer {self.issuer.token(*(roles or ('admin',)), **claims)}"}


Start = Callable[..., Awaitable[Running]]


@pytest.fixture(scope="session")
def issuer() -> Issuer:
    return Issuer()


@pytest_asyncio.fixture
async def services() -> AsyncIterator[Services]:
    made = Services()
    await made.start()
    yield made
    await made.stop()


@pytest_asyncio.fixture
async def start(tmp_path: Path, database: str, issuer: Issuer, services: Services) -> AsyncIterator[Start]:
    """`await start(**settings)`: a gateway with its own port; it ends with the test."""
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession())

        async def make(**overrides: Any) -> Running:
            jwks = tmp_path / "jwks.json"
            jwks.write_text(issuer.jwks())
            port = _free_port()
            given: dict[str, Any] = {
                "database_url": database,
                "kafka_bootstrap": NOWHERE,
                "http_port": port,
                "internal_token": "inner",
                "auth_issuer": issuer.name,
                "auth_jwks": str(jwks),
                **{f"{name.replace('-', '_')}_urls": url for name, url in services.urls.items()},
                **overrides,
            }
            gateway = Gateway(Settings(**given))
            stop = Stop()
            running = asyncio.ensure_future(gateway.run(stop))
            stack.push_async_callback(_end, stop, running)
            url = f"http://127.0.0.1:{port}"

            async def ready() -> bool:
                if running.done():
                    running.result()
                with contextlib.suppress(aiohttp.ClientError):
                    async with http.get(f"{url}/health/ready") as answer:
                        return answer.status == 200
                return False

            await eventually(ready)
            return Running(url, gateway, issuer, services, http)

        yield make


async def _end(stop: Stop, running: "asyncio.Future[None]") -> None:
    stop.set()
    await asyncio.wait_for(running, 10)


@pytest_asyncio.fixture
async def gateway(start: Start) -> Running:
    return await start()


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
