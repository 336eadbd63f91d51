"""The capacity profile against counting, and backfill: who is first in line is not delayed by who goes in front of it."""

from math import inf
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_contracts.vocabulary import QueuePolicy
from scheduler_svc.domain.backfill import reserve
from scheduler_svc.domain.demands import Demand, Need
from scheduler_svc.domain.profile import Profile
from scheduler_svc.domain.queues import ItemState

from .world import START, Owned, World, item, operator


def units(n: int) -> Demand:
    return Demand(Need("machine"), n)


@given(st.integers(0, 9), st.lists(st.tuples(st.integers(0, 20), st.integers(1, 4)), max_size=8), st.data())
def test_a_profile_is_what_counting_gives(free: int, gains: list[tuple[int, int]], data: st.DataObject) -> None:
    profile = Profile(0, free, gains)
    slots = [free + sum(more for at, more in gains if at <= t) for t in range(200)]
    for _ in range(5):
        wanted, length = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 15))
        after = data.draw(st.integers(0, 10))
        fits = [t for t in range(after, 180) if min(slots[t : t + length]) >= wanted]
        start = profile.earliest(wanted, length, after)
        assert start == (fits[0] if fits else None)
        assert all(profile.fits(wanted, t, t + length) == (min(slots[t : t + length]) >= wanted) for t in range(40))
        if start is not None:
            profile.take(wanted, start, start + length)
            for t in range(int(start), int(start) + length):
                slots[t] -= wanted


def test_short_work_goes_in_front_where_it_does_not_delay_the_first() -> None:
    world = World()
    world.queue(1, policy="fifo", backfill=True)
    world.define(Owned("m", "machine", 4))
    world.arrive(item(1, units(3), expected=100))
    world.arrive(item(2, units(4), ready=1, expected=50))
    world.arrive(item(3, units(1), ready=2, expected=101))
    world.arrive(item(4, units(1), ready=3))
    world.arrive(item(5, units(1), ready=4, expected=100))
    assert world.pids() == [1, 5]
    world.grant_all()
    world.pass_time(100)
    world.end(1)
    world.end(5)
    assert world.pids() == [2]


def test_without_durations_nothing_changes() -> None:
    world = World()
    world.queue(1, policy="fifo", backfill=True)
    world.define(Owned("m", "machine", 4))
    world.arrive(item(1, units(3)))
    world.state.items[1].expected = None
    world.plan()
    world.grant_all()
    world.arrive(item(2, units(4), ready=1))
    world.arrive(item(3, units(1), ready=2))
    world.state.items[3].expected = None
    assert world.pids() == [3]


def test_a_gang_keeps_all_that_it_needs_and_nothing_else() -> None:
    world = World()
    world.queue(1, policy="fifo", backfill=True)
    world.define(Owned("m", "machine", 2))
    world.person("anna", "clerk")
    world.person("ben", "clerk", "lawyer")
    world.arrive(item(1, operator("lawyer"), expected=100))
    assert world.pids() == [1]
    world.arrive(item(2, operator("lawyer"), units(2), ready=1, expected=10))
    world.arrive(item(3, units(1), ready=2, expected=1_000))
    world.arrive(item(4, operator("clerk"), ready=3, expected=1_000))
    world.arrive(item(5, units(1), ready=4, expected=50))
    assert world.pids() == [4, 5]


JOBS = st.lists(st.tuples(st.integers(1, 8), st.integers(1, 30), st.integers(0, 10)), min_size=1, max_size=30)


@settings(max_examples=60)
@given(JOBS, st.integers(0, 5))
def test_a_promise_is_kept(jobs: list[tuple[int, int, int]], seed: int) -> None:
    """Where work ends when it is expected to, the first in line starts no later than it was told at any time."""
    world, rng = World(), Random(seed)
    world.queue(1, policy="fifo", backfill=True)
    world.define(Owned("m", "machine", 8))
    ends: list[tuple[float, int]] = []
    todo = []
    at = 0
    for pid, (wanted, length, gap) in enumerate(jobs, 1):
        at += gap
        todo.append((at, item(pid, units(wanted), ready=at, expected=length)))
    rng.shuffle(todo)
    todo.sort(key=lambda each: each[0])
    promised: dict[int, float] = {}
    while todo or ends:
        t = min([*(each[0] for each in todo[:1]), *(end for end, _ in ends)])
        world.pass_time(t - (world.now - START).total_seconds())
        for end, pid in sorted(ends):
            if end == t:
                ends.remove((end, pid))
                world.end(pid)
        while todo and todo[0][0] == t:
            world.arrive(todo.pop(0)[1])
        for placed in world.plan():
            each = placed.item
            assert t <= promised.get(each.pid, inf) + 1e-6
            ends.append((t + (each.expected or 0), each.pid))
        world.grant_all()
        line = [each for each in world.state.items.values() if each.state is ItemState.READY]
        if line:
            first = min(line, key=lambda each: each.key or ())
            assert first.bucket is not None
            found = reserve(world.state, first, first.bucket, world.now.timestamp())
            assert found is not None
            told = found.at - START.timestamp()
            assert told <= promised.get(first.pid, inf) + 1e-6
            promised[first.pid] = told


WORK = st.lists(
    st.tuples(st.integers(1, 4), st.integers(0, 2), st.integers(1, 30), st.integers(0, 10), st.integers(0, 100)),
    min_size=1,
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(WORK, st.sampled_from(list(QueuePolicy)), st.booleans())
def test_nothing_is_left_and_nothing_idles_without_a_reason(
    work: list[tuple[int, int, int, int, int]], policy: QueuePolicy, known: bool
) -> None:
    """Gangs of machines and people, known to end or not: all run; who could begin and does not would delay a reservation."""
    world = World()
    world.queue(1, policy=policy, backfill=True)
    world.define(Owned("m", "machine", 4))
    world.person("anna", "clerk")
    world.person("ben", "clerk", "lawyer")
    ends: list[tuple[float, int]] = []
    todo = []
    at = 0
    for pid, (wanted, person, length, gap, priority) in enumerate(work, 1):
        at += gap
        demands = (units(wanted), *((operator("clerk"), operator("lawyer"))[person - 1 : person] if person else ()))
        made = item(pid, *demands, ready=at, expected=length if known else None, priority=priority)
        todo.append((at, made))
    lengths = {pid: length for pid, (_, _, length, _, _) in enumerate(work, 1)}
    done = 0
    while todo or ends:
        t = min([*(each[0] for each in todo[:1]), *(end for end, _ in ends)])
        world.pass_time(t - (world.now - START).total_seconds())
        for end, pid in sorted(ends):
            if end == t:
                ends.remove((end, pid))
                world.end(pid)
                done += 1
        while todo and todo[0][0] == t:
            world.arrive(todo.pop(0)[1])
        ends += [(t + lengths[placed.item.pid], placed.item.pid) for placed in world.plan()]
        world.grant_all()
        assert world.plan() == []
        line = [each for each in world.state.items.values() if each.state is ItemState.READY]
        idle = [each for each in line if world.feasible(each)]
        if idle:
            first = [each for each in line if not world.feasible(each)]
            assert first, "somebody could begin and nobody is before it who could not"
            assert all(any(other.key < each.key for other in first) for each in idle)  # type: ignore[operator]
    assert done == len(work)
