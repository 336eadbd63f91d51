"""What holds of every plan, whatever happened before: checked against trying all combinations, and against a second run."""

import os
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_contracts.vocabulary import QueuePolicy
from scheduler_svc.domain.demands import Demand, Need, Skill
from scheduler_svc.domain.order import Ageing, order_of
from scheduler_svc.domain.planning import plan
from scheduler_svc.domain.queues import Item, ItemState
from scheduler_svc.domain.state import State

from .world import START, Owned, World, item, lock, operator, room

ROLES = ("clerk", "lawyer", "porter")
DEMANDS: tuple[tuple[Demand, ...], ...] = (
    (operator("clerk"),),
    (operator("lawyer"),),
    (operator("clerk", "porter"),),
    (operator("clerk", skills=[("dutch", 2)]),),
    (operator("clerk", resource="p1"),),
    (operator("porter", resource="p2"), lock("a")),
    (operator("clerk"), lock("a")),
    (operator("lawyer"), lock("b")),
    (operator("clerk"), room(size="big")),
    (operator("clerk"), operator("lawyer")),
    (operator("clerk"), operator("clerk", "lawyer"), operator("porter")),
    (room(), room(), lock("b")),
    (Demand(Need("machine"), 2),),
    (Demand(Need("machine"), 1), operator("porter")),
    (operator("clerk"), lock("a")),
    (),
)
PEOPLE: tuple[tuple[str, tuple[str, ...], int], ...] = (
    ("p0", ("clerk",), 1),
    ("p1", ("clerk", "lawyer"), 1),
    ("p2", ("porter",), 2),
    ("p3", ("clerk", "porter", "lawyer"), 1),
    ("p4", ("lawyer",), 0),
)
SMALL = st.integers(0, 15)
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(
            ["arrive"] * 4
            + ["plan"] * 3
            + ["grant"] * 3
            + ["deny", "end", "end", "wait", "again", "person", "other", "queue", "move", "prioritize", "time", "late"]
        ),
        SMALL,
        SMALL,
        SMALL,
    ),
    max_size=60,
)


class Story:
    """Turns numbers into what happens in a world."""

    def __init__(self) -> None:
        self.world = World()
        self.pids = 0

    def do(self, action: str, a: int, b: int, c: int) -> None:
        getattr(self, f"_{action}")(a, b, c)

    def _arrive(self, a: int, b: int, c: int) -> None:
        self.pids += 1
        self.world.arrive(
            item(
                self.pids,
                *DEMANDS[a],
                priority=b * 6,
                ready=c,
                queue="q1" if c % 3 == 0 else "default",
                due=b if c % 2 else None,
                expected=a if b % 2 else None,
                not_after=c * 3 if b == 7 else None,
            )
        )

    def _plan(self, a: int, b: int, c: int) -> None:
        self.world.plan()

    def _grant(self, a: int, b: int, c: int) -> None:
        if self.world.asked:
            self.world.answer(list(self.world.asked)[a % len(self.world.asked)])

    def _deny(self, a: int, b: int, c: int) -> None:
        if self.world.asked:
            self.world.answer(list(self.world.asked)[a % len(self.world.asked)], refuse=True)

    def _items(self, *states: ItemState) -> list[Item]:
        return [each for each in self.world.state.items.values() if each.state in states]

    def _end(self, a: int, b: int, c: int) -> None:
        if running := self._items(ItemState.RUNNING, ItemState.READY, ItemState.HOLDING):
            self.world.end(running[a % len(running)].pid)

    def _wait(self, a: int, b: int, c: int) -> None:
        if running := self._items(ItemState.RUNNING):
            self.world.wait(running[a % len(running)].pid)

    def _again(self, a: int, b: int, c: int) -> None:
        if holding := self._items(ItemState.HOLDING, ItemState.RUNNING):
            chosen = holding[a % len(holding)]
            self.world.versions.setdefault(chosen.pid, chosen.latest)
            self.world.versions[chosen.pid] += 1
            self.world.again(chosen)
            self.world.give(chosen.pid, all=False)

    def _person(self, a: int, b: int, c: int) -> None:
        name, roles, capacity = PEOPLE[a % len(PEOPLE)]
        owned = self.world.owned.get(name) or Owned(name, "operator")
        owned.roles = frozenset(roles if b % 4 else roles[:1])
        owned.capacity = max(owned.used, capacity + b % 2)
        owned.open = c % 5 != 0
        owned.skills = {"dutch": Skill(c)} if b % 3 else {}
        self.world.define(owned)

    def _other(self, a: int, b: int, c: int) -> None:
        kind = ("room", "machine")[a % 2]
        owned = self.world.owned.get(f"{kind}{b % 2}") or Owned(f"{kind}{b % 2}", kind)
        owned.capacity = max(owned.used, 1 + c % 3)
        owned.labels = {"size": "big"} if c % 2 else {}
        self.world.define(owned)

    def _queue(self, a: int, b: int, c: int) -> None:
        name = ("default", "q1")[a % 2]
        known = self.world.state.queues.get(("main", name))
        version = 1 if known is None else known.version + 1
        self.world.queue(version, name, list(QueuePolicy)[b % 6], limit=c if c % 3 else None, paused=c == 9)

    def _move(self, a: int, b: int, c: int) -> None:
        if ready := self._items(ItemState.READY):
            chosen = ready[a % len(ready)]
            self.world.versions[chosen.pid] = chosen.latest + 1
            self.world.state.moved(chosen.pid, chosen.latest + 1)

    def _prioritize(self, a: int, b: int, c: int) -> None:
        if ready := self._items(ItemState.READY, ItemState.PROPOSED):
            chosen = ready[a % len(ready)]
            self.world.versions[chosen.pid] = chosen.latest + 1
            self.world.state.prioritized(chosen.pid, chosen.latest + 1, b * 6)

    def _time(self, a: int, b: int, c: int) -> None:
        self.world.pass_time(a * b)

    def _late(self, a: int, b: int, c: int) -> None:
        """Something old comes once more."""
        if self.pids:
            pid = 1 + a % self.pids
            self.world.state.ready(item(pid, *DEMANDS[b], version=2))
            self.world.state.left(pid, 1)


def told(actions: list[Any]) -> Story:
    story = Story()
    for action in actions:
        story.do(*action)
    return story


EXAMPLES = int(os.environ.get("KERNEL_TEST_EXAMPLES", "150"))
PROPERTY = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@PROPERTY
@given(ACTIONS)
def test_nothing_waits_while_all_it_needs_is_free_and_nothing_is_promised_twice(actions: list[Any]) -> None:
    story = Story()
    for action in actions:
        story.do(*action)
        if action[0] == "plan":
            story.world.check()
    before = {each.id: each.room for each in story.world.state.resources.values()}
    placements = story.world.plan()
    story.world.check()
    for placement in placements:
        assert len(placement.candidates) == len(placement.item.demands.all)
        assert all(1 <= len(ids) <= 3 for ids in placement.candidates)
    for each in story.world.state.resources.values():
        assert each.room >= min(0, before.get(each.id, each.room)), "over-proposed"
    dispatches = [dispatch for dispatch, _ in story.world.placed]
    assert len(dispatches) == len(set(dispatches))
    assert story.world.plan() == []


@PROPERTY
@given(ACTIONS)
def test_the_same_events_give_the_same_plans(actions: list[Any]) -> None:
    one, other = told(actions), told(actions)
    one.world.plan()
    other.world.plan()
    assert one.world.placed == other.world.placed


@PROPERTY
@given(ACTIONS)
def test_what_is_stored_gives_the_same_plan(actions: list[Any]) -> None:
    story = told(actions)
    fresh: State = story.world.reloaded()
    expected = [(each.dispatch_id, each.candidates) for each in story.world.plan()]
    assert [(each.dispatch_id, each.candidates) for each in plan(fresh, story.world.now)] == expected
    assert fresh.next_due() == story.world.state.next_due()


@PROPERTY
@given(ACTIONS)
def test_of_those_alike_the_first_in_order_goes_first(actions: list[Any]) -> None:
    """Within a queue, of two items with the same demands on pools alone, none goes before one that stands before it."""
    story = told(actions)
    story.world.state.wake(story.world.now)
    line = [each for each in story.world.state.items.values() if each.key is not None and not each.fixed]
    keys = {each.pid: (each.queue, each.demands.signature, each.key) for each in line}
    gone = [placement.item.pid for placement in story.world.plan()]
    for pid in gone:
        if pid in keys:
            queue, signature, key = keys[pid]
            for other in line:
                if other.queue == queue and other.demands.signature == signature and other.pid not in gone:
                    closed = other.not_after is not None and other.not_after < story.world.now
                    assert closed or keys[other.pid][2] > key


@given(st.lists(st.builds(item, st.integers(1, 30), priority=st.integers(0, 3), ready=st.integers(0, 3)), max_size=12))
def test_orders_are_total(items: list[Item]) -> None:
    unique = list({each.pid: each for each in items}.values())
    for policy in QueuePolicy:
        order = order_of(policy, Ageing())
        keys = [order(each) for each in unique]
        assert len(set(keys)) == len(keys)
        assert [key[-1] for key in sorted(keys)] == [each.pid for each in sorted(unique, key=order)]


@PROPERTY
@given(ACTIONS, st.booleans(), st.integers(0, 5))
def test_everything_runs_in_the_end(actions: list[Any], backfill: bool, policy: int) -> None:
    """Whatever happened: where people and things enough are there and each process ends, none is left in line."""
    story = told(actions)
    world = story.world
    for name in ("default", "q1"):
        known = world.state.queues.get(("main", name))
        version = 1 if known is None else known.version + 1
        world.queue(version, name, list(QueuePolicy)[policy], backfill=backfill)
    for name in ("p0", "p1", "p2", "p3"):
        owned = world.owned.get(name) or Owned(name, "operator")
        owned.open, owned.capacity, owned.roles = True, owned.capacity + 3, frozenset(ROLES)
        owned.skills = {"dutch": Skill(9)}
        world.define(owned)
    for kind in ("room", "machine"):
        owned = world.owned.get(f"{kind}0") or Owned(f"{kind}0", kind)
        owned.capacity, owned.labels = owned.capacity + 3, {"size": "big"}
        world.define(owned)
    for _ in range(200):
        world.plan()
        if not backfill:
            world.check()
        world.grant_all()
        for each in list(world.state.items.values()):
            if each.state in (ItemState.RUNNING, ItemState.HOLDING):
                world.end(each.pid)
        world.pass_time(31)
    left = [
        each for each in world.state.items.values() if not (each.not_after is not None and each.not_after < world.now)
    ]
    assert left == []
    assert world.now > START
