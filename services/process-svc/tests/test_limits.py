"""Timeouts and retries: what a definition allows in time."""

import asyncio
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_contracts.vocabulary import CommandName, ErrorClass, OnExhausted, Outcome, ProcessState, ServiceKind
from process_svc.domain.due import tick
from process_svc.domain.limits import limited, within_budget
from process_svc.domain.process import wake_at
from process_svc.domain.service import Retrying, backoff, retries
from process_svc.domain.steps import Error, failed

from .lane import Lane
from .values import NOW, process, service

S = ProcessState
T, B, P = ErrorClass.TRANSIENT, ErrorClass.BUSINESS, ErrorClass.POISON


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 2**40), st.integers(1, 60), st.floats(0, 1), st.floats(0.001, 100), st.floats(1, 10))
def test_jitter_only_shortens_and_is_the_same_for_the_same(
    pid: int, attempt: int, jitter: float, initial: float, factor: float
) -> None:
    plain = service(backoff_initial=initial, backoff_factor=factor, backoff_longest=60.0)
    shaken = service(
        backoff_initial=initial, backoff_factor=factor, backoff_longest=60.0, retry=Retrying(jitter=jitter)
    )
    whole, found = backoff(plain, attempt, pid), backoff(shaken, attempt, pid)
    assert whole * (1 - jitter) - timedelta(microseconds=2) <= found <= whole <= timedelta(seconds=60)
    assert found == backoff(shaken, attempt, pid)


def test_jitter_spreads() -> None:
    shaken = service(retry=Retrying(jitter=1.0))
    assert len({backoff(shaken, 1, pid) for pid in range(1, 100)}) > 90


@pytest.mark.parametrize(
    ("retry", "error", "again"),
    [
        (Retrying(), (T, "x"), True),
        (Retrying(), (B, "x"), True),
        (Retrying(), (P, "x"), False),
        (Retrying(on=frozenset({T})), (T, "x"), True),
        (Retrying(on=frozenset({T})), (B, "x"), False),
        (Retrying(never=frozenset({"x"})), (T, "x"), False),
        (Retrying(never=frozenset({"x"})), (T, "y"), True),
        (Retrying(on=frozenset()), (T, "y"), False),
    ],
)
def test_which_errors_are_tried_again(retry: Retrying, error: tuple[ErrorClass, str], again: bool) -> None:
    one = service(max_attempts=3, retry=retry)
    assert retries(one, *error) is again
    running = process(state=S.RUNNING, version=3, dispatch_id="d", started_at=NOW, ready_at=NOW)
    change = failed(running, CommandName.FAIL, one, Error(*error, "why"), NOW, None)
    assert change.process.state is (S.NEW if again else S.SUSPENDED)


def test_no_attempt_begins_after_the_budget() -> None:
    one = service(max_attempts=9, backoff_initial=10.0, retry=Retrying(budget=60.0))
    running = process(state=S.RUNNING, version=3, dispatch_id="d", started_at=NOW, tried_at=NOW)
    assert within_budget(running, one, NOW + timedelta(seconds=60))
    error = Error(T, "x", "why")
    again = failed(running, CommandName.FAIL, one, error, NOW + timedelta(seconds=50), None)
    assert again.process.state is S.NEW
    over = failed(running, CommandName.FAIL, one, error, NOW + timedelta(seconds=51), None)
    assert over.process.state is S.SUSPENDED


def test_what_undoes_another_never_just_fails() -> None:
    one = service(on_exhausted=OnExhausted.FAIL)
    running = process(state=S.RUNNING, version=3, dispatch_id="d", started_at=NOW)
    error = Error(P, "x", "why")
    assert failed(running, CommandName.FAIL, one, error, NOW, None).process.outcome is Outcome.FAILED
    undoing = running.but(compensates=7)
    assert failed(undoing, CommandName.FAIL, one, error, NOW, None).process.state is S.SUSPENDED


def test_who_begins_late_is_found_and_who_began_runs_on() -> None:
    human = service(start_in=60.0, timeout=600.0)
    waits = limited(process(state=S.READY, version=2, ready_at=NOW), human)
    assert wake_at(waits, NOW) == NOW + timedelta(seconds=60)
    assert tick(waits, human, {}, NOW + timedelta(seconds=59)) is None
    late = tick(waits, human, {}, NOW + timedelta(seconds=60))
    assert late is not None
    assert (late.process.state, late.incident and late.incident["type"]) == (S.SUSPENDED, "start_timeout")
    machine = service(start_in=60.0, timeout=600.0, kind=ServiceKind.AUTOMATIC)
    given_out = process(
        state=S.RUNNING, version=3, ready_at=NOW, started_at=NOW + timedelta(seconds=5), dispatch_id="d"
    )
    sent = limited(given_out, machine)
    at = NOW + timedelta(seconds=60)
    assert sent.run_until == at
    assert tick(sent, machine, {}, at, claimed=True) is None
    over = tick(sent, machine, {}, at, claimed=False)
    assert over is not None
    assert over.process.state is S.SUSPENDED
    assert limited(given_out, human).run_until == NOW + timedelta(seconds=605)


async def test_a_start_that_nobody_makes_is_found(kernel: Lane) -> None:
    limits = {"start": "PT0.2S", "finish": "PT1H", "heartbeat": "PT5S"}
    await kernel.define(timeout=limits)
    await kernel.define("work", kind="automatic", timeout=limits, on_exhausted="fail")
    made = await kernel.http.get("/v1/services/check")
    assert made.json()["timeout"] == limits
    waits = await kernel.create()
    runs = await kernel.run()
    unclaimed = await kernel.run("work")
    claimed = await kernel.run("work")
    await kernel.execute(
        "UPDATE work_lease SET worker = 'w', claimed_by = 'w', until = clock_timestamp() + interval '1 h' WHERE pid = $1",
        claimed["pid"],
    )
    async with kernel.database.connection() as connection:
        assert await connection.fetchval("SELECT max(seconds) FROM work_lease") == 5
    await asyncio.sleep(0.2)
    for each in (waits, runs, unclaimed, claimed):
        await kernel.tick(each["pid"])
    found = [await kernel.read(each["pid"]) for each in (waits, runs, unclaimed, claimed)]
    assert [each["state"] for each in found] == ["SUSPENDED", "RUNNING", "TERMINATED", "RUNNING"]
    assert found[2]["outcome"] == "failed"
    incident = (await kernel.http.get(f"/v1/incidents?pid={waits['pid']}")).json()["items"][0]
    assert incident["type"] == "start_timeout"
    async with kernel.database.connection() as connection:
        left = await connection.fetch("SELECT run_until - started_at AS time FROM process WHERE state = 'RUNNING'")
        assert {row["time"] for row in left} == {timedelta(hours=1)}
    assert await kernel.breaches() == {}


async def test_a_budget_counts_from_the_first_attempt(kernel: Lane) -> None:
    backoff = {"initial": "PT0S"}
    await kernel.define(retry={"max_attempts": 9, "budget": "PT10S", "backoff": backoff, "non_retryable": ["never"]})
    process = await kernel.run()
    pid = process["pid"]
    await kernel.ask("fail", pid, error={"class": "transient", "code": "x"})
    await kernel.tick(pid)
    again = await kernel.read(pid)
    assert (again["state"], again["attempt"]) == ("READY", 2)
    await kernel.grant(again)
    async with kernel.database.connection() as connection:
        first = await connection.fetchval("SELECT tried_at FROM process")
    assert first == datetime.fromisoformat(process["started_at"])
    await kernel.execute("UPDATE process SET tried_at = tried_at - interval '1 min'")
    failed = await kernel.ask("fail", pid, error={"class": "transient", "code": "x"})
    assert failed["state"] == "SUSPENDED"
    other = await kernel.run()
    assert (await kernel.ask("fail", other["pid"], error={"code": "never"}))["state"] == "SUSPENDED"
    assert await kernel.breaches() == {}
