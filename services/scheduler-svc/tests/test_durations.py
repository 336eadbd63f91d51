"""How long a run takes, learnt."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scheduler_svc.domain.durations import PRIOR, Durations, Known, Step

from .world import World, item, operator


def test_without_a_run_it_is_what_was_declared_or_a_prior() -> None:
    assert Durations().expected("main", Step("check")) == PRIOR
    assert Durations().expected("main", Step("check"), 42.0) == 42.0


def test_what_was_seen_often_outweighs_what_is_above_it() -> None:
    known = Durations()
    for _ in range(400):
        known.learn("main", Step("check", 1), 60)
        known.learn("main", Step("check", 2), 600)
    assert known.expected("main", Step("check", 1)) == pytest.approx(60, rel=0.1)
    assert known.expected("main", Step("check", 2)) == pytest.approx(600, rel=0.1)
    assert known.expected("main", Step("check", 2, "other")) == pytest.approx(600, rel=0.1)
    assert known.expected("main", Step("new")) == pytest.approx(330, rel=0.05)
    assert known.expected("other", Step("check", 1)) == PRIOR


def test_one_odd_run_hardly_moves_a_rare_step() -> None:
    known = Durations()
    for _ in range(200):
        known.learn("main", Step("check"), 100)
    known.learn("main", Step("check", 3, "fraud"), 10_000)
    assert known.expected("main", Step("check", 3, "fraud")) < 1_500


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(1, 6), st.sampled_from(["", "a"]), st.floats(0, 1e6)), max_size=40
    )
)
def test_what_is_stored_says_the_same(runs: list[tuple[str, int, str, float]]) -> None:
    learnt, restored = Durations(), Durations()
    for service, tries, previous, seconds in runs:
        learnt.learn("main", Step(service, tries, previous), seconds)
    steps = list(learnt.steps.items())
    random.Random(1).shuffle(steps)
    for (tenant, step), known in steps:
        restored.restore(tenant, step, Known(known.count, known.mean))
    for service in "abcd":
        for tries in (1, 3, 9):
            step = Step(service, tries, "a")
            assert restored.expected("main", step) == pytest.approx(learnt.expected("main", step))


def test_the_planner_learns_where_a_queue_looks_at_durations() -> None:
    world = World()
    world.queue(1, policy="sjf")
    world.person("anna", "clerk")
    for pid in range(1, 60):
        world.arrive(item(pid, operator("clerk")))
        assert world.pids() == [pid]
        world.grant_all()
        world.pass_time(30)
        world.end(pid)
    assert world.arrive(item(99, operator("clerk"))).expected == pytest.approx(30, rel=0.2)
    assert world.state.take_changes().learnt
    world.queue(2, policy="priority")
    assert world.arrive(item(100, operator("clerk"))).expected is None


def test_a_chain_tells_what_came_before_and_how_often() -> None:
    world = World()
    world.queue(1, policy="sjf")
    world.person("anna", "clerk")

    def arrive(pid: int, service: str, chain: str) -> tuple[int, str]:
        made = item(pid, operator("clerk"), service=service)
        made.chain = chain
        world.arrive(made)
        return made.tries, made.previous

    assert arrive(1, "check", "a") == (1, "")
    assert arrive(2, "decide", "a") == (1, "check")
    assert arrive(3, "check", "a") == (2, "decide")
    assert arrive(4, "check", "b") == (1, "")
    world.state = world.reloaded()
    assert arrive(5, "check", "a") == (3, "check")
    endless = item(6, operator("clerk"))
    endless.chain, endless.tries = "c", 10**6
    world.arrive(endless)
    assert endless.tries == 1_000
