"""`make bench-lifecycle`: what one lifecycle costs, all five services with Kafka and Postgres on this machine.

A lifecycle: create, queue, allocate one operator of 200, RUNNING, complete, TERMINATED, released; counted when released (which
the outbox tells only after it is durable). Prints progress, and as its last line one JSON object.

    --seconds N   how long each of the loads lasts (60)
    --home DIR    where the stack keeps its data; an own temporary folder by default
    --only PART   throughput | http | latency | idle | start (several by commas)
"""

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import aiohttp
from benchmark.cost import measure, percentile
from benchmark.follow import Follower, Seen
from confluent_kafka import Producer
from kernel_contracts import message_types as types
from kernel_contracts.topics import PROCESS_COMMANDS, PROCESS_EVENTS, RESOURCE_EVENTS
from kernel_platform import control
from kernel_platform.home import Home
from kernel_platform.issuer import mint

OPERATORS = 200
SERVICE = "bench"
WARM_UP = 10.0
BATCH = 100
BACKLOG = 1_000
"""Created but not yet running, at most: enough to keep all operators busy, no more."""


class Stack:
    """The running installation, as `kernel status` tells it."""

    def __init__(self, home: Home, status: dict[str, Any]) -> None:
        self.home = home
        self.status = status
        token = mint(home, ["admin"])
        self.headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}

    @property
    def gateway(self) -> str:
        return str(self.status["gateway"])

    def groups(self) -> dict[str, list[int]]:
        """Pids by name: the services, `postgres`, `kafka`, `supervisor`."""
        groups: dict[str, list[int]] = {}
        for service in self.status["services"]:
            groups.setdefault(service["name"], []).append(service["pid"])
        state = json.loads((self.home.state_file).read_text())
        for name, pid in infrastructure(state).items():
            groups[name] = [pid]
        return groups


def infrastructure(state: dict[str, Any]) -> dict[str, int]:
    """Pids of the embedded Postgres and Kafka out of the supervisor's state file."""
    return {unit["name"]: unit["pid"] for unit in state["units"] if unit["name"] in ("postgres", "kafka")}


async def define(stack: Stack, http: aiohttp.ClientSession) -> None:
    design = {
        "services": {SERVICE: {"kind": "human", "roles": ["clerk"], "title": "A task of the benchmark"}},
        "operators": {f"clerk-{n:03}": {"roles": ["clerk"], "capacity": 1} for n in range(OPERATORS)},
    }
    async with http.post(f"{stack.gateway}/v1/design:apply", json=design, headers=stack.headers) as answer:
        if answer.status != 200:
            raise SystemExit(f"the design was refused: {answer.status} {await answer.text()}")


class Completer:
    """Publishes complete commands to Kafka, as an operator's own system would."""

    def __init__(self, bootstrap: str) -> None:
        self._producer = Producer(
            {"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 1, "log_level": 0}
        )

    def complete(self, pids: list[int]) -> None:
        for pid in pids:
            self._producer.produce(
                PROCESS_COMMANDS,
                json.dumps({"pid": pid, "output": {"ok": True}}).encode(),
                str(pid).encode(),
                headers=[
                    ("ce_specversion", "1.0"),
                    ("ce_id", f"done-{pid}"),
                    ("ce_type", types.COMPLETE_PROCESS),
                    ("ce_source", "/benchmark"),
                    ("content-type", "application/json"),
                ],
            )
        self._producer.poll(0)

    def close(self) -> None:
        self._producer.flush(10)


async def throughput(stack: Stack, http: aiohttp.ClientSession, seconds: float) -> dict[str, Any]:
    """Creates by processes:batch, completes over Kafka, as fast as 200 operators get their work."""
    loop = asyncio.get_running_loop()
    completer = Completer(stack.status["kafka"])
    count = {"created": 0, "running": 0, "released": 0}
    progress = asyncio.Event()

    def on_batch(seen: list[Seen]) -> None:
        running = [pid for kind, pid, _ in seen if kind == types.PROCESS_RUNNING]
        completer.complete(running)
        count["running"] += len(running)
        count["released"] += sum(kind == types.RESOURCES_RELEASED for kind, _, _ in seen)
        progress.set()

    follower = Follower(
        stack.status["kafka"],
        [PROCESS_EVENTS, RESOURCE_EVENTS],
        [types.PROCESS_RUNNING, types.RESOURCES_RELEASED],
        loop,
        on_batch,
    )
    body = {"items": [{"service": SERVICE, "context": {"amount": n}} for n in range(BATCH)]}
    stop = False

    async def create() -> None:
        while not stop:
            if count["created"] - count["running"] > BACKLOG:
                progress.clear()
                await asyncio.wait([asyncio.ensure_future(progress.wait())], timeout=0.2)
                continue
            headers = stack.headers | {"idempotency-key": uuid.uuid4().hex}
            async with http.post(f"{stack.gateway}/v1/processes:batch", json=body, headers=headers) as answer:
                items = (await answer.json())["items"]
            count["created"] += sum(item["status"] == 201 for item in items)

    creator = asyncio.ensure_future(create())
    await asyncio.sleep(WARM_UP)
    groups = stack.groups()
    before, started, first = measure(groups), time.perf_counter(), count["released"]
    await asyncio.sleep(seconds)
    after, ended, last = measure(groups), time.perf_counter(), count["released"]
    stop = True
    await creator
    for _ in range(60):
        if count["released"] >= count["created"]:
            break
        await asyncio.sleep(0.5)
    follower.close()
    completer.close()
    done = max(1, last - first)
    by_process = {name: round(1000 * spent / done, 3) for name, spent in after.since(before).items()}
    return {
        "lifecycles_per_s": round(done / (ended - started), 1),
        "cpu_ms_per_lifecycle": round(sum(by_process.values()), 3),
        "cpu_ms_by_process": by_process,
        "lost": count["created"] - count["released"],
    }


async def over_http(stack: Stack, http: aiohttp.ClientSession, seconds: float) -> dict[str, Any]:
    """One POST each for create and complete, 32 clients."""
    loop = asyncio.get_running_loop()
    running: dict[int, asyncio.Future[None]] = {}

    def on_batch(seen: list[Seen]) -> None:
        for _, pid, _ in seen:
            future = running.setdefault(pid, loop.create_future())
            if not future.done():
                future.set_result(None)

    follower = Follower(stack.status["kafka"], [PROCESS_EVENTS], [types.PROCESS_RUNNING], loop, on_batch)
    done = 0
    deadline = time.perf_counter() + seconds

    async def client() -> None:
        nonlocal done
        while time.perf_counter() < deadline:
            async with http.post(
                f"{stack.gateway}/v1/processes", json={"service": SERVICE}, headers=stack.headers
            ) as answer:
                pid = (await answer.json())["pid"]
            future = running.setdefault(pid, loop.create_future())
            await asyncio.wait_for(future, 30)
            del running[pid]
            async with http.post(
                f"{stack.gateway}/v1/processes/{pid}/complete", json={"output": {}}, headers=stack.headers
            ) as answer:
                if answer.status != 200:
                    raise SystemExit(f"complete was refused: {answer.status} {await answer.text()}")
            done += 1

    groups = stack.groups()
    before, started = measure(groups), time.perf_counter()
    await asyncio.gather(*(client() for _ in range(64)))
    after, ended = measure(groups), time.perf_counter()
    follower.close()
    spent = sum(after.since(before).values())
    return {
        "http_lifecycles_per_s": round(done / (ended - started), 1),
        "http_cpu_ms_per_lifecycle": round(1000 * spent / max(1, done), 3),
    }


async def latency(stack: Stack, http: aiohttp.ClientSession, seconds: float, rate: float = 50.0) -> dict[str, Any]:
    """Open loop: one create each 1/rate seconds whatever the answers take, times counted from the intended start.

    What begins in the first seconds only warms up: Kafka's JVM compiles what it runs often.
    """
    loop = asyncio.get_running_loop()
    intended: dict[int, float] = {}
    early: dict[int, float] = {}
    posts: list[float] = []
    to_running: list[float] = []
    completer = Completer(stack.status["kafka"])

    def on_batch(seen: list[Seen]) -> None:
        for _, pid, at in seen:
            if pid in intended:
                to_running.append(1000 * (at - intended.pop(pid)))
            else:
                early[pid] = at
        completer.complete([pid for _, pid, _ in seen])

    follower = Follower(stack.status["kafka"], [PROCESS_EVENTS], [types.PROCESS_RUNNING], loop, on_batch)

    async def create(at: float) -> None:
        async with http.post(
            f"{stack.gateway}/v1/processes", json={"service": SERVICE}, headers=stack.headers
        ) as answer:
            pid = (await answer.json())["pid"]
        if at < begin + WARM_UP:
            return
        posts.append(1000 * (time.perf_counter() - at))
        if pid in early:
            to_running.append(1000 * (early.pop(pid) - at))
        else:
            intended[pid] = at

    tasks = []
    begin = time.perf_counter()
    jitter = random.Random(7)
    for n in range(int((WARM_UP + seconds) * rate)):
        at = begin + (n + jitter.random() * 0.5) / rate
        await asyncio.sleep(max(0.0, at - time.perf_counter()))
        tasks.append(asyncio.ensure_future(create(at)))
    await asyncio.gather(*tasks)
    await asyncio.sleep(2)
    follower.close()
    completer.close()
    return {
        "latency_ms": {
            "rate": rate,
            "n": len(to_running),
            "post_p50": round(percentile(posts, 0.5), 2),
            "post_p99": round(percentile(posts, 0.99), 2),
            "running_p50": round(percentile(to_running, 0.5), 2),
            "running_p99": round(percentile(to_running, 0.99), 2),
        }
    }


async def idle(stack: Stack, seconds: float) -> dict[str, Any]:
    await asyncio.sleep(5)
    groups = stack.groups()
    before, started = measure(groups), time.perf_counter()
    await asyncio.sleep(seconds)
    after, ended = measure(groups), time.perf_counter()
    services = [name for name in groups if name not in ("postgres", "kafka", "supervisor")]
    return {
        "idle": {
            "services_mib": round(sum(after.mib[name] for name in services), 1),
            "mib": {name: round(value, 1) for name, value in after.mib.items()},
            "cpu_percent": {
                name: round(100 * spent / (ended - started), 2) for name, spent in after.since(before).items()
            },
        }
    }


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def drive(stack: Stack, parts: list[str], seconds: float) -> dict[str, Any]:
    found: dict[str, Any] = {}
    connector = aiohttp.TCPConnector(limit=256)
    async with aiohttp.ClientSession(connector=connector) as http:
        await define(stack, http)
        loads = {
            "throughput": lambda: throughput(stack, http, seconds),
            "latency": lambda: latency(stack, http, min(30.0, seconds)),
            "http": lambda: over_http(stack, http, min(30.0, seconds)),
            "idle": lambda: idle(stack, 20.0),
        }
        for name, load in loads.items():
            if name in parts:
                say(f"bench: {name}")
                part = await load()
                say(f"bench: {json.dumps(part)}")
                found |= part
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--only", default="start,idle,latency,throughput,http")
    parser.add_argument("--keep", action="store_true", help="leave the stack running")
    arguments = parser.parse_args()
    parts = arguments.only.split(",")
    with tempfile.TemporaryDirectory(prefix="kernel-bench-") as temporary:
        home = Home(arguments.home or Path(temporary))
        found: dict[str, Any] = {"benchmark": "lifecycle", "operators": OPERATORS, "cores": os.cpu_count()}
        try:
            status = control.up(home=home, on_progress=say)
            if "start" in parts:
                control.down(home=home, on_progress=say)
                started = time.perf_counter()
                status = control.up(home=home, on_progress=say)
                found["up_again_s"] = round(time.perf_counter() - started, 1)
            found |= asyncio.run(drive(Stack(home, status), parts, arguments.seconds))
        finally:
            if not arguments.keep:
                control.down(home=home, on_progress=say)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
