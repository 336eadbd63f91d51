"""Two replicas on one database, families of processes, commands at random: nothing breaks, nothing is forgotten."""

import asyncio
import random
from typing import Any

from kernel_runtime.problem import Problem
from kernel_testing import eventually
from process_svc.ticker import Ticker

from .lane import Lane, lane

COMMANDS: list[tuple[str, dict[str, Any]]] = [
    ("complete", {}),
    ("complete", {}),
    ("cancel", {}),
    ("fail", {"error": {"class": "transient"}}),
    ("suspend", {"cascade": True}),
    ("suspend", {"hold": True}),
    ("resume", {"cascade": True}),
    ("release", {}),
    ("wait", {"for": {"children": {}}}),
    ("wait", {"for": {"timer": {"after": "PT0.05S"}}}),
    ("call", {"service": "check", "context": {"n": "=process.pid"}}),
    ("map", {"service": "kept", "over": [1, 2, 3, 4], "max_running": 2, "join": 2, "on_child_failure": "wake"}),
    ("iterate", {"service": "check", "over": "=[process.pid, 2]", "timeout": "PT0.2S", "on_timeout": "wake"}),
    ("arrive", {"name": "gate", "parties": 2}),
    ("arrive", {"name": "wide", "parties": 3, "timeout": "PT0.2S"}),
    ("wake", {"context": {"woken": True}}),
    ("rollback", {"version": 1}),
    ("retry", {}),
    ("prioritize", {"priority": 7}),
    ("set_context", {"patch": {"n": 1}}),
]
ROUNDS = 250


async def busy(kernel: Lane, dice: random.Random, pids: list[int]) -> None:
    """Creates and commands, one after the other."""
    for number in range(ROUNDS):
        if len(pids) < 4 or dice.random() < 0.3:
            fields: dict[str, Any] = {"context": {"n": number}}
            if pids and dice.random() < 0.6:
                fields["parent"] = dice.choice(pids)
            if pids and dice.random() < 0.4:
                chosen = sorted({dice.choice(pids) for _ in range(2)})
                fields |= {"after": chosen, "after_on": "always", "after_mode": dice.choice(["all", "any"])}
            made = await kernel.create(dice.choice(["check", "kept", "auto"]), **fields)
            if not isinstance(made, Problem):
                pids.append(made["pid"])
        elif dice.random() < 0.5:
            process = (await kernel.http.get(f"/v1/processes/{dice.choice(pids)}")).json()
            await kernel.grant(process, dispatch=f"{process['pid']}.{process['version']}.{number}.{id(dice)}")
        elif dice.random() < 0.3:
            await worked(kernel, dice)
        else:
            name, fields = dice.choice(COMMANDS)
            await kernel.ask(name, dice.choice(pids), **fields)


async def worked(kernel: Lane, dice: random.Random) -> None:
    """A worker's round: what it claims it answers, lets lapse, or gives back."""
    claim = {"services": ["auto"], "worker": "w", "max": 3, "lease": 1}
    items = (await kernel.http.post("/v1/work:claim", json=claim)).json()["items"]
    for item in items:
        name = dice.choice(["complete", "fail", "release", "heartbeat", "nothing"])
        if name != "nothing":
            await kernel.http.post(f"/v1/work/{item['pid']}/{name}", json={"token": item["token"]})


async def test_two_replicas_and_their_families(kernel: Lane, database: str) -> None:
    await kernel.define(retry={"max_attempts": 3, "backoff": {"initial": "PT0.01S"}})
    await kernel.define("kept", on_parent_close="detach")
    await kernel.define("auto", kind="automatic", retry={"max_attempts": 2, "backoff": {"initial": "PT0.01S"}})
    pids: list[int] = []
    async with lane(database) as other:
        ticker = Ticker(kernel.database, kernel.pipeline, abandoned=0.5)
        ticking = asyncio.ensure_future(ticker.run(1))
        await asyncio.gather(
            *(busy(each, random.Random(seed), pids) for seed, each in enumerate((kernel, other, kernel, other)))
        )

        async def quiet() -> bool:
            async with kernel.database.connection() as connection:
                left = await connection.fetchval(
                    "SELECT (SELECT count(*) FROM follow_up)"
                    " + (SELECT count(*) FROM process WHERE wake_at < clock_timestamp())"
                    " + (SELECT count(*) FROM work_lease WHERE until IS NOT NULL)"
                )
            return bool(left == 0)

        await eventually(quiet, timeout=20)
        await other.settle()
        assert not ticking.done()
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)
    assert await kernel.breaches() == {}
    async with kernel.database.connection() as connection:
        states = dict(await connection.fetch("SELECT state, count(*) FROM process GROUP BY 1"))
        assert sum(states.values()) >= len(pids)
        assert len(states) >= 4, states
        forgotten = await connection.fetch(
            "SELECT parent.pid FROM process parent JOIN process child ON child.parent = parent.pid"
            " WHERE parent.state = 'TERMINATED' AND child.state <> 'TERMINATED' AND child.service = 'check'"
            " AND NOT EXISTS (SELECT FROM journal WHERE journal.pid IN (parent.pid, child.pid) AND command = 'rollback')"
        )
        assert not forgotten
        stuck = await connection.fetch(
            "SELECT pid FROM process WHERE state = 'NEW' AND attempt = 1 AND NOT EXISTS ("
            " SELECT FROM process before WHERE before.pid = ANY(process.after) AND before.state <> 'TERMINATED')"
        )
        assert not stuck
