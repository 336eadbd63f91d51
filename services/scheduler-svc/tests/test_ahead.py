"""The plan ahead is the planner's own: what it says comes true where all goes as expected."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scheduler_svc.domain.ahead import play
from scheduler_svc.domain.facts import Definition
from scheduler_svc.domain.whatif import Changes, apply, simulate

from .test_properties import ACTIONS, told
from .world import START, TENANT, World, item, lock, operator, room


def minutes(n: float) -> timedelta:
    return timedelta(minutes=n)


def test_one_after_the_other_on_whoever_comes_free() -> None:
    world = World()
    world.person("anna", "clerk")
    world.person("bert", "clerk", "lawyer")
    world.arrive(item(1, operator("clerk"), expected=600))
    world.plan()
    world.grant_all()
    world.arrive(item(2, operator("lawyer"), expected=1_200))
    world.arrive(item(3, operator("clerk"), lock("a"), ready=1, expected=300))
    world.arrive(item(4, operator("clerk"), lock("a"), ready=2, expected=300))
    world.arrive(item(5, operator("porter"), ready=3))
    runs = play(world.state, START, START + minutes(60), 100)
    assert [(r.pid, r.begin - START, r.end - START, r.runs) for r in runs] == [
        (1, minutes(0), minutes(10), True),
        (2, minutes(0), minutes(20), False),
        (3, minutes(10), minutes(15), False),
        (4, minutes(15), minutes(20), False),
    ]
    assert runs[2].resources == (("entity", "entity:a"), ("operator", "anna"))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 40), st.integers(0, 100)), max_size=15))
def test_it_comes_true_where_all_goes_as_expected(work: list[tuple[int, int, int]]) -> None:
    shapes = ((operator("clerk"),), (operator("lawyer"),), (operator("clerk"), room()), (operator("clerk"), lock("a")))

    def begun() -> World:
        world = World()
        world.person("anna", "clerk")
        world.person("bert", "clerk", "lawyer")
        world.person("hall")
        world.owned["hall"].type = "room"
        world.define(world.owned["hall"])
        for pid, (shape, length, priority) in enumerate(work, 1):
            world.arrive(item(pid, *shapes[shape], expected=length, priority=priority))
        return world

    runs = play(begun().state, START, START + minutes(60), 100)
    world, ends, starts = begun(), [], {}
    while True:
        for placement in world.plan():
            starts[placement.item.pid] = world.now
            ends.append((world.now + timedelta(seconds=placement.item.expected or 0), placement.item.pid))
        world.grant_all()
        if not ends:
            break
        world.now = min(ends)[0]
        for end in sorted(each for each in ends if each[0] == world.now):
            ends.remove(end)
            world.end(end[1])
    assert {run.pid: run.begin for run in runs} == starts


@settings(max_examples=60, deadline=None)
@given(ACTIONS)
def test_whatever_happened_before_a_plan_ahead_is_made(actions: list[tuple[str, int, int, int]]) -> None:
    world = told(actions).world
    line = {each.pid for each in world.state.items.values()}
    runs = play(world.state, world.now, world.now + minutes(600), 200)
    assert {run.pid for run in runs} <= line
    assert len({run.pid for run in runs}) == len(runs)
    assert all(run.begin <= run.end for run in runs)


def test_what_two_more_clerks_would_change() -> None:
    def busy() -> World:
        world = World()
        world.person("anna", "clerk")
        world.person("bert", "porter")
        for pid in range(1, 7):
            world.arrive(item(pid, operator("clerk"), expected=600, due=1_500 if pid < 4 else None))
        world.arrive(item(7, operator("porter"), expected=60, priority=0))
        return world

    until = START + minutes(30)
    plain = simulate(busy().state, TENANT, START, until, 100)
    assert (plain.begun, plain.waiting, plain.with_due, plain.late) == (4, 3, 3, 1)
    assert plain.by_resource["anna"] == 1
    assert plain.used["operator"] == pytest.approx((1_800 + 60) / 3_600)
    more = busy().state
    added = [Definition(TENANT, f"new{n}", "operator", True, 1, 0, 1, {}, frozenset({"clerk"})) for n in range(2)]
    assert apply(more, TENANT, Changes(added), START) == []
    helped = simulate(more, TENANT, START, until, 100)
    assert (helped.begun, helped.waiting, helped.late) == (7, 0, 0)
    assert helped.mean_wait < plain.mean_wait
    fewer = busy().state
    assert apply(fewer, TENANT, Changes((), ["bert", "nobody"]), START) == ["nobody"]
    assert simulate(fewer, TENANT, START, until, 100).begun == 3
