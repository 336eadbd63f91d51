"""Effective priority: its factors, ageing that leaves nobody behind, shares."""

from collections import Counter
from datetime import timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_contracts.vocabulary import QueuePolicy
from scheduler_svc.domain.eta import eta
from scheduler_svc.domain.order import Ageing, factors, order_of
from scheduler_svc.domain.queues import Item

from .world import START, World, item, operator

ITEMS = st.builds(
    item,
    st.integers(1, 1_000),
    priority=st.integers(0, 100),
    ready=st.floats(0, 1e5),
    due=st.none() | st.floats(0, 1e5),
    expected=st.none() | st.floats(0, 1e9),
)


@given(ITEMS, ITEMS, st.floats(0, 1e4), st.floats(0, 1e5))
def test_nothing_is_passed_by_what_came_later_than_the_bound(a: Item, b: Item, factor: float, bound: float) -> None:
    key = order_of(QueuePolicy.SJF, Ageing(factor, bound))
    if (b.ready_at - a.ready_at).total_seconds() > bound + 1e-3:
        assert key(a) < key(b)


@given(ITEMS, ITEMS, st.sampled_from([QueuePolicy.SJF, QueuePolicy.FIFO, QueuePolicy.EDF]))
def test_the_factors_add_up_to_the_order(a: Item, b: Item, policy: QueuePolicy) -> None:
    ageing = Ageing(10, 1e4)
    now = START + timedelta(days=2)
    first, second = (sum(factor.value for factor in factors(each, policy, ageing, now)) for each in (a, b))
    if a.due is not None and b.due is not None and abs(first - second) > 1:
        key = order_of(policy, ageing)
        assert (key(a) < key(b)) == (first > second)


def test_a_long_step_waits_no_longer_than_the_bound_under_a_stream_of_short_ones() -> None:
    world = World()
    world.queue(1, policy="sjf", ageing=Ageing(100, 600))
    world.person("anna", "clerk")
    world.arrive(item(1, operator("clerk"), expected=10_000))
    world.plan()
    world.grant_all()
    world.arrive(item(2, operator("clerk"), expected=10_000))
    running = 1
    for pid in range(3, 200):
        world.pass_time(10)
        world.arrive(item(pid, operator("clerk"), expected=1, ready=(world.now - START).total_seconds()))
        world.end(running)
        (placed,) = world.plan()
        running = placed.item.pid
        world.grant_all()
        if running == 2:
            break
    assert running == 2
    assert (world.now - START).total_seconds() <= 620


def _served(policy: str, weights: dict[str, float]) -> Counter[str]:
    """Of one place and three services that always have work: how long each of them had it."""
    world = World()
    world.queue(1, policy=policy, weights=weights)
    world.person("anna", "clerk")
    length = {"a": 10.0, "b": 20.0, "c": 40.0}
    for pid in range(1, 601):
        service = "abc"[pid % 3]
        world.arrive(item(pid, operator("clerk"), service=service, expected=length[service], priority=pid % 7))
    had: Counter[str] = Counter()
    for _ in range(120):
        (placed,) = world.plan()
        service = placed.item.service
        had[service] += int(length[service])
        world.grant_all()
        world.pass_time(length[service])
        world.end(placed.item.pid)
    return had


def test_fair_gives_each_service_the_same_time() -> None:
    had = _served("fair", {})
    assert max(had.values()) - min(had.values()) <= 80


def test_weighted_gives_each_service_its_share() -> None:
    had = _served("weighted", {"a": 3, "b": 2})
    assert had["a"] / had["c"] == pytest.approx(3, rel=0.15)
    assert had["b"] / had["c"] == pytest.approx(2, rel=0.15)


def test_a_service_that_was_idle_does_not_take_all_for_what_it_saved() -> None:
    world = World()
    world.queue(1, policy="fair")
    world.person("anna", "clerk")
    for pid in range(1, 101):
        world.arrive(item(pid, operator("clerk"), service="busy", expected=10))
    for _ in range(50):
        (placed,) = world.plan()
        world.grant_all()
        world.end(placed.item.pid)
    for pid in range(201, 221):
        world.arrive(item(pid, operator("clerk"), service="late", expected=10))
    order = []
    for _ in range(20):
        (placed,) = world.plan()
        order.append(placed.item.service)
        world.grant_all()
        world.end(placed.item.pid)
    assert 8 <= order.count("busy") <= 12


def test_least_slack_goes_first() -> None:
    world = World()
    world.queue(1, policy="edf")
    world.person("anna", "clerk", capacity=3)
    world.arrive(item(1, operator("clerk"), due=1_000, expected=10))
    world.arrive(item(2, operator("clerk"), due=1_200, expected=900))
    world.arrive(item(3, operator("clerk"), priority=100))
    assert world.pids() == [2, 1, 3]


def test_an_eta_is_the_pace_of_the_queue_and_sharper_the_more_was_seen() -> None:
    assert eta(1, 2, 60, START) is None
    near, far = eta(1, 10, 600, START), eta(50, 1_000, 3_600, START)
    assert near is not None
    assert far is not None
    assert (near.p50 - START).total_seconds() == pytest.approx(60)
    assert (far.p50 - START).total_seconds() == pytest.approx(180)
    assert (near.p90 - START) / (near.p50 - START) > (far.p90 - START) / (far.p50 - START) > 1


def test_nine_in_ten_begin_by_their_p90() -> None:
    """Starts by chance at a steady pace: what is told beforehand holds about as often as it says."""
    rng = Random(4)
    kept = {50: 0, 90: 0}
    for _ in range(2_000):
        seen = sum(1 for _ in range(600) if rng.random() < 0.05)
        position, t, left = 8, 0.0, 8
        found = eta(position, seen, 600, START)
        assert found is not None
        while left:
            t += 1
            left -= rng.random() < 0.05
        kept[50] += START + timedelta(seconds=t) <= found.p50
        kept[90] += START + timedelta(seconds=t) <= found.p90
    assert 0.4 < kept[50] / 2_000 < 0.6
    assert 0.85 < kept[90] / 2_000 < 0.95
