"""The decisions about capacity, against brute force: all or nothing, never over, refused for a reason that holds."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_contracts.vocabulary import DenialReason, Give, Hold, Presence, ResourceKind, ResourceStatus
from resource_svc.domain.allocation import (
    Allocation,
    Denial,
    Grant,
    Release,
    Request,
    allocate,
    release,
    withdraw,
)
from resource_svc.domain.ledger import CapacityError, give_back, peak, take
from resource_svc.domain.resource import Need, Resource, Skill, State, hindrance

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
IDS = "abcdef"

resources = st.builds(
    Resource,
    id=st.just(""),
    type=st.sampled_from(["operator", "room"]),
    kind=st.sampled_from(ResourceKind),
    capacity=st.integers(0, 3),
    roles=st.lists(st.sampled_from(["x", "y"]), max_size=2).map(tuple),
    labels=st.sampled_from([None, {"floor": "1"}, {"floor": "2"}]),
    skills=st.sampled_from(
        [(), (Skill("s"),), (Skill("s", 5),), (Skill("s", 5, NOW),), (Skill("s", 5, NOW + timedelta(1)),)]
    ),
    status=st.sampled_from([ResourceStatus.IN_SERVICE] * 4 + [ResourceStatus.OUT]),
    presence=st.sampled_from([Presence.AVAILABLE] * 4 + [Presence.AWAY]),
    deleted=st.sampled_from([False] * 8 + [True]),
)
needs = st.builds(
    Need,
    type=st.sampled_from(["operator", "room"]),
    candidates=st.lists(st.sampled_from(IDS + "?"), max_size=4, unique=True).map(tuple),
    units=st.integers(1, 3),
    hold=st.sampled_from(Hold),
    resource=st.sampled_from([None, None, None, "a"]),
    selector=st.sampled_from([None, None, {"floor": "1"}]),
    roles=st.frozensets(st.sampled_from(["x", "y"]), max_size=2),
    skills=st.sampled_from([(), (), (Skill("s", 3),)]),
)


@st.composite
def states(draw: st.DrawFn) -> dict[str, State]:
    found = {}
    for id in draw(st.lists(st.sampled_from(IDS), unique=True)):
        resource = Resource(**{**_fields(draw(resources)), "id": id})
        found[id] = State(resource, draw(st.integers(0, resource.capacity)), draw(st.integers(1, 9)))
    return found


def _fields(resource: Resource) -> dict[str, object]:
    return {name: getattr(resource, name) for name in Resource.__dataclass_fields__}


def request(*needs: Need, pid: int = 1, version: int = 2, dispatch: str = "d") -> Request:
    return Request(dispatch, pid, version, "default", needs)


def possible(needs: Sequence[Need], states: dict[str, State]) -> bool:
    """Whether any choice of candidates would do: all of them tried."""
    for chosen in itertools.product(*(need.candidates for need in needs)):
        left = {id: state.free for id, state in states.items()}
        for id, need in zip(chosen, needs, strict=True):
            if hindrance(states.get(id), need, NOW) is not None:
                break
            left[id] -= need.units
        else:
            if all(free >= 0 for free in left.values()):
                return True
    return False


@settings(max_examples=500, deadline=None)
@given(states(), st.lists(needs, max_size=4))
def test_all_or_nothing_and_never_over(states: dict[str, State], needs: list[Need]) -> None:
    decision = allocate(request(*needs), states, (), NOW)
    assert isinstance(decision, Grant) == possible(needs, states)
    if isinstance(decision, Denial):
        assert decision.obstacles
        assert decision.reason == min((each.reason for each in decision.obstacles), key=list(DenialReason).index)
        return
    assert [each.demand for each in decision.takes] == list(range(len(needs)))
    after = dict(states)
    for each in decision.takes:
        assert each.resource in needs[each.demand].candidates
        after[each.resource] = take(after[each.resource], each.units)
    assert all(0 <= state.used <= state.resource.capacity for state in after.values())
    assert decision.operator == next((each.resource for each in decision.takes if each.type == "operator"), None)


@settings(max_examples=300, deadline=None)
@given(states(), st.lists(needs, min_size=1, max_size=4))
def test_a_refusal_is_for_a_reason_that_holds(states: dict[str, State], needs: list[Need]) -> None:
    decision = allocate(request(*needs), states, (), NOW)
    if isinstance(decision, Grant):
        return
    alone = [each for each in decision.obstacles if not possible([needs[each.demand]], states)]
    if not alone:
        [crowded] = decision.obstacles
        assert crowded.reason in (DenialReason.NO_CAPACITY, DenialReason.OUT_OF_STOCK)
        assert not possible(needs, states)
        return
    assert len(alone) == len(decision.obstacles)
    for obstacle in alone:
        need = needs[obstacle.demand]
        for id in obstacle.resources:
            assert hindrance(states.get(id), need, NOW) is obstacle.reason
        mildest = max((hindrance(states.get(id), need, NOW) for id in need.candidates), key=_severity, default=None)
        assert obstacle.reason is (mildest or DenialReason.UNKNOWN_RESOURCE)


def _severity(reason: DenialReason | None) -> int:
    assert reason is not None
    return list(DenialReason).index(reason)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_history_never_breaks_capacity_and_gives_back_what_was_held(data: st.DataObject) -> None:
    """Grants, releases and refusals of a few processes in any order; at the end all of them end."""
    known = {id: State(Resource(id, "room", capacity=data.draw(st.integers(0, 3)))) for id in "abc"}
    held: dict[int, list[Allocation]] = {1: [], 2: [], 3: []}
    changes: dict[str, list[tuple[int, int]]] = {id: [] for id in known}
    simple = st.builds(
        Need,
        type=st.just("room"),
        candidates=st.permutations("abc").map(lambda ids: tuple(ids[:2])),
        units=st.integers(1, 2),
        hold=st.sampled_from(Hold),
    )

    def back(pid: int, returned: Sequence[Allocation]) -> None:
        for own in returned:
            held[pid].remove(own)
            known[own.resource] = give_back(known[own.resource], own.units)
            changes[own.resource].append((known[own.resource].version, -own.units))

    for step in range(data.draw(st.integers(1, 12))):
        pid = data.draw(st.sampled_from([1, 2, 3]))
        match data.draw(st.sampled_from(["allocate", "stop", "end", "refuse"])):
            case "allocate":
                asked = request(
                    *data.draw(st.lists(simple, min_size=1, max_size=3)), pid=pid, version=step, dispatch=f"d{step}"
                )
                decision = allocate(asked, known, held[pid], NOW)
                if isinstance(decision, Denial):
                    continue
                assert len(decision.takes) + len(decision.relies_on) == len(asked.needs)
                for each in decision.takes:
                    state = known[each.resource] = take(known[each.resource], each.units)
                    changes[each.resource].append((state.version, each.units))
                    held[pid].append(
                        Allocation(
                            "main",
                            each.resource,
                            state.version,
                            "room",
                            asked.dispatch,
                            each.demand,
                            pid,
                            step,
                            each.units,
                            each.hold,
                        )
                    )
            case "stop":
                dispatch = held[pid][-1].dispatch if held[pid] else "none"
                back(pid, release(Release(pid, Give.RUNNING, dispatch), held[pid]).back)
                assert not [own for own in held[pid] if own.dispatch == dispatch and own.hold is Hold.RUNNING]
            case "end":
                back(pid, release(Release(pid, Give.ALL, before=step), held[pid]).back)
                assert held[pid] == []
            case "refuse":
                dispatch = held[pid][-1].dispatch if held[pid] else "none"
                back(pid, withdraw(dispatch, held[pid]).back)
        for id, state in known.items():
            assert state.used == sum(own.units for each in held.values() for own in each if own.resource == id)
            assert peak(changes[id]) <= state.resource.capacity
    for pid in held:
        back(pid, release(Release(pid, Give.ALL), held[pid]).back)
    assert all(state.used == 0 for state in known.values())


def test_the_ledger_refuses_what_must_never_happen() -> None:
    full = State(Resource("a", "room"), 1, 5)
    with pytest.raises(CapacityError):
        take(full, 1)
    with pytest.raises(CapacityError):
        give_back(full, 2)
    with pytest.raises(CapacityError):
        take(State(Resource("a", "room"), 0, 5), 0)
    paper = State(Resource("p", "paper", ResourceKind.CONSUMABLE, capacity=9), 4, 7)
    assert give_back(paper, 4) is paper
    assert give_back(paper, 4, unused=True).used == 0


def test_an_earlier_need_makes_room_for_a_later_one() -> None:
    known = {id: State(Resource(id, "operator")) for id in "ab"}
    decision = allocate(request(Need("operator", ("a", "b")), Need("operator", ("a",))), known, (), NOW)
    assert isinstance(decision, Grant)
    assert [each.resource for each in decision.takes] == ["b", "a"]


def test_a_search_without_end_ends() -> None:
    known = {f"r{n}": State(Resource(f"r{n}", "room")) for n in range(15)}
    need = Need("room", tuple(known))
    decision = allocate(request(*[need] * 16), known, (), NOW)
    assert isinstance(decision, Denial)
    assert decision.reason is DenialReason.NO_CAPACITY


@pytest.mark.parametrize(
    ("resource", "need", "reason"),
    [
        ({}, {}, None),
        ({"type": "desk"}, {}, DenialReason.NOT_ELIGIBLE),
        ({}, {"resource": "other"}, DenialReason.NOT_ELIGIBLE),
        ({"roles": ("x",)}, {"roles": frozenset({"x", "y"})}, None),
        ({"roles": ("z",)}, {"roles": frozenset({"x", "y"})}, DenialReason.NOT_ELIGIBLE),
        ({"labels": {"floor": "1", "wing": "b"}}, {"selector": {"floor": "1"}}, None),
        ({"labels": {"floor": "1"}}, {"selector": {"floor": "2"}}, DenialReason.NOT_ELIGIBLE),
        ({}, {"selector": {"floor": "2"}}, DenialReason.NOT_ELIGIBLE),
        ({"skills": (Skill("s", 3),)}, {"skills": (Skill("s", 3),)}, None),
        ({"skills": (Skill("s", 2),)}, {"skills": (Skill("s", 3),)}, DenialReason.NOT_ELIGIBLE),
        ({"skills": (Skill("s", 3, NOW),)}, {"skills": (Skill("s"),)}, DenialReason.NOT_ELIGIBLE),
        ({"skills": (Skill("s", 3, NOW + timedelta(seconds=1)),)}, {"skills": (Skill("s"),)}, None),
        ({"skills": (Skill("s"),)}, {"skills": (Skill("s"), Skill("t"))}, DenialReason.NOT_ELIGIBLE),
        ({"status": ResourceStatus.OUT}, {}, DenialReason.OUT_OF_SERVICE),
        ({"status": ResourceStatus.RETIRED}, {}, DenialReason.OUT_OF_SERVICE),
        ({"presence": Presence.BREAK}, {}, DenialReason.OUT_OF_SERVICE),
        ({"closed": True}, {}, DenialReason.CLOSED),
        ({"deleted": True}, {}, DenialReason.UNKNOWN_RESOURCE),
        ({"capacity": 0}, {}, DenialReason.NO_CAPACITY),
        ({"capacity": 2}, {"units": 3}, DenialReason.NO_CAPACITY),
        ({"capacity": 2, "kind": ResourceKind.CONSUMABLE}, {"units": 3}, DenialReason.OUT_OF_STOCK),
    ],
)
def test_who_can_meet_a_need(resource: dict, need: dict, reason: DenialReason | None) -> None:  # type: ignore[type-arg]
    state = State(Resource(**{"id": "a", "type": "operator", **resource}))
    assert hindrance(state, Need(**{"type": "operator", "candidates": ("a",), **need}), NOW) is reason


def test_what_is_held_is_not_taken_again() -> None:
    lock = Allocation("main", "entity:p:1", 1, "entity", "d1", 0, 1, 2, 1, Hold.PROCESS)
    clerk = Allocation("main", "a", 4, "operator", "d1", 1, 1, 2, 1, Hold.PROCESS)
    known = {
        "entity:p:1": State(Resource("entity:p:1", "entity"), 1, 1),
        "a": State(Resource("a", "operator"), 1, 4),
    }
    needs = (
        Need("operator", ("a",), hold=Hold.PROCESS),
        Need("entity", ("entity:p:1",), hold=Hold.PROCESS, resource="entity:p:1"),
    )
    decision = allocate(request(*needs, dispatch="d2"), known, (lock, clerk), NOW)
    assert decision == Grant((), "a", (clerk, lock))
    other = allocate(request(*needs, dispatch="d2", pid=2), known, (), NOW)
    assert isinstance(other, Denial)
