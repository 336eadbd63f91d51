"""Decisions: random commands against the table, and the cases that the table alone doesn't tell."""

from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_contracts.vocabulary import (
    AfterMode,
    AfterOn,
    CommandName,
    ErrorClass,
    Give,
    OnTimeout,
    Outcome,
    ProcessState,
    SuspendedEvents,
)
from process_svc.domain import decisions as d
from process_svc.domain.due import tick
from process_svc.domain.gate import Gate, predecessors
from process_svc.domain.migration import migrate, plan
from process_svc.domain.process import Change, Process, Refusal, Waiting, wake_at
from process_svc.domain.service import backoff
from process_svc.domain.snapshots import link
from process_svc.domain.states import leads, legal
from process_svc.domain.steps import Error

from .values import NOW, process, service, sound

S = ProcessState
ERROR = Error(ErrorClass.TRANSIENT, "down", "the other side is down")

LATER = NOW + timedelta(hours=2)
TIMED = service(timeout=60.0, max_attempts=2)
NEWER = service(version=2, timeout=30.0, max_attempts=2)

ASKED: dict[CommandName, Any] = {
    CommandName.WAIT: lambda p: d.wait(p, Waiting(event_type="paid", timeout=NOW, on_timeout=OnTimeout.FAIL), None),
    CommandName.WAKE: lambda p: d.wake(p, NOW, None, '{"paid":true}'),
    CommandName.RELEASE: lambda p: d.give_back(p, CommandName.RELEASE, NOW, None),
    CommandName.PREEMPT: lambda p: d.give_back(p, CommandName.PREEMPT, NOW, None),
    CommandName.SUSPEND: lambda p: d.suspend(p, NOW, None, hold=p.version % 2 == 0),
    CommandName.RESUME: lambda p: d.resume(p, TIMED, {}, NOW, None),
    CommandName.COMPLETE: lambda p: d.complete(p, "{}", NOW, None),
    CommandName.FAIL: lambda p: d.fail(p, TIMED, ERROR, NOW, None),
    CommandName.TIME_OUT: lambda p: tick(p, TIMED, {}, LATER) if p.state in (S.RUNNING, S.WAITING) else None,
    CommandName.CANCEL: lambda p: d.cancel(p, NOW, None),
    CommandName.ROLLBACK: lambda p: d.rollback(p, "{}", NOW, None, resume=p.version % 3 != 0),
    CommandName.RETRY: lambda p: d.retry(p, {}, NOW, None, '{"again":1}'),
    CommandName.SKIP: lambda p: d.skip(p, "{}", NOW, None),
    CommandName.PRIORITIZE: lambda p: d.prioritize(p, 70, None),
    CommandName.ASSIGN: lambda p: d.assign(p, "ada", NOW, None),
    CommandName.SET_CONTEXT: lambda p: d.set_context(p, '{"a":1}', {"a": 1}, None),
    CommandName.MIGRATE: lambda p: migrate(p, plan(p, TIMED, NEWER, []), '{"to":2}', NOW, None),
    CommandName.DISPATCH: lambda p: d.dispatch(p, f"{p.pid}.{p.version}", p.version, "bob", 60.0, NOW),
    CommandName.ADMIT: lambda p: d.admit(p, {}, LATER),
}


def started() -> tuple[Process, list[tuple[S | None, S]], list[int]]:
    change = d.create(process(), {}, NOW)
    assert isinstance(change, Change)
    path: list[tuple[S | None, S]] = [(entry.from_state, entry.process.state) for entry in change.entries]
    return change.process, path, [entry.process.version for entry in change.entries]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(sorted(ASKED, key=str)), max_size=25))
def test_any_sequence_leaves_a_legal_journal(commands: list[CommandName]) -> None:
    now, path, versions = started()
    for command in commands:
        decided = ASKED[command](now)
        if not isinstance(decided, Change):
            assert decided is None or isinstance(decided, Refusal)
            if isinstance(decided, Refusal):
                assert decided.state is now.state
                assert command.value not in decided.allowed
            continue
        assert legal(command, now.state, now.outcome)
        for entry in decided.entries:
            assert leads(entry.command, entry.from_state, sound(entry.process).state)
            path.append((entry.from_state, entry.process.state))
            versions.append(entry.process.version)
        holds, held_after = holding(now), holding(decided.process)
        gives = [entry.give for entry in decided.entries if entry.give is not None]
        assert bool(gives) or not (holds and not held_after)
        assert all(entry.dispatch_id == now.dispatch_id for entry in decided.entries if entry.give is not None)
        if decided.snapshot:
            after = decided.process
            assert after.context_version == after.version
            assert after.context is not None
            assert after.context_hash == link(now.context_hash, after.context)
        now = decided.process
        if decided.incident is not None:
            now = now.but(incident=7)
        assert now.incident is None or now.state is S.SUSPENDED
        assert (now.waiting is not None) <= (S.WAITING in (now.state, now.suspended_from))
        assert (now.run_until is not None) <= (now.state is S.RUNNING)
    assert versions == list(range(1, len(versions) + 1))
    assert path[0][0] is None
    assert all(before[1] is after[0] for before, after in pairwise(path))
    assert (now.state is S.TERMINATED) == (now.outcome is not None) == (now.ended_at is not None)


def holding(now: Process) -> bool:
    return now.state is S.RUNNING or now.held


def running(**changes: Any) -> Process:
    ready = started()[0]
    change = d.dispatch(ready, "1.2.1", 2, "ada", None, NOW)
    assert isinstance(change, Change)
    return sound(change.process.but(**changes))


def test_a_grant_for_another_version_is_refused_and_the_same_again_does_nothing() -> None:
    ready = started()[0]
    assert isinstance(d.dispatch(ready, "1.1.1", 1, "ada", None, NOW), Refusal)
    now = running()
    assert now.state is S.RUNNING
    assert d.dispatch(now, "1.2.1", 2, "ada", None, NOW) is None
    assert isinstance(d.dispatch(now, "1.2.2", 2, "bob", None, NOW), Refusal)


def test_a_failure_is_tried_again_after_its_back_off_then_becomes_an_incident() -> None:
    kind = service(max_attempts=2, backoff_initial=60.0)
    change = d.fail(running(), kind, ERROR, NOW, None)
    assert isinstance(change, Change)
    again = change.process
    assert (again.state, again.attempt, again.not_before) == (S.NEW, 2, NOW + timedelta(minutes=1))
    assert change.entries[0].give is Give.RUNNING
    assert d.admit(again, {}, NOW) is None
    assert wake_at(again, NOW) == again.not_before
    last = d.fail(running(attempt=2), kind, ERROR, NOW, None)
    assert isinstance(last, Change)
    assert (last.process.state, last.incident) == (S.SUSPENDED, {"type": "down", "error": ERROR.as_dict()})


def test_poison_is_never_tried_again() -> None:
    error = Error(ErrorClass.POISON, "broken", "")
    change = d.fail(running(), service(max_attempts=9), error, NOW, None)
    assert isinstance(change, Change)
    assert change.process.state is S.SUSPENDED


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 1), (2, 2), (3, 4), (4, 5), (1000, 5)])
def test_back_off(attempt: int, seconds: int) -> None:
    assert backoff(service(backoff_longest=5.0), attempt) == timedelta(seconds=seconds)


DONE, BAD, OFF = Outcome.COMPLETED, Outcome.FAILED, Outcome.CANCELLED


@pytest.mark.parametrize(
    ("mode", "on", "outcomes", "gate"),
    [
        ("all", "completed", [DONE, DONE], Gate.OPEN),
        ("all", "completed", [DONE, None], Gate.CLOSED),
        ("all", "completed", [None, BAD], Gate.NEVER),
        ("all", "always", [BAD, OFF], Gate.OPEN),
        ("all", "failed", [BAD, BAD], Gate.OPEN),
        ("all", "failed", [BAD, DONE], Gate.NEVER),
        ("any", "completed", [None, DONE], Gate.OPEN),
        ("any", "completed", [BAD, None], Gate.CLOSED),
        ("any", "completed", [BAD, OFF], Gate.NEVER),
    ],
)
def test_predecessors(mode: str, on: str, outcomes: list[Outcome | None], gate: Gate) -> None:
    now = process(after=(7, 8), after_mode=AfterMode(mode), after_on=AfterOn(on))
    assert predecessors(now, dict(zip((7, 8), outcomes, strict=True))) is gate


def test_what_can_never_start_is_not_made_and_becomes_an_incident_later() -> None:
    after = process(after=(7,))
    refused = d.create(after, {7: OFF}, NOW)
    assert isinstance(refused, Refusal)
    assert (refused.status, refused.pointer) == (422, "/after")
    assert "7 has ended cancelled" in refused.detail
    later = d.admit(after, {7: OFF}, NOW)
    assert isinstance(later, Change)
    assert later.incident is not None
    assert (later.process.state, later.incident["type"]) == (S.SUSPENDED, "unsatisfiable")
    stuck = later.process.but(incident=7)
    assert isinstance(d.retry(stuck, {7: OFF}, NOW, None), Refusal)
    again = d.retry(stuck, {7: None}, NOW, None)
    assert isinstance(again, Change)
    assert again.process.state is S.NEW
    good = d.retry(stuck, {7: DONE}, NOW, None)
    assert isinstance(good, Change)
    assert (good.process.state, good.process.attempt) == (S.READY, 1)


def test_a_window_opens_and_closes() -> None:
    early = process(not_before=NOW + timedelta(hours=1), not_after=NOW + timedelta(hours=2))
    change = d.create(early, {}, NOW)
    assert isinstance(change, Change)
    assert change.process.state is S.NEW
    opened = tick(change.process, service(), {}, NOW + timedelta(hours=1))
    assert isinstance(opened, Change)
    assert opened.process.state is S.READY
    closed = tick(opened.process, service(), {}, NOW + timedelta(hours=3))
    assert isinstance(closed, Change)
    assert (closed.process.state, closed.process.outcome) == (S.TERMINATED, Outcome.CANCELLED)
    assert isinstance(d.create(early, {}, NOW + timedelta(hours=3)), Refusal)


def test_a_wait_ends_by_its_timer_or_its_timeout() -> None:
    timer = d.wait(running(), Waiting(until=NOW + timedelta(minutes=1)), None)
    assert isinstance(timer, Change)
    assert tick(timer.process, service(), {}, NOW) is None
    woken = tick(timer.process, service(), {}, NOW + timedelta(minutes=1))
    assert isinstance(woken, Change)
    assert woken.process.state is S.READY
    vain = d.wait(running(), Waiting(event_type="x", timeout=NOW, on_timeout=OnTimeout.FAIL), None)
    assert isinstance(vain, Change)
    failed = tick(vain.process, service(), {}, NOW)
    assert isinstance(failed, Change)
    assert failed.process.state is S.SUSPENDED


def suspended(now: Process, **how: Any) -> Process:
    change = d.suspend(now, NOW, None, **how)
    assert isinstance(change, Change)
    return change.process


def waiting(**what: Any) -> Process:
    change = d.wait(running(), Waiting(**what), None)
    assert isinstance(change, Change)
    return change.process


def test_resume_leads_back_to_what_is_still_missing() -> None:
    back = d.resume(suspended(waiting(event_type="paid")), service(), {}, NOW, None)
    assert isinstance(back, Change)
    assert back.process.state is S.WAITING
    new = suspended(process(after=(7,)))
    for outcomes, state in (({7: None}, S.NEW), ({7: DONE}, S.READY)):
        again = d.resume(new, service(), outcomes, NOW, None)
        assert isinstance(again, Change)
        assert (again.process.state, len(again.entries)) == (state, 1)
    parent = suspended(waiting(children_mode=AfterMode.ALL))
    for children, state in ((False, S.WAITING), (True, S.READY)):
        joined = d.resume(parent, service(), {}, NOW, None, over=children)
        assert isinstance(joined, Change)
        assert joined.process.state is state


@pytest.mark.parametrize(("events", "state"), [(SuspendedEvents.STOP, S.WAITING), (SuspendedEvents.CATCH_UP, S.READY)])
def test_timers_stop_or_catch_up(events: SuspendedEvents, state: ProcessState) -> None:
    timer = suspended(waiting(until=NOW + timedelta(minutes=10)))
    assert wake_at(timer, NOW) is None
    back = d.resume(timer, service(events=events), {}, NOW + timedelta(hours=1), None)
    assert isinstance(back, Change)
    assert back.process.state is state
    if state is S.WAITING:
        assert wake_at(back.process, NOW) == NOW + timedelta(minutes=70)


def test_suspend_with_hold_gives_back_only_when_it_goes_on() -> None:
    held = d.suspend(running(), NOW, None, hold=True)
    assert isinstance(held, Change)
    assert (held.entries[0].give, held.entries[0].dispatch_id) == (None, "1.2.1")
    for after in (d.resume(held.process, service(), {}, NOW, None), d.cancel(held.process, NOW, None)):
        assert isinstance(after, Change)
        assert (after.entries[0].give is None, after.entries[0].dispatch_id) == (False, "1.2.1")


def test_a_run_has_a_limit_and_its_failure_counts() -> None:
    limited = running(run_until=NOW + timedelta(seconds=60))
    assert wake_at(limited, NOW) == limited.run_until
    assert tick(limited, TIMED, {}, NOW) is None
    failed = tick(limited, TIMED, {}, NOW + timedelta(seconds=60))
    assert isinstance(failed, Change)
    assert (failed.process.state, failed.process.attempt, failed.process.run_until) == (S.NEW, 2, None)
    assert failed.entries[0].error == {"class": "transient", "code": "timeout", "message": "it ran longer than 60 s"}


def test_an_incident_is_not_resumed_but_resolved() -> None:
    failed = d.fail(running(), service(), ERROR, NOW, None)
    assert isinstance(failed, Change)
    stuck = failed.process.but(incident=7)
    refused = d.resume(stuck, service(), {}, NOW, None)
    assert isinstance(refused, Refusal)
    assert "resume" not in refused.allowed
    for change, action in (
        (d.retry(stuck, {}, NOW, None), "retry"),
        (d.skip(stuck, "{}", NOW, None), "skip"),
        (d.cancel(stuck, NOW, None), "terminate"),
        (d.rollback(stuck, "{}", NOW, None, resume=True), "rollback"),
    ):
        assert isinstance(change, Change)
        assert (change.resolved, change.process.incident) == (action, None)


def test_who_never_ran_gives_nothing_back() -> None:
    change = d.cancel(started()[0], NOW, None)
    assert isinstance(change, Change)
    assert change.entries[0].give is None
