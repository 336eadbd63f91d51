"""The counter service as a process: its doors, its health, its end."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from bus import Sender
from counter_service import ADD_ONCE
from kernel_testing import eventually
from kernel_testing.topics import TestTopics
from lane import scalar, values

SERVICE = str(Path(__file__).parent / "counter_service.py")
TOKEN = {"x-kernel-token": "secret"}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Service:
    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process = process
        self.client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=TOKEN, timeout=10)

    async def ready(self) -> bool:
        assert self.process.returncode is None, "it has ended"
        with contextlib.suppress(httpx.TransportError):
            return (await self.client.get("/health/ready")).status_code == 200
        return False

    async def ends(self, sent: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Its exit code and how long that took."""
        began = time.monotonic()
        self.process.send_signal(sent)
        return await asyncio.wait_for(self.process.wait(), 10), time.monotonic() - began


@contextlib.asynccontextmanager
async def serving(dsn: str, kafka: str, prefix: str, *words: str, **more: str) -> AsyncIterator[Service]:
    port = free_port()
    told = {
        **os.environ,
        "KERNEL_DATABASE_URL": dsn,
        "KERNEL_KAFKA_BOOTSTRAP": kafka,
        "KERNEL_TOPIC_PREFIX": prefix,
        "KERNEL_HTTP_PORT": str(port),
        "KERNEL_INTERNAL_TOKEN": "secret",
        "KERNEL_LEASE_TTL": "2",
        "KERNEL_LOG_LEVEL": "WARNING",
        **more,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, SERVICE, "serve", *words, env=told, stderr=asyncio.subprocess.PIPE
    )
    service = Service(process, port)
    try:
        yield service
    finally:
        await service.client.aclose()
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.fixture
async def service(dsn: str, kafka: str, topics: TestTopics) -> AsyncIterator[Service]:
    await topics.all()
    async with serving(dsn, kafka, topics.prefix) as service:
        await eventually(service.ready, timeout=30)
        yield service


def deep(levels: int) -> bytes:
    return b'{"name":"a","text":' + b"[" * levels + b"]" * levels + b"}"


BAD: list[tuple[bytes, int, str]] = [
    (b"{", 400, "not JSON"),
    (b"\xff\xfe", 400, "not JSON"),
    (b"[]", 422, "body"),
    (b"", 422, "/name"),
    (b"{}", 422, "/name"),
    (b'{"name":"a","surprise":1}', 422, "/surprise"),
    (b'{"name":"a","amount":"many"}', 422, "/amount"),
    (b'{"name":"a","amount":1.5}', 422, "/amount"),
    (b'{"name":"a","text":"\\u0000"}', 422, "U+0000"),
    (b'{"name":"a","text":"\x00"}', 400, "not JSON"),
    (b'{"name":"a","text":"\\ud800"}', 400, "not JSON"),
    (b'{"name":"a","amount":99999999999999999999}', 422, "64 bits"),
    (b'{"name":"a","amount":' + b"9" * 10_000 + b"}", 422, "64 bits"),
    (b'{"name":"a","amount":1e999}', 422, "double"),
    (b'{"name":"a","amount":NaN}', 400, "NaN"),
    (b'{"name":"a","amount":-Infinity}', 400, "-Infinity"),
    (deep(100), 422, "deeper"),
    (deep(1_000_000), 422, "deeper"),
    (b'{"name":"' + b"x" * 10_000_000 + b'"}', 413, "4,194,304"),
]


async def test_bad_bodies_are_told_what_is_wrong(service: Service) -> None:
    for raw, status, word in BAD:
        answer = await service.client.post("/v1/counters", content=raw)
        assert answer.status_code == status, (raw[:60], answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        told = answer.json()
        assert told["status"] == status
        assert word in told["detail"], (raw[:60], told)
    assert (await service.client.post("/v1/counters", content=b'{"name":"a","text":"\\\\u0000"}')).status_code == 200
    assert (await service.client.post("/v1/counters", content=deep(60))).status_code == 422


async def test_no_address_has_a_nul(service: Service) -> None:
    for method, path, status in (
        ("GET", "/v1/counters/a%00b", 404),
        ("PUT", "/v1/counters/a%00b", 422),
        ("GET", "/v1/counters/a?name=%00", 422),
    ):
        answer = await service.client.request(method, path)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
        assert "U+0000" in answer.json()["detail"]


async def test_a_body_in_pieces_without_a_length_has_the_same_limit(service: Service) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 100_000

    with contextlib.suppress(httpx.TransportError):  # it may hang up on who goes on sending
        assert (await service.client.post("/v1/counters", content=pieces())).status_code == 413
    assert await service.ready()


async def test_the_door(service: Service) -> None:
    client = service.client
    for wrong in ({"x-kernel-token": "wrong"}, {"x-kernel-token": ""}):
        assert (await client.get("/v1/counters/a", headers=wrong)).status_code == 403
    assert (await client.get("/nowhere")).status_code == 404
    refused = await client.delete("/v1/counters/a")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, POST")
    assert refused.headers["content-type"] == "application/problem+json"
    assert (await client.get("/v1/dead-letters/x/replay")).status_code == 405
    assert (await client.post("/v1/dead-letters/x/replay")).status_code == 404
    assert (await client.post("/v1/dead-letters/1/replay", content=b"[")).status_code == 422
    assert (await client.get("/v1/dead-letters?limit=x")).status_code == 422
    for bad in ("x", '"1', "-1", "1" * 30, '"٣"'.encode()):
        answer = await client.post("/v1/counters", json={"name": "a"}, headers={"if-match": bad})  # type: ignore[dict-item]
        assert answer.status_code == 422, bad
    assert (await client.post("/v1/counters", json={"name": "a"}, headers={"if-match": 'W/"3"'})).status_code == 200
    broken = await client.get("/v1/breaks")
    assert (broken.status_code, broken.json()["title"]) == (500, "Internal error")
    told = (await client.get("/v1/counters/a", headers={"x-kernel-principal": "Jürgen".encode()})).json()  # type: ignore[dict-item]
    assert told["principal"] == "Jürgen"
    fixed = await client.post("/v1/counters/b", json={"name": "other", "amount": 2})
    assert fixed.status_code == 200
    assert (await client.get("/v1/counters/b")).json()["value"] == 2


async def test_an_idempotency_key_is_the_callers_own(service: Service) -> None:
    async def post(amount: int, **headers: str) -> tuple[int, Any]:
        answer = await service.client.post("/v1/counters", json={"name": "a", "amount": amount}, headers=headers)
        return answer.status_code, answer.json().get("value")

    mine = {"idempotency-key": "k", "x-kernel-principal": "me"}
    assert [await post(1, **mine) for _ in range(3)] == [(200, 1)] * 3
    assert (await post(2, **mine))[0] == 422
    assert await post(5, **{**mine, "x-kernel-principal": "you"}) == (200, 6)
    assert await post(7, **{**mine, "x-kernel-tenant": "other"}) == (200, 13)


async def test_health_and_metrics(service: Service) -> None:
    open_client = httpx.AsyncClient(base_url=service.client.base_url)
    async with open_client as client:
        assert (await client.get("/health/live")).json() == {"live": True}
        assert (await client.get("/health/ready")).json() == {"ready": True, "reasons": [], "degraded": []}
        await service.client.post("/v1/counters", json={"name": "a"})
        metrics = (await client.get("/metrics")).text
    for name in (
        'kernel_commands_total{command="add",result="done"} 1.0',
        'kernel_http_request_seconds_count{method="POST",route="/v1/counters",status="200"} 1.0',
        "kernel_outbox_messages",
        'kernel_stage_seconds_count{stage="commit"} 1.0',
    ):
        assert name in metrics, name


async def test_sigterm_under_load_ends_in_time_and_loses_nothing(dsn: str, kafka: str, topics: TestTopics) -> None:
    every = await topics.all()
    bus = Sender(kafka, every["process-commands"])
    for i in range(4000):
        bus.add(f"k{i % 50}", id=f"id{i}", ce_type=ADD_ONCE)
    bus.flush()
    acknowledged = 0
    statuses: set[int] = set()

    async def caller(service: Service, number: int) -> None:
        nonlocal acknowledged
        with contextlib.suppress(httpx.TransportError):
            while True:
                answer = await service.client.post("/v1/counters", json={"name": f"h{number}"})
                statuses.add(answer.status_code)
                acknowledged += answer.status_code == 200
                if answer.status_code != 200:
                    return

    for turn in (1, 2):
        async with serving(dsn, kafka, topics.prefix, KERNEL_BATCH_SIZE="40") as service:
            await eventually(service.ready, timeout=30)
            callers = [asyncio.create_task(caller(service, number)) for number in range(10)]
            await eventually(lambda enough=turn * 50: acknowledged >= enough, timeout=30)
            code, seconds = await service.ends()
            await asyncio.gather(*callers)
            assert code == 0
            assert seconds < 5
    assert statuses <= {200, 503}
    found = await values(dsn)
    assert sum(value for name, value in found.items() if name[0] == "h") >= acknowledged
    async with serving(dsn, kafka, topics.prefix) as service:
        await eventually(lambda: scalar(dsn, "SELECT sum(value) = 4000 FROM counter WHERE name LIKE 'k%'"), timeout=30)
        await eventually(lambda: scalar(dsn, "SELECT count(*) = 0 FROM outbox"))


async def test_sigterm_without_kafka_and_without_postgres(dsn: str, kafka: str, topics: TestTopics) -> None:
    async with serving(dsn, "127.0.0.1:9", topics.prefix) as service:
        await eventually(service.ready, timeout=30)
        assert (await service.client.post("/v1/counters", json={"name": "a"})).status_code == 200
        code, seconds = await service.ends()
        assert code == 0
        assert seconds < 5
    async with serving("postgresql://nobody@127.0.0.1:9/nothing", kafka, topics.prefix) as service:
        assert service.process.stderr is not None
        assert b"database.away" in await service.process.stderr.readline()
        code, seconds = await service.ends(signal.SIGINT)
        assert code == 0
        assert seconds < 2


async def test_a_task_that_dies_ends_the_process(dsn: str, kafka: str, topics: TestTopics) -> None:
    await topics.all()
    async with serving(dsn, kafka, topics.prefix, "0.5") as service:
        assert await asyncio.wait_for(service.process.wait(), 30) == 1
        assert service.process.stderr is not None
        assert b"seeded death" in await service.process.stderr.read()


async def test_a_port_that_is_taken_ends_the_process(dsn: str, kafka: str, topics: TestTopics) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        async with serving(dsn, kafka, topics.prefix, KERNEL_HTTP_PORT=port) as service:
            assert await asyncio.wait_for(service.process.wait(), 30) != 0
            assert service.process.stderr is not None
            assert b"address already in use" in await service.process.stderr.read()


async def test_production_does_not_start_without_the_secret(dsn: str, kafka: str) -> None:
    async with serving(dsn, kafka, "t-", KERNEL_INTERNAL_TOKEN="", KERNEL_ENV="production") as service:
        assert await asyncio.wait_for(service.process.wait(), 30) == 1
        assert service.process.stderr is not None
        assert b"KERNEL_INTERNAL_TOKEN is empty" in await service.process.stderr.read()
