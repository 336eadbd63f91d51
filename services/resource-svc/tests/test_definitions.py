"""What may become of a definition, without a database."""

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_contracts.vocabulary import Presence, ResourceKind
from resource_svc.domain.definition import Refusal, change_stock, define, delete, is_back, set_presence
from resource_svc.domain.ledger import take
from resource_svc.domain.resource import Resource, State

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)

definitions = st.builds(
    lambda type, kind, capacity, stock: Resource(
        "r", type, kind, capacity=capacity, counted=stock if kind is ResourceKind.CONSUMABLE else None
    ),
    st.sampled_from(["room", "paper"]),
    st.sampled_from(ResourceKind),
    st.integers(0, 4),
    st.one_of(st.none(), st.integers(0, 9)),
)


@settings(deadline=None)
@given(st.lists(st.one_of(definitions, st.integers(-6, 6), st.just("take"), st.just("delete")), max_size=12))
def test_any_history_keeps_the_bounds_and_counts_its_versions(steps: list[Resource | int | str]) -> None:
    state: State | None = None
    held = 0
    for step in steps:
        before = state
        if isinstance(step, Resource):
            new = define(state, step)
            if not isinstance(new, Refusal):
                assert define(new, step) is new, "the same again changes nothing"
        elif state is None or state.resource.deleted:
            continue
        elif step == "take":
            new = take(state, 1) if state.free else state
            held += new is not state and not state.resource.is_consumable
        elif step == "delete":
            new = delete(state, held=held > 0)
        else:
            assert isinstance(step, int)
            new = change_stock(state, step)
            if not isinstance(new, Refusal):
                assert new.free == state.free + step
        if isinstance(new, Refusal):
            continue
        state = new
        assert 0 <= state.used <= state.resource.capacity
        assert state.version == (0 if before is None else before.version) + (state is not before)


def test_a_count_sets_the_stock_and_the_same_count_does_not() -> None:
    made = define(None, Resource("p", "paper", ResourceKind.CONSUMABLE, counted=10))
    assert isinstance(made, State)
    assert (made.free, made.version) == (10, 1)
    used = take(made, 4)
    assert define(used, Resource("p", "paper", ResourceKind.CONSUMABLE, counted=10)) is used
    assert define(used, Resource("p", "paper", ResourceKind.CONSUMABLE, counted=6)) is used
    assert define(used, Resource("p", "paper", ResourceKind.CONSUMABLE)) is used
    counted = define(used, Resource("p", "paper", ResourceKind.CONSUMABLE, counted=3))
    assert isinstance(counted, State)
    assert (counted.free, counted.used, counted.version) == (3, 4, 3)


def test_what_was_used_of_a_deleted_consumable_stays() -> None:
    paper = Resource("p", "paper", ResourceKind.CONSUMABLE, counted=10)
    made = define(None, paper)
    assert isinstance(made, State)
    gone = delete(take(made, 4), held=False)
    assert isinstance(gone, State)
    assert isinstance(define(gone, Resource("p", "room")), Refusal)
    back = define(gone, paper)
    assert isinstance(back, State)
    assert (back.used, back.free, back.version, back.resource.deleted) == (4, 10, 4, False)


def test_operators_and_resources_share_their_names() -> None:
    room = State(Resource("a", "room"), 0, 1)
    assert isinstance(define(room, Resource("a", "operator")), Refusal)
    assert isinstance(define(State(Resource("a", "operator"), 0, 1), Resource("a", "room")), Refusal)
    assert isinstance(define(None, Resource("entity:permit:7", "room")), Refusal)


def test_an_absence_ends_at_its_end() -> None:
    anna = State(Resource("anna", "operator"), 1, 3)
    away = set_presence(anna, Presence.AWAY, NOW)
    assert (away.version, is_back(away, NOW), is_back(away, NOW - timedelta(seconds=1))) == (4, True, False)
    assert set_presence(away, Presence.AWAY, NOW) is away
    back = set_presence(away, Presence.AVAILABLE, NOW)
    assert (back.resource.presence_until, is_back(back, NOW)) == (None, False)
