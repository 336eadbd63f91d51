"""The plan ahead is the planner's own: what it says comes true where all goes as expected."""

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from scheduler_svc.domain.ahead import play

from .test_properties import ACTIONS, told
from .world import START, World, item, lock, operator, room


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
