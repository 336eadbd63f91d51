"""`make bench-process`: transitions a second through process-svc's pipeline, one replica, on a real Postgres with fsync on.

Drives the service's own consumer and pipeline with records as Kafka would hand them over; Kafka and the relay apart. A
lifecycle is four transitions: created and ready (one batch of creates), running (grants), terminated (completes). Prints
progress, and as its last line one JSON object.

    --seconds N    how long the measurement lasts (10)
    --tree N       children of one parent that are then created by `map`, run, completed and joined (10,000; 0: none)
    --dsn DSN      an empty database of a running server; an own embedded one by default
    --search N     then the queries of lists and task lists over N further processes, as p50 and p99 in ms (1,000,000; 0: none)
    --profile      print where Python spends its time
"""

import argparse
import asyncio
import contextlib
import cProfile
import json
import os
import pstats
import subprocess
import sys
import time
from typing import Any

import httpx
import orjson
import uvloop
from benchmark import search
from benchmark.cost import measure
from benchmark.records import Record, headers
from benchmark.server import own_postgres
from kernel_contracts import message_types as types
from kernel_contracts.process import CreateProcess, ServiceDefinition
from kernel_runtime.command import Answer, Cause, Command, fingerprint
from kernel_runtime.http import application
from process_svc import fsck, http
from process_svc.app import wired
from process_svc.handlers.bodies import Batch, Definitions
from process_svc.settings import Settings

BATCH = 500
ROUNDS = 31
"""Of each query."""
SERVICE = "bench"


class Bench:
    def __init__(self, dsn: str, postgres: int | None) -> None:
        settings = Settings.model_validate({"database_url": dsn, "kafka_bootstrap": "127.0.0.1:9", "env": "dev"})
        self.settings = settings
        self.parts, self.ticker, self.runner, self.desk = wired(settings)
        (self.consumer,) = self.parts.consumers
        self.groups = {"postgres": [postgres]} if postgres else {}
        self.serial = 0
        self.spent: dict[str, float] = {}

    def command(self, name: str, body: Any, raw: bytes = b"", weight: int = 1) -> Command:
        self.serial += 1
        id = f"bench-{self.serial}"
        return Command(
            id,
            name,
            "main",
            body,
            "bench",
            Cause(id, id),
            fingerprint=fingerprint(name, raw) if raw else None,
            roles=frozenset({"admin"}),
            weight=weight,
        )

    async def define(self) -> None:
        definition = ServiceDefinition.model_validate({"roles": ["clerk"], "title": "A task of the benchmark"})
        body = Definitions({SERVICE: definition})
        result = await self.parts.pipeline.submit(self.command("define_services", body))
        assert isinstance(result, Answer), result

    async def create(self) -> list[int]:
        raw = orjson.dumps({"items": [{"service": SERVICE, "context": {"amount": n}} for n in range(BATCH)]})
        items = [("create", CreateProcess.model_validate(item)) for item in orjson.loads(raw)["items"]]
        result = await self.parts.pipeline.submit(self.command("create_batch", Batch(items), raw, BATCH))
        assert isinstance(result, Answer), result
        found = orjson.loads(result.body)["items"]
        assert all(item["status"] == 201 for item in found), found[0]
        return [item["process"]["pid"] for item in found]

    async def carry_out(self, records: list[Record]) -> None:
        """As the consumer does with what it polled."""
        commands = [made for record in records if (made := self.consumer._read(record)) is not None]
        assert all(isinstance(made, Command) for made in commands), commands[:1]
        for result in await self.parts.pipeline.submit_all(commands):  # type: ignore[arg-type]
            assert isinstance(result, Answer), result

    async def timed(self, name: str, work: Any) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        result = await work
        self.spent[f"{name}_wall"] = self.spent.get(f"{name}_wall", 0.0) + time.perf_counter() - wall
        self.spent[f"{name}_python"] = self.spent.get(f"{name}_python", 0.0) + time.process_time() - cpu
        return result

    async def run(self, seconds: float) -> dict[str, float]:
        self.spent = {}
        started, before, rounds = time.perf_counter(), measure(self.groups), 0
        while time.perf_counter() - started < seconds:
            pids = await self.timed("create", self.create())
            await self.timed("dispatch", self.carry_out([grant(pid) for pid in pids]))
            await self.timed("complete", self.carry_out([complete(pid) for pid in pids]))
            rounds += 1
        done = rounds * BATCH
        wall = sum(value for name, value in self.spent.items() if name.endswith("_wall"))
        python = sum(value for name, value in self.spent.items() if name.endswith("_python"))
        found = {
            "transitions_per_s": round(4 * done / wall),
            "commands_per_s": round(3 * done / wall),
            "python_ms_per_command": round(1000 * python / done / 3, 4),
            **{f"{name}_us": round(1e6 * value / done, 1) for name, value in self.spent.items()},
        }
        if self.groups:
            found["postgres_ms_per_lifecycle"] = round(1000 * measure(self.groups).since(before)["postgres"] / done, 4)
        print(found, flush=True)
        return found

    async def tree(self, children: int) -> float:
        """Seconds to create a parent's children by `map`, run and complete them, and join: all durable."""
        await self.define()
        began = time.perf_counter()
        parent = await self.parts.pipeline.submit(
            self.command("create", CreateProcess.model_validate({"service": SERVICE}))
        )
        assert isinstance(parent, Answer), parent
        pid: int = orjson.loads(parent.body)["pid"]
        await self.carry_out([grant(pid)])
        about = headers(f"map-{pid}", types.MAP_PROCESS, "/benchmark")
        asked = {"pid": pid, "service": SERVICE, "over": list(range(children)), "into": "all"}
        await self.carry_out([Record("process-commands", str(pid), about, orjson.dumps(asked))])
        done = 0
        while done < children:
            async with self.parts.database.connection() as connection:
                ready = await connection.fetch(
                    "SELECT pid FROM process WHERE parent = $1 AND state = 'READY' ORDER BY pid LIMIT $2", pid, BATCH
                )
            pids = [row["pid"] for row in ready]
            if not pids:
                await asyncio.sleep(0.005)
                continue
            await self.carry_out([grant(pid) for pid in pids])
            await self.carry_out([complete(pid) for pid in pids])
            done += len(pids)
        while True:
            async with self.parts.database.connection() as connection:
                row = await connection.fetchrow("SELECT state, context FROM process WHERE pid = $1", pid)
            if row["state"] == "READY":
                break
            await asyncio.sleep(0.005)
        assert len(orjson.loads(row["context"])["all"]) == children
        spent = time.perf_counter() - began
        print({"tree": children, "seconds": round(spent, 2)}, flush=True)
        return spent

    async def check(self) -> None:
        async with self.parts.database.connection() as connection:
            wrong = [each for each in await fsck.run(connection) if each["breaches"]]
            await connection.execute("TRUNCATE outbox")
        assert not wrong, wrong
        print("fsck clean", flush=True)


async def searched(bench: Bench, number: int) -> dict[str, Any]:
    """The slowest query, and all of them as [p50, p99] in ms."""
    bodies = {f"bench-{n}": ServiceDefinition.model_validate(search.definition(n)) for n in range(search.SERVICES + 1)}
    result = await bench.parts.pipeline.submit(bench.command("define_services", Definitions(bodies)))
    assert isinstance(result, Answer), result
    async with bench.parts.database.connection() as connection:
        await search.fill(connection, number)
    print(f"{number:,} processes filled in", flush=True)
    app = application(
        http.routes(bench.parts.database, bench.parts.pipeline, bench.desk, bench.settings), internal_token="bench"
    )
    headers = {"x-kernel-token": "bench", "x-kernel-roles": "admin"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://bench", headers=headers, timeout=60) as client:
        found = await search.asked(client, ROUNDS)
    for name, (middle, most) in found.items():
        print(f"{name:32} p50 {middle:7.1f} ms   p99 {most:7.1f} ms", flush=True)
    slowest = max(found, key=lambda name: found[name][1])
    return {
        "search_processes": number,
        "search_slowest": slowest,
        "search_p99_ms": found[slowest][1],
        "search_ms": found,
    }


def grant(pid: int) -> Record:
    dispatch = f"{pid}.2.1"
    body = {
        "dispatch_id": dispatch,
        "pid": pid,
        "process_version": 2,
        "queue": "default",
        "operator": "clerk-001",
        "allocations": [
            {"resource": "clerk-001", "type": "operator", "units": 1, "used": 1, "capacity": 1, "version": 7}
        ],
    }
    about = headers(f"{dispatch}.granted", types.RESOURCES_GRANTED, "/kernel/resource-svc", ce_dispatchid=dispatch)
    return Record("resource-events", str(pid), about, orjson.dumps(body))


def complete(pid: int) -> Record:
    about = headers(f"done-{pid}", types.COMPLETE_PROCESS, "/benchmark")
    return Record("process-commands", str(pid), about, orjson.dumps({"pid": pid, "output": {"ok": True}}))


async def main(dsn: str, postgres: int | None, arguments: argparse.Namespace) -> dict[str, Any]:
    bench = Bench(dsn, postgres)
    await bench.parts.database.open()
    lane = asyncio.create_task(bench.parts.pipeline.run())
    await bench.define()
    await bench.run(1)
    profile = cProfile.Profile()
    if arguments.profile:
        profile.enable()
    found = {"benchmark": "process", "cores": os.cpu_count(), **await bench.run(arguments.seconds)}
    profile.disable()
    if arguments.tree:
        found["tree_children"], found["tree_s"] = arguments.tree, round(await bench.tree(arguments.tree), 2)
    await bench.check()
    if arguments.search:
        found |= await searched(bench, arguments.search)
    if arguments.profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(45)
    lane.cancel()
    await asyncio.gather(lane, return_exceptions=True)
    await bench.parts.database.close()
    return found


def migrate(dsn: str) -> None:
    env = {**os.environ, "KERNEL_DATABASE_URL": dsn, "KERNEL_KAFKA_BOOTSTRAP": "127.0.0.1:9"}
    subprocess.run([sys.executable, "-m", "process_svc", "migrate"], env=env, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--tree", type=int, default=10_000)
    parser.add_argument("--search", type=int, default=1_000_000)
    parser.add_argument("--dsn")
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    with contextlib.nullcontext((given.dsn, None)) if given.dsn else own_postgres() as (dsn, postgres):
        migrate(dsn)
        print(json.dumps(uvloop.run(main(dsn, postgres, given))))
