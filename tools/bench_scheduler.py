"""The scheduler's share of a lifecycle: its messages read, decided, saved in a real Postgres. `make bench-scheduler`.

Kafka is left out: messages are read as the consumer reads them and go through the pipeline in batches. The last line is one JSON
object; `python_ms_per_lifecycle` is the CPU of this process, the load generator's own work taken off.
"""

import argparse
import asyncio
import cProfile
import gc
import json
import pstats
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import asyncpg
import orjson
import uvloop
from kernel_contracts import message_types as types
from kernel_runtime.command import Command
from kernel_runtime.consumer import Consumer
from kernel_runtime.database import Database
from kernel_runtime.lease import Lease
from kernel_runtime.pipeline import Pipeline
from kernel_testing import databases, infra
from scheduler_svc.batch import Batch
from scheduler_svc.consumer import ROUTES, TOPICS
from scheduler_svc.handlers import HANDLERS
from scheduler_svc.memory import Memory

DEMAND = {
    "type": "operator", "resource": None, "selector": {}, "roles": ["clerk"], "skills": [], "units": 1, "hold": "running"
}  # fmt: skip


class Record:
    """What confluent-kafka hands out."""

    def __init__(self, topic: str, key: str, type: str, id: str, version: int, body: Any, **headers: str) -> None:
        self._topic, self._key, self._value = topic, key.encode(), orjson.dumps(body)
        told = {
            "ce_specversion": "1.0",
            "ce_id": id,
            "ce_type": type,
            "ce_source": "/kernel/bench",
            "ce_time": "2026-01-01T00:00:00+00:00",
            "ce_tenant": "main",
            "ce_depth": "2",
            "content-type": "application/json",
            "ce_causationid": f"{id}.before",
            "ce_correlationid": key,
            "ce_aggregateversion": str(version),
            **headers,
        }
        self._headers = [(name, value.encode()) for name, value in told.items()]

    def topic(self) -> str:
        return self._topic

    def key(self) -> bytes:
        return self._key

    def value(self) -> bytes:
        return self._value

    def headers(self) -> list[tuple[str, bytes]]:
        return self._headers


class Others:
    def __init__(self, operators: int) -> None:
        self.versions = {f"operator{n}": 1 for n in range(operators)}
        self.pid = 0

    def operators(self) -> list[Record]:
        return [
            Record(
                "resource-events", id, types.RESOURCE_CHANGED, f"{id}.1", 1,
                {"id": id, "tenant": "main", "type": "operator", "kind": "shared", "capacity": 1, "used": 0,
                 "roles": ["clerk"], "version": 1},
            )
            for id in self.versions
        ]  # fmt: skip

    def process(self, pid: int, type: str, version: int, dispatch: str | None = None, **more: Any) -> Record:
        now = datetime.now(UTC).isoformat()
        body = {
            "pid": pid, "tenant": "main", "version": version, "state": type.split(".")[2].upper(), "service": "approve",
            "service_version": 1, "entity": {"type": "permit", "id": str(pid)}, "priority": 50, "queue": "default", "at": now,
            "by": "bench", "created_at": now, "context": {"amount": 12, "name": "a name of some length", "tags": [1, 2, 3]},
            **more,
        }  # fmt: skip
        extra = {"ce_dispatchid": dispatch, "ce_give": "all"} if dispatch else {}
        return Record("process-events", str(pid), type, f"{pid}.{version}", version, body, **extra)

    def arrivals(self, count: int) -> list[Record]:
        made = []
        for _ in range(count):
            self.pid += 1
            made.append(self.process(self.pid, types.PROCESS_CREATED, 1))
            ready_at = datetime.now(UTC).isoformat()
            made.append(self.process(self.pid, types.PROCESS_READY, 2, ready_at=ready_at, demands=[DEMAND]))
        return made

    def use(self, told: dict[str, Any], used: int) -> dict[str, Any]:
        id = told["proposals"][0]["candidates"][0]
        self.versions[id] += 1
        return {"resource": id, "type": "operator", "units": 1, "hold": "running", "used": used, "capacity": 1,
                "version": self.versions[id]}  # fmt: skip

    def outcome(self, told: dict[str, Any], type: str, what: str, used: int) -> Record:
        pid, dispatch = str(told["pid"]), told["dispatch_id"]
        body = {"dispatch_id": dispatch, "pid": told["pid"], "process_version": 2, "queue": "default", "reason": "terminated",
                "operator": "x", "allocations": [self.use(told, used)]}  # fmt: skip
        return Record("resource-events", pid, type, f"{dispatch}.{what}", 0, body, ce_dispatchid=dispatch)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ready", type=int, default=10_000)
    parser.add_argument("--operators", type=int, default=200)
    parser.add_argument("--lifecycles", type=int, default=20_000)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    infra.open_session()
    try:
        server = infra.address_of("postgres")
        dsn = await databases.clone(server, await databases.make_template(server, "scheduler_svc"), "scheduler_svc")
        await run(dsn, options)
    finally:
        infra.close_session()


async def run(dsn: str, options: argparse.Namespace) -> None:
    database = Database(dsn, name="bench")
    await database.open()
    lease = Lease(database, "planner-0", "bench", 3600)
    keeping = asyncio.ensure_future(lease.keep())
    await lease.held.wait()
    memory = Memory(lease, 2_000)
    pipeline = Pipeline(database, lambda: Batch(memory), HANDLERS, committed=lambda: None)
    lane = asyncio.ensure_future(pipeline.run())
    consumer = Consumer(
        "", "scheduler-svc", TOPICS, ROUTES, pipeline, database, member="bench", default_tenant="main", assign=True
    )
    others, relay = Others(options.operators), await asyncpg.connect(dsn)
    spent = {"reading": 0.0, "pipeline": 0.0}

    async def carry_out(records: Sequence[Record]) -> None:
        for at in range(0, len(records), 500):
            begun = time.process_time()
            commands = [
                made for record in records[at : at + 500] if isinstance(made := consumer._read(record), Command)
            ]
            spent["reading"] += time.process_time() - begun
            results = await pipeline.submit_all(commands)
            assert not any(isinstance(result, Exception) for result in results)
            spent["pipeline"] += time.process_time() - begun

    async def proposals() -> list[dict[str, Any]]:
        rows = await relay.fetch("DELETE FROM outbox RETURNING id, body")
        return [orjson.loads(row["body"]) for row in sorted(rows, key=lambda row: row["id"])]

    await carry_out(others.operators())
    await carry_out(others.arrivals(options.ready + options.operators))
    told, done, running = await proposals(), 0, []
    spent.update(reading=0.0, pipeline=0.0)
    gc.collect()
    gc.freeze()
    profile = cProfile.Profile()
    wall = time.perf_counter()
    if options.profile:
        profile.enable()
    while done < options.lifecycles:
        records = others.arrivals(len(running))
        records += [others.outcome(each, types.RESOURCES_GRANTED, "granted", 1) for each in told]
        records += [others.process(each["pid"], types.PROCESS_RUNNING, 3, each["dispatch_id"]) for each in told]
        for each in running:
            records.append(others.process(each["pid"], types.PROCESS_TERMINATED, 4, each["dispatch_id"]))
            records.append(others.outcome(each, types.RESOURCES_RELEASED, "released", 0))
        await carry_out(records)
        done += len(running)
        running, told = told, await proposals()
    wall = time.perf_counter() - wall
    if options.profile:
        profile.disable()
        pstats.Stats(profile).sort_stats("tottime").print_stats(45)
    ready = await relay.fetchval("SELECT count(*) FROM ready_item WHERE state = 'ready'")
    for task in (lane, keeping):
        task.cancel()
    await asyncio.wait((lane, keeping))
    await relay.close()
    await database.close()
    print(
        json.dumps(
            {
                "ready": ready,
                "lifecycles": done,
                "decisions_per_s": round(done / wall),
                "python_ms_per_lifecycle": round(spent["pipeline"] / done * 1000, 4),
                "of_which_reading": round(spent["reading"] / done * 1000, 4),
            }
        )
    )


if __name__ == "__main__":
    uvloop.run(main())
