"""Who goes first and on whom, case by case."""

from datetime import timedelta

import pytest
from kernel_contracts.vocabulary import ProcessState
from scheduler_svc.domain.demands import Demand, Demands, Need, Skill
from scheduler_svc.domain.facts import Usage
from scheduler_svc.domain.line import DOUBT_TIME
from scheduler_svc.domain.planning import plan
from scheduler_svc.domain.queues import ItemState
from scheduler_svc.domain.state import ANSWER_TIME, LEAVING_TIME

from .world import START, TENANT, Owned, World, item, lock, operator, room


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("priority", [3, 4, 1, 2]), ("fifo", [1, 2, 3, 4]), ("edf", [2, 4, 3, 1]), ("sjf", [4, 1, 3, 2])],
)
def test_each_policy_orders_its_queue(policy: str, expected: list[int]) -> None:
    world = World()
    world.queue(1, policy=policy)
    anna = world.person("anna", "clerk")
    world.arrive(item(1, operator("clerk"), priority=10, ready=0, expected=60))
    world.arrive(item(2, operator("clerk"), priority=10, ready=1, due=5))
    world.arrive(item(3, operator("clerk"), priority=90, ready=2))
    world.arrive(item(4, operator("clerk"), priority=90, ready=3, due=50, expected=10))
    order = []
    for _ in range(4):
        pids = world.pids()
        order += pids
        world.grant_all()
        world.end(pids[0])
    assert order == expected
    assert anna.used == 0


def test_equal_priority_and_age_go_by_pid() -> None:
    world = World()
    world.person("anna", "clerk", capacity=3)
    for pid in (9, 3, 7):
        world.arrive(item(pid, operator("clerk")))
    assert world.pids() == [3, 7, 9]


def test_a_change_of_policy_reorders_those_in_line_and_those_parked() -> None:
    world = World()
    for pid, priority in ((1, 10), (2, 20), (3, 30)):
        world.arrive(item(pid, lock("case:1"), operator("clerk"), priority=priority, ready=pid))
    world.arrive(item(9, lock("case:1"), priority=99))
    assert world.pids() == [9]
    world.queue(1, policy="fifo")
    world.grant_all()
    world.end(9)
    world.person("anna", "clerk")
    assert world.pids() == [1]


def test_the_least_loaded_then_the_least_flexible_then_the_longest_idle() -> None:
    world = World()
    world.person("busy", "clerk", capacity=2)
    world.arrive(item(1, operator("clerk")))
    assert world.first() == {1: ["busy"]}
    world.grant_all()
    world.person("versatile", "clerk", "lawyer")
    world.person("simple", "clerk")
    world.arrive(item(2, operator("clerk")))
    world.arrive(item(3, operator("clerk")))
    world.arrive(item(4, operator("clerk")))
    assert world.first() == {2: ["simple"], 3: ["versatile"], 4: ["busy"]}
    world.grant_all()
    world.pass_time(1)
    world.end(3)
    world.person("clerk2", "clerk")
    world.pass_time(1)
    world.end(2)
    world.arrive(item(5, operator("clerk")))
    world.arrive(item(6, operator("clerk")))
    assert world.first() == {5: ["clerk2"], 6: ["simple"]}


def test_up_to_three_candidates_the_best_first() -> None:
    world = World()
    for name in "dcbae":
        world.person(name, "clerk")
    world.arrive(item(1, operator("clerk")))
    (placement,) = world.plan()
    assert placement.candidates == (("a", "b", "c"),)


def test_roles_are_any_of_and_skills_all_of_at_their_level() -> None:
    world = World()
    world.person("low", "clerk", dutch=1)
    world.person("other", "porter", dutch=9)
    world.arrive(item(1, operator("clerk", "lawyer", skills=[("dutch", 3)])))
    assert world.pids() == []
    world.person("high", "lawyer", dutch=3)
    assert world.first() == {1: ["high"]}


def test_an_expired_skill_does_not_count() -> None:
    world = World()
    world.define(
        Owned("anna", "operator", roles=frozenset({"clerk"}), skills={"x": Skill(1, START + timedelta(seconds=10))})
    )
    world.arrive(item(1, operator("clerk", skills=[("x", 1)])))
    world.arrive(item(2, operator("clerk", skills=[("x", 1)])))
    assert world.pids() == [1]
    world.grant_all()
    world.pass_time(11)
    world.end(1)
    assert world.pids() == []


def test_absent_and_out_of_service_are_not_proposed() -> None:
    world = World()
    anna = world.person("anna", "clerk")
    anna.open = False
    world.define(anna)
    world.arrive(item(1, operator("clerk")))
    assert world.pids() == []
    anna.open = True
    world.define(anna)
    assert world.pids() == [1]


def test_all_of_an_items_demands_or_none() -> None:
    world = World()
    world.person("anna", "clerk")
    world.arrive(item(1, operator("clerk"), room(size="big"), priority=90))
    world.arrive(item(2, operator("clerk"), priority=10))
    assert world.pids() == [2]
    world.grant_all()
    world.define(Owned("hall", "room", labels={"size": "big"}))
    world.end(2)
    assert world.first() == {1: ["anna", "hall"]}


def test_a_gang_is_found_where_the_obvious_choice_blocks_itself() -> None:
    world = World()
    world.person("both", "clerk", "manager")
    world.person("porter", "porter", "clerk", "driver")
    world.arrive(item(1, operator("clerk"), operator("manager")))
    assert world.first() == {1: ["porter", "both"]}


def test_an_entity_lock_lets_one_at_a_time_and_the_rest_pass() -> None:
    world = World()
    world.person("anna", "clerk", capacity=5)
    for pid in (1, 2, 3):
        world.arrive(item(pid, operator("clerk"), lock("case:1"), ready=pid))
    world.arrive(item(4, operator("clerk"), lock("case:2"), ready=9))
    assert world.pids() == [1, 4]
    world.grant_all()
    assert world.pids() == []
    world.end(1)
    assert world.pids() == [2]


def test_a_lock_that_is_kept_does_not_block_its_holder() -> None:
    world = World()
    world.person("anna", "clerk")
    first = world.arrive(item(1, operator("clerk"), lock("case:1")))
    world.plan()
    world.grant_all()
    world.wait(1)
    world.arrive(item(2, operator("clerk"), lock("case:1"), priority=99))
    assert world.pids() == []
    world.again(first)
    assert world.first() == {1: ["anna", "entity:case:1"]}
    world.grant_all()
    world.end(1)
    assert world.pids() == [2]


def test_an_assigned_process_waits_for_its_operator_and_no_other_waits_for_it() -> None:
    world = World()
    world.person("anna", "clerk")
    world.person("bert", "clerk")
    world.arrive(item(1, operator("clerk", resource="anna"), priority=90))
    world.arrive(item(2, operator("clerk", resource="anna"), priority=80))
    world.arrive(item(3, operator("clerk"), priority=10))
    assert world.first() == {1: ["anna"], 3: ["bert"]}
    world.grant_all()
    world.arrive(item(4, operator("clerk"), priority=10))
    world.end(3)
    assert world.first() == {4: ["bert"]}
    world.grant_all()
    world.end(1)
    assert world.first() == {2: ["anna"]}


def test_an_assigned_operator_without_the_role_is_not_proposed_until_he_has_it() -> None:
    world = World()
    anna = world.person("anna", "porter")
    world.arrive(item(1, operator("clerk", resource="anna"), room()))
    world.define(Owned("hall", "room"))
    assert world.pids() == []
    assert world.state.items[1].denials == 0
    anna.roles = frozenset({"clerk"})
    world.define(anna)
    assert world.first() == {1: ["anna", "hall"]}


def test_an_operator_who_is_not_known_yet() -> None:
    world = World()
    world.arrive(item(1, operator(resource="anna")))
    assert world.pids() == []
    world.person("anna")
    assert world.first() == {1: ["anna"]}


def test_without_demands_it_goes_at_once() -> None:
    world = World()
    world.arrive(item(1))
    (placement,) = world.plan()
    assert placement.candidates == ()


def test_not_after_is_not_proposed_later() -> None:
    world = World()
    world.arrive(item(1, operator("clerk"), not_after=5))
    assert world.pids() == []
    world.pass_time(6)
    world.person("anna", "clerk")
    assert world.pids() == []
    assert world.state.items[1].state is ItemState.READY


def test_paused_and_limited_queues() -> None:
    world = World()
    world.person("anna", "clerk", capacity=9)
    world.queue(1, limit=2)
    for pid in range(1, 5):
        world.arrive(item(pid, operator("clerk"), ready=pid))
    assert world.pids() == [1, 2]
    world.grant_all()
    assert world.pids() == []
    world.end(1)
    assert world.pids() == [3]
    world.queue(2, paused=True)
    world.grant_all()
    world.end(2)
    assert world.pids() == []
    world.queue(3)
    assert world.pids() == [4]


def test_between_queues_the_heads_compete_by_priority() -> None:
    world = World()
    anna = world.person("anna", "clerk")
    world.arrive(item(1, operator("clerk"), priority=10, queue="a"))
    world.arrive(item(2, operator("clerk"), priority=90, queue="b", ready=5))
    world.arrive(item(3, operator("clerk"), priority=50, queue="a", ready=5))
    order = []
    for _ in range(3):
        pids = world.pids()
        order += pids
        world.grant_all()
        world.end(pids[0])
    assert order == [2, 3, 1]
    assert anna.used == 0


def test_a_denial_with_news_is_tried_again_when_there_is_room() -> None:
    world = World()
    anna = world.person("anna", "clerk")
    bert = world.person("bert", "clerk")
    world.arrive(item(1, operator("clerk")))
    world.plan()
    for each in (anna, bert):
        each.used, each.version = 1, each.version + 1
    assert not world.answer("1.2.1")
    assert world.state.items[1].denials == 1
    assert world.pids() == []
    bert.used = 0
    world.define(bert)
    assert world.first() == {1: ["bert"]}
    assert "1.2.2" in world.asked


def test_denials_without_news_back_off_and_end() -> None:
    world = World()
    world.person("anna", "clerk")
    world.arrive(item(1, operator("clerk")))
    world.plan()
    world.answer("1.2.1", refuse=True)
    assert world.pids() == []
    waits = []
    for attempt in range(2, 14):
        due = world.state.next_due()
        assert due is not None
        waits.append((due - world.now).total_seconds())
        world.now = due
        assert world.pids() == [1]
        world.answer(f"1.2.{attempt}", refuse=True)
    assert waits[:3] == [0.05, 0.1, 0.2]
    assert max(waits) == 30
    world.person("bert", "clerk")
    assert world.pids() == [1], "a change of what there is ends the back-off"


def test_an_unanswered_proposal_is_told_again_as_it_was() -> None:
    world = World()
    world.person("anna", "clerk")
    world.arrive(item(1, operator("clerk")))
    world.plan()
    assert world.state.next_due() == START + ANSWER_TIME
    assert world.state.overdue(START) == []
    for round in (1, 2):
        again = world.state.overdue(START + round * ANSWER_TIME)
        assert [(each.pid, each.dispatch_id) for each in again] == [(1, "1.2.1")]
    world.grant_all()
    assert world.state.overdue(START + 9 * ANSWER_TIME) == []


def test_a_grant_that_came_too_late_puts_it_back_with_its_new_version() -> None:
    world = World()
    world.person("anna", "clerk")
    world.arrive(item(1, operator("clerk")))
    world.plan()
    world.state.moved(1, 3)
    world.grant_all()
    assert world.state.items[1].state is ItemState.RUNNING
    world.state.refused(1, "1.2.1", 3, ProcessState.READY, "moved on", world.now)
    assert world.pids() == []
    world.give(1, all=True)
    assert [placement.dispatch_id for placement in world.plan()] == ["1.3.1"]


def test_a_grant_for_one_that_has_ended_leaves_nothing_behind() -> None:
    world = World()
    world.person("anna", "clerk")
    world.arrive(item(1, operator("clerk"), lock("case:1")))
    world.plan()
    world.state.left(1, 3, ended=True)
    world.grant_all()
    assert world.state.items == {}
    world.give(1, all=True)
    world.state.take_changes()
    assert list(world.state.resources) == [(TENANT, "anna")]


def test_what_comes_late_or_twice_changes_nothing() -> None:
    world = World()
    world.person("anna", "clerk")
    world.arrive(item(1, operator("clerk")))
    world.plan()
    world.state.ready(item(1, operator("clerk")))
    assert world.pids() == []
    world.grant_all()
    world.end(1)
    world.state.ready(item(1, operator("clerk")))
    world.state.left(1, 3)
    world.state.prioritized(1, 3, 9)
    assert world.state.items == {}
    assert world.pids() == []


def test_priority_can_change_in_line() -> None:
    world = World()
    world.arrive(item(1, operator("clerk")))
    world.arrive(item(2, operator("clerk"), ready=1))
    assert world.pids() == []
    world.state.prioritized(2, 3, 80)
    world.person("anna", "clerk")
    assert [placement.dispatch_id for placement in world.plan()] == ["2.3.1"]


def test_running_by_somebody_elses_dispatch_takes_it_out_of_line() -> None:
    world = World()
    world.arrive(item(1, operator("clerk")))
    world.state.runs(1, 3)
    world.person("anna", "clerk")
    assert world.pids() == []
    assert world.state.items[1].state is ItemState.RUNNING


def test_a_plan_that_is_cut_short_goes_on() -> None:
    world = World()
    world.person("anna", "clerk", capacity=10)
    for pid in range(1, 6):
        world.arrive(item(pid, operator("clerk"), queue=f"q{pid % 2}"))
    assert len(world.plan(most=3)) == 3
    assert world.state.dirty
    assert len(world.plan(most=3)) == 2
    assert not world.state.dirty


def test_units_of_a_consumable_run_out() -> None:
    world = World()
    world.define(Owned("paper", "paper", capacity=5))
    need = Demand(Need("paper"), 2)
    for pid in (1, 2, 3):
        world.arrive(item(pid, need))
    assert world.pids() == [1, 2]
    assert world.state.resources[TENANT, "paper"].room == 1


def test_when_the_next_for_a_lock_goes_away_the_one_behind_takes_its_place() -> None:
    world = World()
    anna = world.person("anna", "clerk")
    for pid in (1, 2, 3):
        world.arrive(item(pid, operator("clerk"), lock("case:1"), ready=pid))
    assert world.pids() == [1]
    anna.capacity = 2
    world.define(anna)
    assert world.pids() == []
    world.grant_all()
    world.arrive(item(9, operator("clerk"), priority=99))
    assert world.pids() == [9]
    world.grant_all()
    anna.capacity = 1
    world.define(anna)
    world.end(1)
    assert world.pids() == []
    world.end(2)
    world.end(9)
    assert world.pids() == [3]


def test_who_needs_two_locks_does_not_stand_in_the_way_of_one_who_needs_one() -> None:
    world = World()
    world.arrive(item(1, lock("a")))
    world.arrive(item(2, lock("b")))
    assert world.pids() == [1, 2]
    world.arrive(item(3, lock("a"), lock("b"), ready=3))
    world.arrive(item(4, lock("a"), ready=4))
    assert world.pids() == []
    world.grant_all()
    world.end(1)
    assert world.pids() == [4]
    world.grant_all()
    world.end(4)
    world.end(2)
    assert world.pids() == [3]


def test_a_lock_with_room_for_two_lets_two_go() -> None:
    world = World()
    world.define(Owned("pool", "operator", capacity=2))
    for pid in range(1, 7):
        world.arrive(item(pid, operator(resource="pool"), ready=pid))
    assert world.pids() == [1, 2]
    assert world.pids() == []
    world.grant_all()
    world.end(1)
    world.end(2)
    assert world.pids() == [3, 4]


def test_a_proposal_that_was_granted_and_given_back_unseen_is_made_anew() -> None:
    world = World()
    world.person("anna", "clerk")
    world.arrive(item(1, operator("clerk")))
    world.plan()
    world.state.released(TENANT, 1, "1.2.1", [], "released already", world.now)
    assert world.pids() == []
    world.pass_time(0.05)
    assert [placement.dispatch_id for placement in world.plan()] == ["1.2.2"]


def test_who_gave_everything_back_and_never_left_is_asked_about() -> None:
    world = World()
    world.person("anna", "clerk")
    world.arrive(item(1, operator("clerk")))
    world.plan()
    world.grant_all()
    world.pass_time(1)
    world.give(1, all=True)
    for state in (world.state, world.reloaded()):
        assert plan(state, world.now + LEAVING_TIME / 2) == []
    assert world.state.next_due() == world.now + LEAVING_TIME
    world.pass_time(60)
    assert [placement.dispatch_id for placement in plan(world.reloaded(), world.now)] == ["1.2.2"]
    assert [placement.dispatch_id for placement in world.plan()] == ["1.2.2"]
    world.state.refused(1, "1.2.2", 4, ProcessState.TERMINATED, "it has ended", world.now)
    assert world.state.items == {}


def test_more_of_what_it_has_already_adds_up() -> None:
    world = World()
    world.define(Owned("machine", "machine", capacity=3))
    keep = Demand(Need("machine"), 1, keep=True)
    both = Demand(Need("machine"), 2)
    first = world.arrive(item(1, keep))
    world.plan()
    world.grant_all()
    world.wait(1)
    world.again(first)
    world.state.items[1].demands = Demands.of((keep, both))
    world.state.prioritized(1, 99, 60)
    world.plan()
    world.grant_all()
    assert world.state.items[1].held["machine"].units == 3
    world.end(1)
    assert world.state.resources[TENANT, "machine"].room == 3


def stale(world: World, used: int, version: int) -> None:
    """News of the lock case:1 that has been told before, long ago."""
    usage = [Usage("entity:case:1", "entity", 1, True, used, 1, version)]
    world.state.granted(TENANT, 1, "1.1.1", "default", usage, world.now)


def test_late_news_of_a_forgotten_lock_does_not_take_it() -> None:
    world = World()
    world.person("anna", "clerk")
    world.arrive(item(1, operator("clerk"), lock("case:1")))
    assert world.pids() == [1]
    world.grant_all()
    world.end(1)
    world.state.take_changes()
    assert (TENANT, "entity:case:1") not in world.state.resources
    stale(world, 1, 1)
    world.arrive(item(2, operator("clerk"), lock("case:1")))
    assert world.pids() == [2]


def test_a_lock_that_seems_taken_for_long_is_asked_for() -> None:
    world = World()
    world.person("anna", "clerk")
    stale(world, 1, 1)
    world.arrive(item(2, operator("clerk"), lock("case:1")))
    assert world.pids() == []
    world.pass_time(DOUBT_TIME.total_seconds())
    assert world.pids() == [2]


def test_an_old_grant_of_a_process_that_nothing_is_known_of_is_not_kept() -> None:
    world = World()
    stale(world, 1, 1)
    assert 1 not in world.state.items
