"""Matching and firing, as pure decisions."""

import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_contracts.vocabulary import Meets
from rules_svc.domain.evaluation import evaluate
from rules_svc.domain.index import RuleIndex, applies
from rules_svc.domain.model import Do, Event, FiringResult, Rule, RuleError, Step
from rules_svc.domain.waits import Call, Kept, Wait, begun, choose, meet, moved

SINCE = datetime(2026, 11, 25, 12, tzinfo=UTC)

EVENT = Event("main", "/shop", "1", "order.placed", entity_type="order")


def rule(name: str = "r", type: str = "order.placed", **more: Any) -> Rule:
    given = {"when": lambda _: True, "steps": (step(),), **more}
    return Rule("main", name, 1, type.removesuffix("*"), type.endswith("*"), **given)


def step(do: Do = Do.EMIT, computed: Any = None, check: Any = None) -> Step:
    def compute(_: Any) -> Mapping[str, Any]:
        if isinstance(computed, RuleError):
            raise computed
        return computed or {}

    return Step(do, compute, check or (lambda _: None))


def fire(*rules: Rule, event: Event = EVENT) -> list[tuple[str, FiringResult]]:
    ordered = RuleIndex(rules).for_type(event.tenant, event.type)
    firings = evaluate(ordered, event, lambda parameters: parameters, max_depth=64)
    return [(firing.rule.name, firing.result) for firing in firings]


@pytest.mark.parametrize(
    ("rule", "matches"),
    [
        (rule(), True),
        (rule(type="order.cancelled"), False),
        (rule(type="order.*"), True),
        (rule(type="order.placed*"), True),
        (rule(type="*"), True),
        (rule(type="orders*"), False),
        (rule(source="/shop"), True),
        (rule(source="/shop/2"), False),
        (rule(entity_type="order"), True),
        (rule(entity_type="invoice"), False),
        (rule(when=lambda _: False), False),
    ],
)
def test_a_rule_is_for_what_its_filter_says(rule: Rule, matches: bool) -> None:
    assert bool(fire(rule)) is matches


def test_another_tenant_sees_nothing() -> None:
    assert not RuleIndex([rule()]).for_type("other", "order.placed")
    assert not applies(rule(), Event("other", "/shop", "1", "order.placed"))


def test_rules_run_by_order_then_name() -> None:
    rules = [rule("b", order=1), rule("a", order=1), rule("c", order=0), rule("z", "*", order=-1)]
    assert [name for name, _ in fire(*rules)] == ["z", "c", "a", "b"]


def test_stop_ends_it_where_the_rule_fired_and_only_there() -> None:
    broken = RuleError("no such field")

    def fails(_: Any) -> bool:
        raise broken

    assert fire(rule("a", when=lambda _: False, stop=True), rule("b", stop=True), rule("c")) == [
        ("b", FiringResult.FIRED)
    ]
    assert fire(rule("a", when=fails, stop=True), rule("b")) == [("a", FiringResult.FAILED), ("b", FiringResult.FIRED)]


def test_a_firing_is_whole() -> None:
    steps = (step(), step(computed=RuleError("missing", "/data/x")), step())
    [firing] = evaluate([rule(steps=steps)], EVENT, lambda p: p, max_depth=64)
    assert (firing.result, firing.actions) == (FiringResult.FAILED, ())
    assert firing.detail == "/instructions/1/data/x: missing"


def test_instructions_act_on_the_events_process() -> None:
    suspend = rule(steps=(step(Do.SUSPEND), step(Do.SUSPEND, {"pid": 9})))
    event = Event("main", "/p", "1", "order.placed", pid=7)
    [firing] = evaluate([suspend], event, lambda p: p, max_depth=64)
    assert [action.arguments["pid"] for action in firing.actions] == [7, 9]
    [failed] = evaluate([suspend], EVENT, lambda p: p, max_depth=64)
    assert failed.detail == "/instructions/0/pid: the event has no process; name the pid"


@pytest.mark.parametrize(
    ("depth", "result"), [(0, FiringResult.FIRED), (63, FiringResult.FIRED), (64, FiringResult.STOPPED)]
)
def test_too_long_a_chain_is_stopped(depth: int, result: FiringResult) -> None:
    event = Event("main", "/shop", "1", "order.placed", depth=depth)
    [firing] = evaluate([rule()], event, lambda p: p, max_depth=64)
    assert firing.result is result
    assert bool(firing.actions) is (result is FiringResult.FIRED)


names = st.text("ab.", min_size=1, max_size=4)
rules = st.builds(
    lambda name, type, star, order, stop, holds: rule(
        name, type + "*" * star, order=order, stop=stop, when=lambda _: holds
    ),
    names, names, st.booleans(), st.integers(-1, 1), st.booleans(), st.booleans(),
)  # fmt: skip


@given(st.lists(rules, max_size=12, unique_by=lambda each: each.name), names, st.randoms())
def test_the_index_finds_what_trying_all_rules_finds(found: list[Rule], type: str, random: random.Random) -> None:
    event = Event("main", "/shop", "1", type)
    expected = sorted((each for each in found if applies(each, event)), key=lambda each: (each.order, each.name))
    shuffled = random.sample(found, len(found))
    assert list(RuleIndex(shuffled).for_type("main", type)) == expected
    assert fire(*found, event=event) == fire(*shuffled, event=event)


def follow(events: list[tuple[int, str]]) -> Wait | None:
    """The wait after (version, state) events of its process, whatever their order."""
    wait: Wait | None = None
    for version, state in events:
        if state == "waiting":
            wait = begun(wait, Wait(1, version, "main", "paid", "k", SINCE))
        elif wait is not None:
            wait = moved(wait, version, state)
    return wait


@pytest.mark.parametrize(
    ("events", "version", "suspended"),
    [
        ([(3, "waiting")], 3, False),
        ([(3, "waiting"), (4, "WAITING")], 4, False),
        ([(3, "waiting"), (4, "SUSPENDED")], 4, True),
        ([(3, "waiting"), (4, "SUSPENDED"), (5, "waiting")], 5, False),
        ([(3, "waiting"), (4, "SUSPENDED"), (3, "waiting")], 4, True),
        ([(3, "waiting"), (4, "READY")], None, False),
        ([(3, "waiting"), (4, "TERMINATED")], None, False),
        ([(3, "waiting"), (2, "RUNNING")], 3, False),
    ],
)
def test_a_wait_follows_its_process(events: list[tuple[int, str]], version: int | None, suspended: bool) -> None:
    wait = follow(events)
    assert (wait and wait.version) == version
    assert wait is None or wait.suspended is suspended


def test_what_a_waiter_was_woken_with_stays_until_it_moves_on() -> None:
    woken = Wait(1, 3, "main", "paid", "k", SINCE, wake="{}")
    assert begun(woken, Wait(1, 5, "main", "paid", "k", SINCE)).wake == "{}"
    assert begun(woken, Wait(1, 5, "main", "paid", "other", SINCE)).wake is None
    changed = moved(woken, 4, "WAITING")
    assert changed is not None
    assert changed.wake == "{}"
    assert moved(woken, 4, "READY") is None
    assert moved(woken, 4, "SUSPENDED", met=True) is None


def test_who_meets_whom_is_told_by_the_mode() -> None:
    there = [
        Wait(pid, 1, "main", "paid", key, SINCE, suspended=pid == 1) for pid, key in ((1, "k"), (2, None), (3, "k"))
    ]

    def met(*calls: tuple[str, Meets]) -> list[tuple[int, int]]:
        found = meet([Call("main", "paid", key, "{}", mode) for key, mode in calls], there)
        return sorted((index, wait.pid) for index, wait in found)

    assert met(("k", Meets.ALL), ("k", Meets.ALL)) == [(0, 1), (0, 2), (0, 3)]
    assert met(("k", Meets.FIRST)) == [(0, 1), (0, 2), (0, 3)]
    assert met(("k", Meets.ONE), ("k", Meets.ONE), ("k", Meets.ONE), ("k", Meets.ONE)) == [(0, 2), (1, 3), (2, 1)]
    assert met(("other", Meets.ONE), ("other", Meets.ALL)) == [(0, 2)]
    assert [wait.pid for _, wait in meet([Call("main", None, "k", "{}")], there)] == [3, 1]
    assert meet([Call("else", "paid", "k", "{}")], there) == []


def test_who_begins_to_wait_has_the_oldest_that_it_may() -> None:
    def kept(pid: int, event: int, at: int, mode: Meets) -> Kept:
        return Kept(pid, bytes([event]), SINCE + timedelta(seconds=at), mode)

    one, all_ = Meets.ONE, Meets.ALL
    found = choose(
        [kept(1, 7, 5, one), kept(2, 7, 5, one), kept(1, 8, 3, all_), kept(2, 9, 6, all_), kept(3, 9, 6, all_)]
    )
    assert {pid: each.event for pid, each in found.items()} == {1: b"\x08", 2: b"\x07", 3: b"\x09"}
