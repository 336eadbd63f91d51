"""Time, driven by the ticker on a real database."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from kernel_testing import eventually
from process_svc.ticker import Ticker

from .lane import Lane


@pytest.fixture
async def ticking(kernel: Lane) -> AsyncIterator[Lane]:
    ticker = Ticker(kernel.database, kernel.pipeline, abandoned=0.2)
    kernel.memory.due = ticker.wake
    running = asyncio.ensure_future(ticker.run(1))
    yield kernel
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def reaches(kernel: Lane, pid: int, state: str) -> Any:
    async def there() -> Any:
        found = await kernel.read(pid)
        assert found["state"] == state, found
        return found

    return await eventually(there, timeout=10, interval=0.01)


async def test_what_is_due_happens_and_soon(ticking: Lane) -> None:
    await ticking.define("limited", timeout="PT0.2S")
    await ticking.define()
    loop = asyncio.get_running_loop()
    process = await ticking.run()
    began = loop.time()
    await ticking.ask("wait", process["pid"], **{"for": {"timer": {"after": "PT0.1S"}}})
    await reaches(ticking, process["pid"], "READY")
    assert 0.09 < loop.time() - began < 0.9
    waiting = await ticking.run()
    how = {"timeout": "PT0.1S", "on_timeout": "fail"}
    await ticking.ask("wait", waiting["pid"], **{"for": {"event": {"type": "never"}}, **how})
    failed = await reaches(ticking, waiting["pid"], "SUSPENDED")
    assert failed["incident"] is not None
    slow = await ticking.run("limited")
    late = await reaches(ticking, slow["pid"], "SUSPENDED")
    history = (await ticking.http.get(f"/v1/processes/{late['pid']}/history")).json()["items"]
    assert (history[-1]["command"], history[-1]["changes"]["error"]["code"]) == ("time_out", "timeout")
    assert await ticking.breaches() == {}


async def test_a_back_off_of_nothing_is_over_at_once(ticking: Lane) -> None:
    await ticking.define(retry={"max_attempts": 3, "backoff": {"initial": "PT0S"}})
    process = await ticking.run()
    await ticking.ask("fail", process["pid"])
    assert (await reaches(ticking, process["pid"], "READY"))["attempt"] == 2


async def test_what_a_dead_replica_left_is_found(ticking: Lane) -> None:
    await ticking.define()
    first = await ticking.create()
    second = await ticking.create(after=[first["pid"]], after_on="always")
    ticking.crash = True
    await ticking.ask("cancel", first["pid"])
    await reaches(ticking, second["pid"], "READY")
    assert await ticking.breaches() == {}


async def test_a_window_that_opens_before_the_predecessors_are_done_is_looked_at_once(ticking: Lane) -> None:
    await ticking.define()
    first = await ticking.create()
    soon = (datetime.now(UTC) + timedelta(seconds=0.2)).isoformat()
    second = await ticking.create(after=[first["pid"]], after_on="always", not_before=soon)

    async def looked_at() -> bool:
        async with ticking.database.connection() as connection:
            return (
                await connection.fetchval("SELECT wake_at IS NULL FROM process WHERE pid = $1", second["pid"]) is True
            )

    await eventually(looked_at, timeout=10)
    assert (await ticking.read(second["pid"]))["state"] == "NEW"
    await ticking.ask("cancel", first["pid"])
    await reaches(ticking, second["pid"], "READY")
    assert await ticking.breaches() == {}
