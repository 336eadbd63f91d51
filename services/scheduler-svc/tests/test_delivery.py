"""Everything comes twice and out of order: the model ends where it would have ended, and nothing stays that should not."""

import random
from collections.abc import Callable
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_contracts.vocabulary import ProcessState
from scheduler_svc.domain.facts import Definition, Usage
from scheduler_svc.domain.planning import plan
from scheduler_svc.domain.state import State

from .world import START, TENANT, item, lock, operator

Fact = Callable[[State], None]


def lifecycle(pid: int, offset: int, *, cancelled: bool) -> list[Fact]:
    """All that is told of a process that took the lock of case 1 and `anna`, with the versions that follow from its turn.

    One that was `cancelled` before its grant came refuses it.
    """
    made = (operator("clerk"), lock("case:1"))
    taken = [
        Usage("anna", "operator", 1, False, 1, 1, offset + 1),
        Usage("entity:case:1", "entity", 1, True, 1, 1, offset + 1),
    ]
    given_back = [
        Usage("anna", "operator", 1, False, 0, 1, offset + 2),
        Usage("entity:case:1", "entity", 1, True, 0, 1, offset + 2),
    ]
    dispatch = f"{pid}.2.1"
    if cancelled:
        return [
            lambda state: state.ready(item(pid, *made, ready=pid)),
            lambda state: state.left(pid, 5, ended=True),
            lambda state: state.granted(TENANT, pid, dispatch, "default", taken, START),
            lambda state: state.refused(pid, dispatch, 5, ProcessState.TERMINATED, "it has ended", START),
            lambda state: state.released(TENANT, pid, dispatch, given_back, "dispatch_refused", START),
        ]
    return [
        lambda state: state.ready(item(pid, *made, ready=pid)),
        lambda state: state.granted(TENANT, pid, dispatch, "default", taken, START),
        lambda state: state.moved(pid, 4),
        lambda state: state.left(pid, 5, ended=True),
        lambda state: state.released(TENANT, pid, dispatch, given_back, "terminated", START),
    ]


def anna(state: State) -> None:
    state.defined(Definition(TENANT, "anna", "operator", True, 1, 0, 1, {}, frozenset({"clerk"})), START)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 6), st.sets(st.integers(1, 6)), st.integers(0, 2**32), st.booleans())
def test_twice_and_shuffled_ends_with_nothing_left(count: int, cancelled: set[int], seed: int, planning: bool) -> None:
    facts: list[Fact] = [anna]
    for pid in range(1, count + 1):
        facts += lifecycle(pid, 2 * pid, cancelled=pid in cancelled)
    twice = facts * 2
    random.Random(seed).shuffle(twice)
    state = State()
    for fact in twice:
        fact(state)
        if planning:
            plan(state, START)
        state.take_changes()
    for resource in state.resources.values():
        assert (resource.used, resource.outstanding) == (0, 0), resource.id
    assert [each for each in state.items.values() if each.latest < 5] == []
    assert state.items == {}
    state.ready(item(99, operator("clerk"), lock("case:1")))
    assert [placement.item.pid for placement in plan(state, START + timedelta(minutes=10))] == [99]


def test_a_planner_that_remembers_nothing_of_it_is_told_by_the_refusal() -> None:
    """Old news of a process that has long ended: its grant, delivered again, looks like the answer to a new proposal."""
    state = State()
    anna(state)
    arrival, grant, *_ = lifecycle(1, 2, cancelled=False)
    arrival(state)
    assert [placement.dispatch_id for placement in plan(state, START)] == ["1.2.1"]
    grant(state)
    state.refused(1, "1.2.1", 5, ProcessState.TERMINATED, "it has ended", START)
    assert state.items == {}
