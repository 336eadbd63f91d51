"""Decisions: random commands against the table, and the cases that the table alone doesn't tell."""

from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_contracts.vocabulary import AfterMode, AfterOn, CommandName, ErrorClass, Outcome, ProcessState
from process_svc.domain import decisions as d
from process_svc.domain.gate import Gate, predecessors
from process_svc.domain.process import Change, Process, Refusal, Waiting, wake_at
from process_svc.domain.service import backoff
from process_svc.domain.snapshots import link
from process_svc.domain.states import edge, legal

from .values import NOW, process, service

S = ProcessState
ERROR = d.Error(ErrorClass.TRANSIENT, "down", "the other side is down")

ASKED: dict[CommandName, Any] = {
    CommandName.WAIT: lambda p: d.wait(p, Waiting(event_type="paid"), None),
    CommandName.WAKE: lambda p: d.wake(p, NOW, None, '{"paid":true}'),
    CommandName.RELEASE: lambda p: d.give_back(p, CommandName.RELEASE, NOW, None),
    CommandName.PREEMPT: lambda p: d.give_back(p, CommandName.PREEMPT, NOW, None),
    CommandName.SUSPEND: lambda p: d.suspend(p, None),
    CommandName.RESUME: lambda p: d.resume(p, {}, NOW, None),
    CommandName.COMPLETE: lambda p: d.complete(p, "{}", NOW, None),
    CommandName.FAIL: lambda p: d.fail(p, service(max_attempts=2), ERROR, NOW, None),
    CommandName.CANCEL: lambda p: d.cancel(p, NOW, None),
    CommandName.ROLLBACK: lambda p: d.rollback(p, "{}", NOW, None, resume=True),
    CommandName.PRIORITIZE: lambda p: d.prioritize(p, 70, None),
    CommandName.ASSIGN: lambda p: d.assign(p, "ada", NOW, None),
    CommandName.SET_CONTEXT: lambda p: d.set_context(p, '{"a":1}', {"a": 1}, None),
    CommandName.DISPATCH: lambda p: d.dispatch(p, f"{p.pid}.{p.version}", p.version, "bob", NOW),
    CommandName.ADMIT: lambda p: d.admit(p, {}, NOW + timedelta(hours=2)),
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
            path.append((entry.from_state, entry.process.state))
            versions.append(entry.process.version)
            held = now.dispatch_id if now.state is S.RUNNING and entry.process.state is not S.RUNNING else None
            assert entry.dispatch_id == (held or entry.dispatch_id)
        if decided.snapshot:
            after = decided.process
            assert after.context_version == after.version
            assert after.context_hash == link(now.context_hash, after.context)
        now = decided.process
    assert versions == list(range(1, len(versions) + 1))
    assert path[0][0] is None
    assert all(before[1] is after[0] for before, after in pairwise(path))
    assert all(edge(*step) for step in path)
    assert (now.state is S.TERMINATED) == (now.outcome is not None) == (now.ended_at is not None)
    assert (now.state is S.RUNNING) == (now.operator is not None) or now.state is S.TERMINATED


def running(**changes: Any) -> Process:
    ready = started()[0]
    change = d.dispatch(ready, "1.2.1", 2, "ada", NOW)
    assert isinstance(change, Change)
    return process(**{name: getattr(change.process, name) for name in Process.__slots__} | changes)


def test_a_grant_for_another_version_is_refused_and_the_same_again_does_nothing() -> None:
    ready = started()[0]
    assert isinstance(d.dispatch(ready, "1.1.1", 1, "ada", NOW), Refusal)
    now = running()
    assert now.state is S.RUNNING
    assert d.dispatch(now, "1.2.1", 2, "ada", NOW) is None
    assert isinstance(d.dispatch(now, "1.2.2", 2, "bob", NOW), Refusal)


def test_a_failure_is_tried_again_after_its_back_off_then_becomes_an_incident() -> None:
    kind = service(max_attempts=2, backoff_initial=60.0)
    change = d.fail(running(), kind, ERROR, NOW, None)
    assert isinstance(change, Change)
    again = change.process
    assert (again.state, again.attempt, again.not_before) == (S.NEW, 2, NOW + timedelta(minutes=1))
    assert change.entries[0].give == "running"
    assert d.admit(again, {}, NOW) is None
    assert wake_at(again) == again.not_before
    last = d.fail(running(attempt=2), kind, ERROR, NOW, None)
    assert isinstance(last, Change)
    assert (last.process.state, last.incident) == (S.SUSPENDED, {"type": "down", "error": ERROR.as_dict()})


def test_poison_is_never_tried_again() -> None:
    error = d.Error(ErrorClass.POISON, "broken", "")
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


def test_a_predecessor_that_never_was_closes_for_good() -> None:
    change = d.create(process(after=(7,)), {}, NOW)
    assert isinstance(change, Change)
    assert change.process.state is S.SUSPENDED
    assert change.incident is not None
    assert change.incident["type"] == "unsatisfiable"


def test_a_window_opens_and_closes() -> None:
    early = process(not_before=NOW + timedelta(hours=1), not_after=NOW + timedelta(hours=2))
    change = d.create(early, {}, NOW)
    assert isinstance(change, Change)
    assert change.process.state is S.NEW
    opened = d.tick(change.process, service(), {}, NOW + timedelta(hours=1))
    assert isinstance(opened, Change)
    assert opened.process.state is S.READY
    closed = d.tick(opened.process, service(), {}, NOW + timedelta(hours=3))
    assert isinstance(closed, Change)
    assert (closed.process.state, closed.process.outcome) == (S.TERMINATED, Outcome.CANCELLED)
    assert isinstance(d.create(early, {}, NOW + timedelta(hours=3)), Refusal)


def test_a_wait_ends_by_its_timer_or_its_timeout() -> None:
    timer = d.wait(running(), Waiting(until=NOW + timedelta(minutes=1)), None)
    assert isinstance(timer, Change)
    assert d.tick(timer.process, service(), {}, NOW) is None
    woken = d.tick(timer.process, service(), {}, NOW + timedelta(minutes=1))
    assert isinstance(woken, Change)
    assert woken.process.state is S.READY
    vain = d.wait(running(), Waiting(event_type="x", timeout=NOW, on_timeout="fail"), None)
    assert isinstance(vain, Change)
    failed = d.tick(vain.process, service(), {}, NOW)
    assert isinstance(failed, Change)
    assert failed.process.state is S.SUSPENDED


def test_resume_leads_back_to_what_is_still_missing() -> None:
    waiting = d.wait(running(), Waiting(event_type="paid"), None)
    assert isinstance(waiting, Change)
    suspended = d.suspend(waiting.process, None)
    assert isinstance(suspended, Change)
    back = d.resume(suspended.process, {}, NOW, None)
    assert isinstance(back, Change)
    assert back.process.state is S.WAITING


def test_suspend_with_hold_gives_nothing_back() -> None:
    held = d.suspend(running(), None, hold=True)
    assert isinstance(held, Change)
    assert (held.entries[0].give, held.entries[0].dispatch_id) == (None, "1.2.1")


def test_what_was_kept_while_suspended_comes_back_when_it_queues_again() -> None:
    held = d.suspend(running(), None, hold=True)
    assert isinstance(held, Change)
    for again in (d.resume(held.process, {}, NOW, None), d.rollback(held.process, "{}", NOW, None, resume=True)):
        assert isinstance(again, Change)
        assert (again.entries[-1].dispatch_id, again.entries[-1].give) == ("1.2.1", "running")
