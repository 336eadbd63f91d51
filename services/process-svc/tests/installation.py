"""process-svc as a process of the operating system, and Kafka as its neighbours see it."""

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
from kernel_contracts import message_types as types
from kernel_testing import eventually

TOKEN = "secret"


class Record:
    """A message on a topic."""

    def __init__(self, message: Any) -> None:
        self.key = message.key().decode()
        self.headers = {name: value.decode() for name, value in message.headers() or []}
        self.type = self.headers["ce_type"]
        self.body = orjson.loads(message.value())


class Bus:
    """Puts messages onto this test's topics, and reads what is on them."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.prefix = prefix
        self.bootstrap = bootstrap
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 1})

    def close(self) -> None:
        self._producer.flush(5)

    def raw(self, topic: str, value: bytes | None, key: str, headers: Mapping[str, str]) -> None:
        self._producer.produce(self.prefix + topic, value, key.encode(), headers=list(headers.items()))
        assert self._producer.flush(20) == 0

    def command(self, type: str, body: Mapping[str, Any], *, id: str | None = None, source: str = "/shop") -> str:
        """As another system sends one: it knows nothing of our extensions."""
        id = id or secrets.token_hex(8)
        headers = {"ce_specversion": "1.0", "ce_id": id, "ce_source": source, "ce_type": type}
        self.raw("process-commands", orjson.dumps(body), str(body.get("pid") or body.get("key") or id), headers)
        return id

    def grant(self, process: Mapping[str, Any], dispatch: str, operator: str | None = "ada") -> None:
        """As resource-svc sends it."""
        body = {
            "dispatch_id": dispatch,
            "pid": process["pid"],
            "process_version": process["version"],
            "queue": "default",
            "operator": operator,
            "allocations": [],
        }
        headers = {
            "ce_specversion": "1.0",
            "ce_id": f"{dispatch}.granted",
            "ce_source": "/kernel/resource-svc",
            "ce_type": types.RESOURCES_GRANTED,
            "ce_tenant": "main",
            "ce_dispatchid": dispatch,
        }
        self.raw("resource-events", orjson.dumps(body), str(process["pid"]), headers)

    async def events(self, pid: int | None = None) -> list[Record]:
        """All that process-svc has told (of one process)."""
        found = await asyncio.to_thread(self._read, self.prefix + "process-events")
        return [each for each in found if pid is None or each.key == str(pid)]

    def _read(self, topic: str) -> list[Record]:
        consumer = Consumer(
            {"bootstrap.servers": self.bootstrap, "group.id": secrets.token_hex(8), "enable.auto.commit": False}
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
                if message.offset() + 1 >= ends[message.partition()]:
                    waiting.discard(message.partition())
            return found
        finally:
            consumer.close()


class Service:
    """One replica."""

    def __init__(self, dsn: str, kafka: str, prefix: str, replica: int = 1) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._environment = {
            **os.environ,
            "KERNEL_DATABASE_URL": dsn,
            "KERNEL_KAFKA_BOOTSTRAP": kafka,
            "KERNEL_HTTP_PORT": str(port),
            "KERNEL_INTERNAL_TOKEN": TOKEN,
            "KERNEL_SERVICE_REPLICA": str(replica),
            "KERNEL_TOPIC_PREFIX": prefix,
            "KERNEL_LEASE_TTL": "2",
        }
        self._process: asyncio.subprocess.Process | None = None
        self.http = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            timeout=20,
            headers={"x-kernel-token": TOKEN, "x-kernel-principal": "tester", "x-kernel-roles": "admin"},
        )

    async def start(self) -> "Service":
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "process_svc", "serve", env=self._environment
        )

        async def ready() -> bool:
            assert self._process is not None
            if self._process.returncode is not None:
                raise RuntimeError(f"process-svc ended with {self._process.returncode}")
            try:
                return (await self.http.get("/health/ready")).status_code == 200
            except httpx.TransportError:
                return False

        await eventually(ready, timeout=30, interval=0.1)
        return self

    async def kill(self) -> None:
        """As the machine would."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        await self._process.wait()

    def signal(self) -> None:
        """Tells it to stop."""
        assert self._process is not None
        self._process.terminate()

    async def stop(self) -> int:
        """As the supervisor would; the exit code."""
        await self.http.aclose()
        assert self._process is not None
        if self._process.returncode is None:
            self._process.terminate()
        return await self._process.wait()

    async def post(self, path: str, **body: Any) -> Any:
        answer = await self.http.post(path, json=body)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    async def define(self, name: str = "check", **definition: Any) -> None:
        answer = await self.http.put(f"/v1/services/{name}", json=definition)
        assert answer.status_code in (200, 201), answer.text

    async def create(self, service: str = "check", **body: Any) -> Any:
        return await self.post("/v1/processes", service=service, **body)

    async def read(self, pid: int) -> Any:
        return (await self.http.get(f"/v1/processes/{pid}")).json()

    async def until(self, pid: int, state: str, timeout: float = 20) -> Any:
        async def there() -> Any:
            found = await self.read(pid)
            assert found["state"] == state, found
            return found

        return await eventually(there, timeout=timeout)

    async def sound(self) -> None:
        """Every invariant holds."""
        checks = (await self.http.get("/v1/fsck")).json()["checks"]
        assert len(checks) >= 10
        assert not [check for check in checks if check["breaches"]], checks
