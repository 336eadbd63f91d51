"""The whole service as a process: HTTP, Kafka in and out, stopped and started again."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import orjson
import pytest_asyncio
from confluent_kafka import Consumer, Producer
from kernel_contracts import message_types as types
from kernel_contracts.resource import ResourceChanged, ResourcesGranted
from kernel_testing import eventually
from kernel_testing.topics import TestTopics

from .lane import need

HEADERS = {"x-kernel-token": "secret", "x-kernel-tenant": "main", "x-kernel-principal": "dora"}
DESIGNER = {**HEADERS, "x-kernel-roles": "designer"}


class Service:
    """One replica, with its own topics."""

    def __init__(self, database: str, kafka: str, topics: TestTopics, replica: int = 1) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._env = {
            **os.environ,
            "KERNEL_DATABASE_URL": database,
            "KERNEL_KAFKA_BOOTSTRAP": kafka,
            "KERNEL_TOPIC_PREFIX": topics.prefix,
            "KERNEL_HTTP_PORT": str(self.port),
            "KERNEL_SERVICE_REPLICA": str(replica),
            "KERNEL_INTERNAL_TOKEN": "secret",
            "KERNEL_LEASE_TTL": "1",
        }
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", headers=DESIGNER, timeout=10)
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "resource_svc", "serve", env=self._env
        )
        await eventually(self._ready, timeout=30)

    async def _ready(self) -> bool:
        assert self._process is not None
        if self._process.returncode is not None:
            raise RuntimeError(f"resource-svc ended with {self._process.returncode}")
        try:
            return (await self.http.get("/health/ready")).status_code == 200
        except httpx.TransportError:
            return False

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        assert self._process is not None
        self._process.send_signal(how)
        return await asyncio.wait_for(self._process.wait(), 10)

    async def close(self) -> None:
        await self.http.aclose()
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


class Bus:
    """The other services: they send, and read what is told."""

    def __init__(self, kafka: str, topics: TestTopics) -> None:
        self._prefix = topics.prefix
        self._producer = Producer({"bootstrap.servers": kafka, "acks": "all"})
        self._consumer = Consumer(
            {"bootstrap.servers": kafka, "group.id": topics.group("reader"), "auto.offset.reset": "earliest"}
        )
        self._consumer.subscribe(
            [topics.prefix + name for name in ("resource-events", "definitions", "resource-commands-dlq")]
        )
        self.seen: list[tuple[str, str, dict[str, str], Any]] = []

    def send(self, topic: str, key: str, body: Any, *, type: str, id: str, **extra: str) -> None:
        headers = {
            "ce_specversion": "1.0",
            "ce_id": id,
            "ce_type": type,
            "ce_source": "/test",
            "ce_tenant": "main",
            **{f"ce_{name}": value for name, value in extra.items()},
        }
        value = body if isinstance(body, bytes) else orjson.dumps(body)
        self._producer.produce(self._prefix + topic, value, key, headers=list(headers.items()))
        assert self._producer.flush(10) == 0

    def read(self) -> None:
        for message in self._consumer.consume(100, 0.05):
            if message.error() is None:
                headers = {name: value.decode() for name, value in message.headers()}
                topic = message.topic().removeprefix(self._prefix)
                self.seen.append((topic, message.key().decode(), headers, message.value()))

    async def told(self, type: str, topic: str = "resource-events") -> list[dict[str, Any]]:
        await asyncio.to_thread(self.read)
        return [
            orjson.loads(body)
            for where, _, headers, body in self.seen
            if (where, headers.get("ce_type")) == (topic, type)
        ]

    def close(self) -> None:
        self._consumer.close()


@pytest_asyncio.fixture
async def bus(kafka: str, topics: TestTopics) -> AsyncIterator[Bus]:
    await topics.all()
    bus = Bus(kafka, topics)
    yield bus
    bus.close()


@pytest_asyncio.fixture
async def service(database: str, kafka: str, topics: TestTopics, bus: Bus) -> AsyncIterator[Service]:
    service = Service(database, kafka, topics)
    await service.start()
    yield service
    await service.close()


def allocate(bus: Bus, dispatch: str, pid: int, *proposals: Any, queue: str = "default") -> None:
    body = {"dispatch_id": dispatch, "pid": pid, "process_version": 2, "queue": queue, "proposals": proposals}
    bus.send("resource-commands", queue, body, type=types.ALLOCATE_RESOURCES, id=dispatch)


def ended(bus: Bus, pid: int, dispatch: str) -> None:
    """As process-svc tells it; the body is never read."""
    bus.send(
        "process-events",
        str(pid),
        b"not even JSON",
        type=types.PROCESS_TERMINATED,
        id=f"{pid}.4",
        aggregateversion="4",
        dispatchid=dispatch,
        give="all",
    )


async def test_a_lifecycle_over_kafka_survives_a_kill(service: Service, bus: Bus) -> None:
    design = {"resources": {"desk": {"type": "desk"}}, "operators": {"anna": {"roles": ["clerk"]}}}
    applied = await service.http.post("/v1/resources:apply", json=design)
    assert applied.json() == {"created": ["resource/desk", "operator/anna"], "changed": [], "unchanged": []}

    async def defined() -> bool:
        await bus.told(types.RESOURCE_CHANGED)
        keys = {(topic, key) for topic, key, _, _ in bus.seen}
        assert keys >= {
            (t, k)
            for t, k in (
                ("definitions", "operator/main/anna"),
                ("resource-events", "anna"),
                ("definitions", "resource/main/desk"),
            )
        }
        return True

    await eventually(defined)
    for body in await bus.told(types.RESOURCE_CHANGED):
        ResourceChanged.model_validate(body)
    allocate(bus, "d1", 1, need("anna", roles=["clerk"]), need("desk", type="desk"))
    [granted] = await eventually(lambda: bus.told(types.RESOURCES_GRANTED))
    assert ResourcesGranted.model_validate(granted).operator == "anna"
    status = (await service.http.get("/v1/resources/anna/status")).json()
    assert status == {
        "capacity": 1,
        "current_usage": 1,
        "available": 0,
        "next_change": None,
        "status": "in_service",
        "presence": "available",
    }
    held = (await service.http.get("/v1/allocations", params={"pid": 1, "active": "true"})).json()
    assert sorted((each["resource"], each["dispatch_id"]) for each in held["items"]) == [("anna", "d1"), ("desk", "d1")]
    await service.stop(signal.SIGKILL)
    ended(bus, 1, "d1")
    allocate(bus, "d2", 2, need("anna"))
    await service.start()
    await eventually(lambda: bus.told(types.RESOURCES_RELEASED))
    allocate(bus, "d3", 3, need("anna"))

    async def free_again() -> bool:
        return any(each["pid"] in (2, 3) for each in await bus.told(types.RESOURCES_GRANTED))

    await eventually(free_again)
    checks = (await service.http.get("/v1/fsck")).json()["checks"]
    assert {each["breaches"] for each in checks} == {0}
    assert await service.stop() == 0


async def test_a_break_ends_by_itself(service: Service, bus: Bus) -> None:
    await service.http.put("/v1/operators/anna", json={})
    until = (datetime.now(UTC) + timedelta(seconds=1.5)).isoformat()
    itself = {"x-kernel-roles": "operator", "x-kernel-operator": "anna"}
    body = {"status": "break", "until": until}
    told = await service.http.post("/v1/operators/anna/presence", json=body, headers=itself)
    assert told.json()["presence"] == "break"

    async def back() -> bool:
        told = [(each["version"], each["presence"]) for each in await bus.told(types.RESOURCE_CHANGED)]
        assert told == [(1, "available"), (2, "break"), (3, "available")]
        return True

    await eventually(back, timeout=20)
    assert (await service.http.get("/v1/operators/anna")).json()["presence"] == "available"


async def test_rubbish_becomes_a_dead_letter_and_the_rest_flows(service: Service, bus: Bus) -> None:
    await service.http.put("/v1/operators/anna", json={})
    bus.send("resource-commands", "other", b"\xff\x00", type=types.ALLOCATE_RESOURCES, id="bad-1")
    bus.send("resource-commands", "other", {}, type="kernel.resource.unheard.v1", id="bad-2")
    bus.send("process-events", "no-pid", {}, type=types.PROCESS_TERMINATED, id="bad-3", give="all")
    bus.send("process-events", "7", {}, type=types.PROCESS_TERMINATED, id="bad-4", give="nonsense")
    allocate(bus, "d1", 1, need("anna"))
    await eventually(lambda: bus.told(types.RESOURCES_GRANTED))

    async def four() -> bool:
        letters = (await service.http.get("/v1/dead-letters")).json()["items"]
        assert len(letters) == 4
        return True

    await eventually(four, timeout=20)


async def test_two_replicas_share_the_work_and_one_is_killed(
    service: Service, database: str, kafka: str, topics: TestTopics, bus: Bus
) -> None:
    """Each Allocate and each end is sent twice; who is denied asks again under a new dispatch, as the scheduler does."""
    other = Service(database, kafka, topics, replica=2)
    await other.start()
    operators = {f"o{n}": {"capacity": 2} for n in range(5)}
    assert (await service.http.post("/v1/resources:apply", json={"operators": operators})).status_code == 200
    dispatches = dict.fromkeys(range(1, 61), 1)
    gone: set[int] = set()

    def ask(pid: int) -> None:
        for _ in range(2):
            candidates = [f"o{(pid + k) % 5}" for k in range(3)]
            allocate(bus, f"d{pid}.{dispatches[pid]}", pid, need(*candidates), queue=f"q{pid % 8}")

    async def all_served() -> bool:
        for body in await bus.told(types.RESOURCES_GRANTED):
            pid = body["pid"]
            if pid not in gone:
                gone.add(pid)
                for _ in range(2):
                    ended(bus, pid, body["dispatch_id"])
        for body in await bus.told(types.RESOURCES_DENIED):
            pid = body["pid"]
            if pid not in gone and body["dispatch_id"] == f"d{pid}.{dispatches[pid]}":
                dispatches[pid] += 1
                ask(pid)
        return len(gone) == len(dispatches)

    for pid in dispatches:
        ask(pid)
    await eventually(lambda: bus.told(types.RESOURCES_GRANTED), timeout=20)
    await other.stop(signal.SIGKILL)
    await eventually(all_served, timeout=60, interval=0.1)

    async def all_free() -> bool:
        free = [each["available"] for each in (await service.http.get("/v1/operators")).json()["items"]]
        assert free == [2] * 5
        return True

    await eventually(all_free, timeout=30)
    checks = (await service.http.get("/v1/fsck")).json()["checks"]
    assert [each for each in checks if each["breaches"]] == []
    await other.close()
