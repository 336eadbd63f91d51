"""Running rules-svc, calling it, and speaking to it on the bus."""

import asyncio
import os
import secrets
import signal
import socket
import sys
from collections.abc import Mapping
from typing import Any

import httpx
import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from kernel_contracts.topics import TOPICS
from kernel_testing import eventually

TOKEN = "secret"
ROLES = "admin"


class Record:
    """A message on a topic."""

    def __init__(self, message: Any) -> None:
        self.key = message.key().decode()
        self.headers = {name: value.decode() for name, value in message.headers() or []}
        self.raw: bytes = message.value() or b""
        self.type = self.headers["ce_type"]

    @property
    def body(self) -> Any:
        return orjson.loads(self.raw)


class Bus:
    """Puts events onto this test's topics, and reads what is on them."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.prefix = prefix
        self._bootstrap = bootstrap
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 1, "log_level": 0})

    def close(self) -> None:
        self._producer.flush(5)

    def raw(self, topic: str, value: bytes | None, key: str, headers: Any) -> None:
        self._producer.produce(self.prefix + topic, value, key.encode(), headers=headers)
        self._producer.poll(0)

    def flush(self) -> None:
        assert self._producer.flush(20) == 0

    def business(self, type: str, data: Any, *, id: str | None = None, source: str = "/shop", **extra: str) -> str:
        """An event of another system, which knows nothing of our extensions."""
        id = id or secrets.token_hex(8)
        headers = {"ce_specversion": "1.0", "ce_id": id, "ce_source": source, "ce_type": type}
        headers |= {f"ce_{name}": value for name, value in extra.items()}
        self.raw("business-events", orjson.dumps(data), source, list(headers.items()))
        return id

    def process(self, type: str, body: Mapping[str, Any], **extra: str) -> None:
        """An event as process-svc sends it."""
        pid, version = body["pid"], body.get("version", 1)
        headers = {
            "ce_specversion": "1.0",
            "ce_id": f"{pid}.{version}",
            "ce_source": "/kernel/process-svc",
            "ce_type": type,
            "ce_time": "2026-11-25T12:00:00+00:00",
            "ce_tenant": body.get("tenant", "main"),
            "ce_depth": "0",
            "ce_aggregateversion": str(version),
        }
        headers |= {f"ce_{name}": value for name, value in extra.items()}
        self.raw("process-events", orjson.dumps(body), str(pid), list(headers.items()))

    async def read(self, topic: str) -> list[Record]:
        """Everything that is on a topic now."""
        return await asyncio.to_thread(self._read, self.prefix + topic)

    def _read(self, topic: str) -> list[Record]:
        consumer = Consumer(
            {"bootstrap.servers": self._bootstrap, "group.id": secrets.token_hex(8), "enable.auto.commit": False}
        )
        try:
            partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
            ends = {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10)[1] for p in partitions}
            waiting = {p for p, end in ends.items() if end > 0}
            consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in waiting])
            found = []
            while waiting:
                message = consumer.poll(10)
                assert message is not None
                assert message.error() is None
                found.append(Record(message))
                if (message.offset() or 0) + 1 >= ends[message.partition()]:
                    waiting.discard(message.partition())
            return found
        finally:
            consumer.close()

    async def until(self, topic: str, count: int, timeout: float = 20) -> list[Record]:
        """What is on a topic once there are so many; fails where there are more."""

        async def enough() -> list[Record]:
            found = await self.read(topic)
            assert len(found) >= count, f"{len(found)} of {count} on {topic}"
            return found

        found = await eventually(enough, timeout=timeout, interval=0.1)
        assert len(found) == count, [(record.type, record.raw) for record in found]
        return found


class RulesService:
    """One replica as a process of the operating system."""

    def __init__(self, dsn: str, kafka: str, prefix: str, replica: int = 1) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.dsn = dsn
        self._environment = {
            **os.environ,
            "KERNEL_DATABASE_URL": dsn,
            "KERNEL_KAFKA_BOOTSTRAP": kafka,
            "KERNEL_HTTP_PORT": str(self.port),
            "KERNEL_INTERNAL_TOKEN": TOKEN,
            "KERNEL_SERVICE_REPLICA": str(replica),
            "KERNEL_TOPIC_PREFIX": prefix,
            "KERNEL_LEASE_TTL": "2",
        }
        self._process: asyncio.subprocess.Process | None = None
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", timeout=20)

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "rules_svc", "serve", env=self._environment
        )

        async def ready() -> bool:
            assert self._process is not None
            if self._process.returncode is not None:
                raise RuntimeError(f"rules-svc ended with {self._process.returncode}")
            try:
                return (await self.http.get("/health/ready")).status_code == 200
            except httpx.TransportError:
                return False

        await eventually(ready, timeout=30, interval=0.1)

    async def kill(self) -> None:
        """As the machine would."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        await self._process.wait()

    async def stop(self) -> int:
        """As the supervisor would; the exit code."""
        await self.http.aclose()
        assert self._process is not None
        if self._process.returncode is None:
            self._process.terminate()
        return await self._process.wait()

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        tenant: str = "main",
        roles: str = ROLES,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        content = body if isinstance(body, bytes | None) else orjson.dumps(body)
        own = {
            "x-kernel-token": TOKEN,
            "x-kernel-tenant": tenant,
            "x-kernel-principal": "tester",
            "x-kernel-roles": roles,
        }
        json = {"content-type": "application/json"} if content is not None else {}
        return await self.http.request(method, path, content=content, headers={**own, **json, **(headers or {})})

    async def rule(self, name: str, **definition: Any) -> Any:
        """PUT, which must be taken."""
        answer = await self.call("PUT", f"/v1/rules/{name}", definition)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    async def fsck(self) -> None:
        """Every invariant holds."""
        checks = (await self.call("GET", "/v1/fsck")).json()["checks"]
        assert len(checks) >= 8
        assert not [check for check in checks if check["breaches"]], checks


TOPIC_NAMES = [topic.name for topic in TOPICS]
