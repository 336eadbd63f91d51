"""`make bench-work`: automatic processes through the whole stack, carried out by Python workers in this one process.

Throughput: processes are created ahead by processes:batch; counted when the kernel has taken the worker's answer. Latency: one
create each 1/rate seconds; from the moment before its POST to the first line of the worker's function. Prints progress, and as
its last line one JSON object.

    --seconds N   how long each of the loads lasts (20)
    --workers N   workers, each with its own claims (8); --concurrency N: processes at a time of each (32)
    --idle N      further claims that only wait; what they cost is measured first (0)
    --replicas N  of process-svc and of the gateway (1)
    --only PART   latency | throughput
    --home DIR    where the stack keeps its data; an own temporary folder by default
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from bench_lifecycle import Stack, say
from benchmark.cost import measure, percentile
from kernel_client import Kernel
from kernel_client.worker import Worker
from kernel_platform import control
from kernel_platform.home import Home
from kernel_platform.issuer import mint

SERVICE, NEVER = "bench.work", "bench.never"
BATCH = 100
BACKLOG = 2_000
WARM_UP = 5.0


class Load:
    """Workers that are running, and what they saw."""

    def __init__(self, kernel: Kernel, workers: int, concurrency: int) -> None:
        self.kernel = kernel
        self.waits: list[float] = []
        self.workers = [Worker(kernel, concurrency=concurrency, name=f"bench-{n}") for n in range(workers)]
        for worker in self.workers:
            worker.service(SERVICE)(self._work)

    async def _work(self, context: dict[str, Any]) -> dict[str, Any]:
        if "at" in context:
            self.waits.append(1000 * (time.perf_counter() - context["at"]))
        return {"ok": True}

    @property
    def done(self) -> int:
        return sum(worker.done for worker in self.workers)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        tasks = [asyncio.ensure_future(worker.serve()) for worker in self.workers]
        try:
            yield
        finally:
            for worker in self.workers:
                worker.stop()
            await asyncio.gather(*tasks)


async def throughput(stack: Stack, load: Load, seconds: float) -> dict[str, Any]:
    created, stop, before = 0, False, load.done
    items = [{"service": SERVICE, "context": {"amount": n}} for n in range(BATCH)]

    async def create() -> None:
        nonlocal created
        while not stop:
            if created - (load.done - before) > BACKLOG:
                await asyncio.sleep(0.01)
                continue
            await load.kernel.processes.create_many(items)
            created += BATCH

    creating = [asyncio.ensure_future(create()) for _ in range(2)]
    await asyncio.sleep(WARM_UP)
    say(f"bench: {load.done - before} of {created} are done")
    groups = stack.groups()
    cost, own, began, first = measure(groups), time.process_time(), time.perf_counter(), load.done
    await asyncio.sleep(seconds)
    took, done = time.perf_counter() - began, load.done - first
    spent = {"workers": time.process_time() - own, **measure(groups).since(cost)}
    stop = True
    await asyncio.gather(*creating)
    for _ in range(30):
        say(f"bench: {load.done - before} of {created} are done")
        if load.done - before >= created:
            break
        await asyncio.sleep(1)
    by_process = {name: round(1000 * each / max(1, done), 3) for name, each in spent.items()}
    return {
        "completed_per_s": round(done / took, 1),
        "cpu_ms_per_process": round(sum(by_process.values()), 3),
        "cpu_ms_by_process": by_process,
        "lost": created - (load.done - before),
    }


async def latency(stack: Stack, load: Load, seconds: float, rate: float = 50.0) -> dict[str, Any]:
    """Open loop; what begins in the first seconds only warms up."""
    jitter, begin = random.Random(7), time.perf_counter()
    tasks = []
    load.waits.clear()
    for n in range(int((WARM_UP + seconds) * rate)):
        at = begin + (n + jitter.random() * 0.5) / rate
        await asyncio.sleep(max(0.0, at - time.perf_counter()))
        context = {"at": time.perf_counter()} if at > begin + WARM_UP else {}
        tasks.append(asyncio.ensure_future(load.kernel.processes.create(SERVICE, context=context)))
    await asyncio.gather(*tasks)
    await asyncio.sleep(1)
    return {
        "created_to_worker_ms": {
            "rate": rate,
            "n": len(load.waits),
            "p50": round(percentile(load.waits, 0.5), 2),
            "p99": round(percentile(load.waits, 0.99), 2),
        }
    }


async def idle(stack: Stack, seconds: float) -> dict[str, Any]:
    """What the claims that wait cost while nothing comes."""
    await asyncio.sleep(WARM_UP)
    groups = stack.groups()
    cost, began = measure(groups), time.perf_counter()
    await asyncio.sleep(seconds)
    spent, took = measure(groups).since(cost), time.perf_counter() - began
    return {"idle_cpu_percent": {name: round(100 * each / took, 1) for name, each in spent.items()}}


@contextlib.asynccontextmanager
async def waiting(kernel: Kernel, number: int) -> AsyncIterator[None]:
    """Claims of what never comes."""

    async def wait(n: int) -> None:
        while True:
            await kernel.work.claim([NEVER], f"idle-{n}", wait=60)

    tasks = [asyncio.ensure_future(wait(n)) for n in range(number)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def drive(stack: Stack, arguments: argparse.Namespace) -> dict[str, Any]:
    token = mint(stack.home, ["admin"])
    async with Kernel(stack.gateway, token, connections=200 + arguments.idle) as kernel:
        await kernel.apply({"services": {SERVICE: {"kind": "automatic"}, NEVER: {"kind": "automatic"}}})
        load = Load(kernel, arguments.workers, arguments.concurrency)
        found: dict[str, Any] = {}
        async with waiting(kernel, arguments.idle), load.running():
            if arguments.idle:
                found |= await idle(stack, arguments.seconds)
                say(f"bench: {json.dumps(found)}")
            for name, part in (("latency", latency), ("throughput", throughput)):
                if name in arguments.only:
                    say(f"bench: {name}")
                    found |= await part(stack, load, arguments.seconds)
                    say(f"bench: {json.dumps(found)}")
            return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--idle", type=int, default=0)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--only", default="latency,throughput")
    parser.add_argument("--home", type=Path)
    arguments = parser.parse_args()
    shape = {name: getattr(arguments, name) for name in ("workers", "concurrency", "idle", "replicas")}
    with tempfile.TemporaryDirectory(prefix="kernel-bench-") as temporary:
        home = Home(arguments.home or Path(temporary))
        found: dict[str, Any] = {"benchmark": "work", "cores": os.cpu_count(), **shape}
        try:
            services = {"process-svc": arguments.replicas, "gateway": arguments.replicas}
            status = control.up(services, home=home, on_progress=say)
            found |= asyncio.run(drive(Stack(home, status), arguments))
        finally:
            control.down(home=home, on_progress=say)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
