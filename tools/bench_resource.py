"""`make bench-resource`: what an allocation and its release cost resource-svc, on a real Postgres with fsync on.

Drives the service's own consumer and pipeline, one replica, with records as Kafka would hand them over; Kafka and the relay
apart. A lifecycle here: one Allocate, one process event that gives back, and the four events that are dropped by their
headers. Prints progress, and as its last line one JSON object.

    --seconds N    how long each measurement lasts (10)
    --dsn DSN      an empty database of a running server; an own embedded one by default
    --profile      print where Python spends its time
"""

import argparse
import asyncio
import contextlib
import cProfile
import itertools
import json
import os
import pstats
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import orjson
import uvloop
from benchmark.cost import measure
from benchmark.records import Record, headers
from benchmark.server import own_postgres
from kernel_contracts import message_types as types
from kernel_contracts.resource import OperatorDefinition
from kernel_runtime.command import Answer, Cause, Command
from kernel_runtime.database import Database
from kernel_runtime.service import Parts
from resource_svc import fsck
from resource_svc.consumer import ROUTES, TOPICS
from resource_svc.domain.resource import Resource
from resource_svc.handlers import HANDLERS, TOUCHES
from resource_svc.handlers.design import Design
from resource_svc.settings import Settings
from resource_svc.store import Cache, Work
from resource_svc.wire import operator

OPERATORS = 200
BATCH = 500
DROPPED = (types.PROCESS_CREATED, types.PROCESS_READY, types.PROCESS_RUNNING, types.CONTEXT_CHANGED)


def allocate(pid: int, dispatch: str, proposals: list[dict[str, Any]]) -> Record:
    body = {"dispatch_id": dispatch, "pid": pid, "process_version": 2, "queue": "default", "proposals": proposals}
    return Record(
        "resource-commands",
        "default",
        headers(dispatch, types.ALLOCATE_RESOURCES, "/kernel/scheduler-svc"),
        orjson.dumps(body),
    )


def ended(pid: int, dispatch: str) -> list[Record]:
    """All process events of one lifecycle; the last one gives back."""
    about = {"ce_dispatchid": dispatch}
    dropped = [
        Record("process-events", str(pid), headers(f"{pid}.{n}", type, "/kernel/process-svc", **about), b"{}")
        for n, type in enumerate(DROPPED, start=1)
    ]
    give = {**about, "ce_give": "all", "ce_aggregateversion": "4"}
    last = headers(f"{pid}.4", types.PROCESS_TERMINATED, "/kernel/process-svc", **give)
    return [*dropped, Record("process-events", str(pid), last, b"{}")]


def single(pids: Iterator[int], n: int) -> list[tuple[int, list[dict[str, Any]]]]:
    """Clerks, least loaded first: as the scheduler proposes."""
    return [
        (next(pids), [need("operator", [f"clerk-{(i + k) % OPERATORS:03}" for k in range(4)], roles=["clerk"])])
        for i in range(n)
    ]


def gang(pids: Iterator[int], n: int) -> list[tuple[int, list[dict[str, Any]]]]:
    return [
        (
            next(pids),
            [
                need("operator", [f"clerk-{i % OPERATORS:03}", f"clerk-{(i + 1) % OPERATORS:03}"], roles=["clerk"]),
                need("room", [f"room-{i % OPERATORS:03}"]),
                need("entity", [], resource=f"entity:permit:{random.randrange(100_000)}", hold="process"),
            ],
        )
        for i in range(n)
    ]


def need(type: str, candidates: list[str], **demand: Any) -> dict[str, Any]:
    return {"demand": {"type": type, "units": 1, "hold": "running", **demand}, "candidates": candidates}


def migrate(dsn: str) -> None:
    env = {**os.environ, "KERNEL_DATABASE_URL": dsn, "KERNEL_KAFKA_BOOTSTRAP": "127.0.0.1:9"}
    subprocess.run([sys.executable, "-m", "resource_svc", "migrate"], env=env, check=True, stdout=subprocess.DEVNULL)


class Bench:
    def __init__(self, dsn: str, postgres: int | None) -> None:
        settings = Settings.model_validate({"database_url": dsn, "kafka_bootstrap": "127.0.0.1:9"})
        cache: Cache = {}
        self.parts = Parts("resource-svc", settings, lambda: Work(TOUCHES, cache), HANDLERS)
        self.consumer = self.parts.consumer(TOPICS, ROUTES)
        self.pids = itertools.count(1)
        self.reading = 0.0
        self._groups = {"postgres": [postgres]} if postgres else {}

    @property
    def database(self) -> Database:
        return self.parts.database

    async def define(self) -> None:
        operators = {f"clerk-{n:03}": {"roles": ["clerk"], "capacity": 5} for n in range(OPERATORS)}
        design = Design(
            {},
            {f"room-{n:03}": Resource(f"room-{n:03}", "room", capacity=5) for n in range(OPERATORS)},
            {id: operator(id, OperatorDefinition.model_validate(each)) for id, each in operators.items()},
        )
        command = Command(
            "define", "apply_design", "main", design, "bench", Cause(None, "define"), roles=frozenset({"admin"})
        )
        result = await self.parts.pipeline.submit(command)
        assert isinstance(result, Answer), result

    async def carry_out(self, records: list[Record]) -> None:
        """As the consumer does with what it polled."""
        started = time.process_time()
        commands = [made for record in records if (made := self.consumer._read(record)) is not None]
        self.reading += time.process_time() - started
        assert all(isinstance(made, Command) for made in commands), commands[:1]
        for result in await self.parts.pipeline.submit_all(commands):  # type: ignore[arg-type]
            assert isinstance(result, Answer), result

    async def run(self, name: str, make: Any, seconds: float) -> dict[str, float]:
        """Lifecycles in batches: all allocate, then all give back, mixed as they arrive."""
        before, cpu, started = measure(self._groups), time.process_time(), time.perf_counter()
        done, pending, preparing = 0, [], 0.0
        self.reading = 0.0
        while time.perf_counter() - started - preparing < seconds:
            at = time.perf_counter(), time.process_time()
            work = make(self.pids, BATCH)
            records = [allocate(pid, f"d-{pid}", proposals) for pid, proposals in work]
            gone = [record for pid in pending for record in ended(pid, f"d-{pid}")]
            pending = [pid for pid, _ in work]
            preparing += time.perf_counter() - at[0]
            cpu += time.process_time() - at[1]
            await self.carry_out(gone + records)
            done += BATCH
        wall = time.perf_counter() - started - preparing
        spent = time.process_time() - cpu
        reading, self.reading = self.reading, 0.0
        await self.carry_out([record for pid in pending for record in ended(pid, f"d-{pid}")])
        await self.check(done)
        found = {
            f"{name}_per_s": round(done / wall),
            f"{name}_python_ms": round(spent / done * 1000, 4),
            f"{name}_python_reading_ms": round(reading / done * 1000, 4),
        }
        if self._groups:
            found[f"{name}_postgres_ms"] = round(measure(self._groups).since(before)["postgres"] / done * 1000, 4)
        print(name, found, flush=True)
        return found

    async def check(self, done: int) -> None:
        async with self.database.connection() as connection:
            wrong = [each for each in await fsck.check(connection) if each["breaches"]]
            denied = await connection.fetchval("SELECT count(*) FROM dispatch WHERE outcome <> 'granted'")
            used = await connection.fetchval("SELECT coalesce(sum(used), 0) FROM resource")
            await connection.execute("TRUNCATE outbox")
        assert not wrong, wrong
        assert used == 0, f"{used} units are still in use"
        print(f"  {done} done, {denied} denied so far, all given back, fsck clean", flush=True)


async def main(dsn: str, postgres: int | None, arguments: argparse.Namespace) -> dict[str, Any]:
    bench = Bench(dsn, postgres)
    await bench.database.open()
    lane = asyncio.create_task(bench.parts.pipeline.run())
    await bench.define()
    found: dict[str, Any] = {"benchmark": "resource", "cores": os.cpu_count(), "operators": OPERATORS}
    await bench.run("warm_up", single, 1)
    profile = cProfile.Profile()
    for name, make in (("single", single), ("gang_of_three", gang)):
        if arguments.profile:
            profile.enable()
        found |= await bench.run(name, make, arguments.seconds)
        profile.disable()
    if arguments.profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(35)
    lane.cancel()
    await asyncio.gather(lane, return_exceptions=True)
    await bench.database.close()
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--dsn")
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    with contextlib.nullcontext((given.dsn, None)) if given.dsn else own_postgres() as (dsn, postgres):
        migrate(dsn)
        print(json.dumps(uvloop.run(main(dsn, postgres, given))))
