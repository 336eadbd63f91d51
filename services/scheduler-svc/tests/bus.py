"""The service as a process of its own, and the other services' side of the bus."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson
from confluent_kafka import Consumer, Producer
from kernel_contracts import message_types as types
from kernel_contracts.envelope import decode
from kernel_contracts.resource import AllocateResources
from kernel_testing import eventually

TOKEN = "test-token"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Service:
    """One replica of scheduler-svc."""

    def __init__(self, database: str, kafka: str, prefix: str, replica: int = 1) -> None:
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self._env = os.environ | {
            "KERNEL_DATABASE_URL": database,
            "KERNEL_KAFKA_BOOTSTRAP": kafka,
            "KERNEL_TOPIC_PREFIX": prefix,
            "KERNEL_HTTP_PORT": str(self.port),
            "KERNEL_SERVICE_REPLICA": str(replica),
            "KERNEL_INTERNAL_TOKEN": TOKEN,
            "KERNEL_LEASE_TTL": "2",
            "KERNEL_LOG_LEVEL": "INFO",
        }
        self.process: subprocess.Popen[bytes] | None = None

    async def start(self) -> Service:
        self._spawn()

        async def ready() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, "the service died"
            try:
                async with httpx.AsyncClient() as client:
                    return (await client.get(f"{self.base}/health/ready")).status_code == 200
            except httpx.TransportError:
                return False

        await eventually(ready, timeout=20)
        return self

    def _spawn(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-m", "scheduler_svc", "serve"], env=self._env)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(5)

    def stop(self) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(6)

    async def call(
        self, method: str, path: str, body: Any = None, roles: str = "designer", **headers: str
    ) -> httpx.Response:
        sent = {
            "x-kernel-token": TOKEN,
            "x-kernel-tenant": "main",
            "x-kernel-principal": "tess",
            "x-kernel-roles": roles,
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        async with httpx.AsyncClient() as client:
            content = None if body is None else orjson.dumps(body)
            return await client.request(method, self.base + path, content=content, headers=sent, timeout=10)


class Others:
    """process-svc and resource-svc, played by the test: their events go out, the proposals come in."""

    def __init__(self, kafka: str, prefix: str) -> None:
        self._prefix = prefix
        self._producer = Producer({"bootstrap.servers": kafka, "linger.ms": 0})
        self.proposals: list[AllocateResources] = []
        self._capacities: dict[str, int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, args=(kafka,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5)
        self._producer.flush(5)

    def _read(self, kafka: str) -> None:
        consumer = Consumer(
            {"bootstrap.servers": kafka, "group.id": self._prefix + "test", "auto.offset.reset": "earliest"}
        )
        consumer.subscribe([self._prefix + "resource-commands"])
        while not self._stop.is_set():
            message = consumer.poll(0.1)
            if message is not None and message.error() is None:
                envelope = decode(message.headers(), default_tenant="")
                assert envelope.type == types.ALLOCATE_RESOURCES
                told = AllocateResources.model_validate_json(message.value())
                assert envelope.dispatch == told.dispatch_id == envelope.id
                assert message.key().decode() == told.queue
                self.proposals.append(told)
        consumer.close()

    async def proposal(self, dispatch_id: str, count: int = 1) -> AllocateResources:
        """The `count`th time that it is asked for."""

        def found() -> AllocateResources | None:
            same = [each for each in self.proposals if each.dispatch_id == dispatch_id]
            return same[count - 1] if len(same) >= count else None

        told = await eventually(found, timeout=15)
        assert isinstance(told, AllocateResources)
        return told

    async def quiet(self, seconds: float = 0.4) -> None:
        """Nothing more is proposed."""
        before = len(self.proposals)
        await asyncio.sleep(seconds)
        assert len(self.proposals) == before, self.proposals[before:]

    def _send(self, topic: str, key: str, type: str, id: str, body: Mapping[str, Any], **headers: object) -> None:
        attributes: dict[str, object] = {
            "ce_specversion": "1.0",
            "ce_id": id,
            "ce_type": type,
            "ce_source": "/kernel/test",
            "ce_tenant": "main",
            "ce_correlationid": f"chain-{key}",
            "ce_depth": "3",
            **headers,
        }
        self._producer.produce(
            self._prefix + topic, orjson.dumps(body), key, headers=[(n, str(v)) for n, v in attributes.items()]
        )
        self._producer.flush(5)

    def event(self, type: str, pid: int, version: int, **extra: Any) -> None:
        """Any event of process-svc about one process."""
        state = type.split(".")[2].upper()
        now = datetime.now(UTC).isoformat()
        body = {
            "pid": pid,
            "tenant": "main",
            "version": version,
            "state": extra.pop("state", state),
            "service": "approve",
            "service_version": 1,
            "at": now,
            "created_at": now,
            **extra,
        }
        headers = {"ce_aggregateversion": version, "ce_subject": pid}
        if "dispatch_id" in extra:
            headers["ce_dispatchid"] = extra["dispatch_id"]
        self._send("process-events", str(pid), type, f"{pid}.{version}", body, **headers)

    def ready(self, pid: int, *demands: Mapping[str, Any], version: int = 2, **extra: Any) -> None:
        extra.setdefault("ready_at", datetime.now(UTC).isoformat())
        self.event(types.PROCESS_READY, pid, version, demands=list(demands), **extra)

    def operator(self, id: str, *roles: str, version: int = 1, **extra: Any) -> None:
        body: dict[str, Any] = {
            "id": id,
            "tenant": "main",
            "type": "operator",
            "kind": "shared",
            "capacity": 1,
            "used": 0,
            "roles": list(roles),
            "version": version,
            **extra,
        }
        self._capacities[id] = body["capacity"]
        self._send("resource-events", id, types.RESOURCE_CHANGED, f"{id}.{version}", body)

    def grant(self, told: AllocateResources, *units: tuple[str, int, int], index: int = 0) -> None:
        """(resource, used, version) each."""
        body = {
            "dispatch_id": told.dispatch_id,
            "pid": told.pid,
            "process_version": told.process_version,
            "queue": told.queue,
            "allocations": [_units(told, number, each, self._capacities) for number, each in enumerate(units)],
        }
        self._send("resource-events", str(told.pid), types.RESOURCES_GRANTED, f"{told.dispatch_id}.granted", body)

    def deny(self, told: AllocateResources, *units: tuple[str, int, int]) -> None:
        body = {
            "dispatch_id": told.dispatch_id,
            "pid": told.pid,
            "process_version": told.process_version,
            "queue": told.queue,
            "reason": "no_capacity",
            "blockers": [{"demand": 0, "type": "operator", "reason": "no_capacity", "resources": [units[0][0]]}],
            "usage": [_units(told, number, each, self._capacities) for number, each in enumerate(units)],
        }
        self._send("resource-events", str(told.pid), types.RESOURCES_DENIED, f"{told.dispatch_id}.denied", body)

    def release(self, told: AllocateResources, *units: tuple[str, int, int]) -> None:
        body = {
            "pid": told.pid,
            "dispatch_id": told.dispatch_id,
            "reason": "terminated",
            "allocations": [_units(told, number, each, self._capacities) for number, each in enumerate(units)],
        }
        self._send("resource-events", str(told.pid), types.RESOURCES_RELEASED, f"{told.dispatch_id}.released", body)


def _units(
    told: AllocateResources, number: int, each: tuple[str, int, int], capacities: Mapping[str, int]
) -> dict[str, Any]:
    resource, used, version = each
    demand = told.proposals[number].demand
    return {
        "resource": resource,
        "type": demand.type,
        "units": demand.units,
        "hold": demand.hold,
        "used": used,
        "capacity": capacities.get(resource, 1),
        "version": version,
    }


CLERK = {"type": "operator", "roles": ["clerk"]}
