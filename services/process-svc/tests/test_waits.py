"""Waiting: what comes while a process is suspended, timers near and far, limits of time, over suspension and restart."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from kernel_runtime.problem import Problem
from process_svc.ticker import Ticker

from .lane import Lane, lane

PAID: dict[str, Any] = {"for": {"event": {"type": "paid", "key": "k"}}}


async def passed(database: str, kernel: Lane) -> None:
    """Whatever is due happens, on a replica that was started just now."""
    async with lane(database) as restarted:
        await Ticker(restarted.database, restarted.pipeline)._pass()
        await restarted.settle()
    await kernel.settle()


async def test_what_comes_for_a_suspended_process_is_taken_and_applied_when_it_goes_on(kernel: Lane) -> None:
    await kernel.define()
    pid = (await kernel.run(context={"a": 1}))["pid"]
    await kernel.ask("wait", pid, timeout="PT0.01S", on_timeout="fail", **PAID)
    await kernel.ask("suspend", pid)
    assert "wake" in (await kernel.read(pid))["can"]
    taken = await kernel.ask("wake", pid, context={"event": {"id": "e"}})
    assert (taken["state"], taken["version"], taken["waiting_for"]["met"]) == ("SUSPENDED", 6, True)
    assert taken["context"] == {"a": 1, "event": {"id": "e"}}
    assert "wake" not in taken["can"]
    again = await kernel.ask("wake", pid, context={"event": {"id": "f"}})
    assert isinstance(again, Problem)
    await asyncio.sleep(0.02)
    resumed = await kernel.ask("resume", pid)
    assert (resumed["state"], resumed["waiting_for"]) == ("READY", None)
    [(kind, told)] = [each for each in await kernel.messages() if each[1].get("version") == 6]
    assert (kind, told["waiting_for"]["met"]) == ("kernel.process.suspended.v1", True)
    assert await kernel.breaches() == {}


async def test_who_is_suspended_from_elsewhere_waits_for_nothing(kernel: Lane) -> None:
    await kernel.define()
    pid = (await kernel.run())["pid"]
    await kernel.ask("suspend", pid)
    assert "wake" not in (await kernel.read(pid))["can"]
    assert (await kernel.ask("wake", pid)).status == 409


async def test_an_event_after_its_time_is_in_the_context_when_the_incident_is_resolved(
    kernel: Lane, database: str
) -> None:
    await kernel.define()
    pid = (await kernel.run())["pid"]
    await kernel.ask("wait", pid, timeout="PT0S", on_timeout="fail", **PAID)
    await passed(database, kernel)
    late = await kernel.read(pid)
    assert (late["state"], late["incident"] is not None) == ("SUSPENDED", True)
    await kernel.ask("wake", pid, context={"event": {"id": "late"}})
    assert (await kernel.ask("retry", pid))["context"] == {"event": {"id": "late"}}
    assert await kernel.breaches() == {}


@pytest.mark.parametrize(
    ("target", "at_once"),
    [
        ({"timer": {"until": "2001-01-01T00:00:00Z"}}, True),
        ({"timer": {"after": "PT0S"}}, True),
        ({"timer": {"until": "9999-12-31T23:59:59Z"}}, False),
        ({"timer": {"after": "P1000D"}}, False),
    ],
)
async def test_timers_past_and_far(kernel: Lane, database: str, target: Any, at_once: bool) -> None:
    await kernel.define(events="stop")
    pid = (await kernel.run())["pid"]
    assert (await kernel.ask("wait", pid, **{"for": target}))["state"] == "WAITING"
    await passed(database, kernel)
    assert (await kernel.read(pid))["state"] == ("READY" if at_once else "WAITING")
    if not at_once:
        await kernel.ask("suspend", pid)
        assert (await kernel.ask("resume", pid))["state"] == "WAITING"
    assert await kernel.breaches() == {}


@pytest.mark.parametrize("target", [{"timer": {"after": "P9999999D"}}, {"event": {"type": "paid"}}])
async def test_a_time_beyond_the_calendar_is_refused(kernel: Lane, target: Any) -> None:
    await kernel.define()
    pid = (await kernel.run())["pid"]
    answer = await kernel.http.post(f"/v1/processes/{pid}/wait", json={"for": target, "timeout": "P9999999D"})
    assert answer.status_code == 422
    assert (await kernel.read(pid))["state"] == "RUNNING"


@pytest.mark.parametrize(("events", "state"), [("stop", "WAITING"), ("catch_up", "READY")])
async def test_timers_stop_or_catch_up_with_a_suspension(kernel: Lane, database: str, events: str, state: str) -> None:
    await kernel.define(events=events)
    pid = (await kernel.run())["pid"]
    waiting = await kernel.ask("wait", pid, **{"for": {"timer": {"after": "PT0.2S"}}})
    await kernel.ask("suspend", pid)
    await asyncio.sleep(0.25)
    await passed(database, kernel)
    assert (await kernel.read(pid))["state"] == "SUSPENDED"
    resumed = await kernel.ask("resume", pid)
    assert resumed["state"] == state
    if state == "WAITING":
        before, after = (datetime.fromisoformat(each["waiting_for"]["timer"]) for each in (waiting, resumed))
        assert after - before >= timedelta(seconds=0.25)
        await asyncio.sleep(max(0.0, (after - datetime.now(UTC)).total_seconds() + 0.01))
        await passed(database, kernel)
        assert (await kernel.read(pid))["state"] == "READY"
    assert await kernel.breaches() == {}


@pytest.mark.parametrize(
    ("events", "on_timeout", "state"),
    [
        ("catch_up", "wake", "READY"),
        ("catch_up", "fail", "SUSPENDED"),
        ("stop", "fail", "WAITING"),
    ],
)
async def test_limits_of_time_over_a_suspension(
    kernel: Lane, database: str, events: str, on_timeout: str, state: str
) -> None:
    await kernel.define(events=events)
    pid = (await kernel.run())["pid"]
    await kernel.ask("wait", pid, timeout="PT0.2S", on_timeout=on_timeout, **PAID)
    await kernel.ask("suspend", pid)
    await asyncio.sleep(0.21)
    await kernel.ask("resume", pid)
    await passed(database, kernel)
    found = await kernel.read(pid)
    assert (found["state"], found["incident"] is not None) == (state, state == "SUSPENDED")
    assert await kernel.breaches() == {}


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("=context.order.id + '/' + entity.id", "o-7/p"),
        ("=context.n", "3"),
        ("=process.service + string(process.pid)", "check1"),
        ("order/7", "order/7"),
    ],
)
async def test_a_key_is_computed_from_the_context(kernel: Lane, key: str, found: str) -> None:
    await kernel.define()
    large = {"padding": "x" * 40_000, "order": {"id": "o-7"}, "n": 3}
    pid = (await kernel.run(context=large, entity={"type": "permit", "id": "p"}))["pid"]
    waiting = await kernel.ask("wait", pid, **{"for": {"event": {"type": "paid", "key": key}}})
    assert waiting["waiting_for"]["event"] == {"type": "paid", "key": found}
    assert (await kernel.messages())[-1][1]["waiting_for"]["event"]["key"] == found
    assert await kernel.breaches() == {}


@pytest.mark.parametrize("key", ["=context.none", "=context.list", "=null", "=''", "=1 +", "=context.flag", "=output"])
async def test_a_key_that_can_not_be_computed_is_refused(kernel: Lane, key: str) -> None:
    await kernel.define()
    pid = (await kernel.run(context={"list": [1], "flag": True}))["pid"]
    body = {"for": {"event": {"type": "paid", "key": key}}}
    answer = await kernel.http.post(f"/v1/processes/{pid}/wait", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/for/event/key"
    assert (await kernel.read(pid))["state"] == "RUNNING"
