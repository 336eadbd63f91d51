"""What may become of a definition: made, changed, the same, or refused."""

from dataclasses import dataclass, replace
from datetime import datetime

from kernel_contracts.vocabulary import Presence, ResourceKind, ResourceStatus

from resource_svc.domain.ledger import redefine
from resource_svc.domain.resource import ENTITY_PREFIX, OPERATOR, Resource, State


@dataclass(frozen=True, slots=True)
class Refusal:
    """`field` is the part of the definition that is at fault, where one is; `in_use` where holders stand in the way."""

    detail: str
    field: str | None = None
    in_use: bool = False


def define(state: State | None, wanted: Resource) -> State | Refusal:
    """The state with the definition `wanted`; the very same state where that changes nothing.

    Presence and hours are not part of a definition. A consumable's `counted` is a count of its stock: it sets the stock when it
    differs from the count before, and changes nothing when the same is said again.
    """
    if wanted.id.startswith(ENTITY_PREFIX):
        return Refusal(f"Ids that begin with {ENTITY_PREFIX!r} stand for the locks of entities; choose another one.")
    if wanted.counted is not None and not wanted.is_consumable:
        return Refusal("Only a consumable has stock; for the other kinds, capacity counts.", "stock")
    if wanted.reorder_at is not None and not wanted.is_consumable:
        return Refusal("Only a consumable has a level at which to reorder.", "reorder_at")
    if state is None or state.resource.deleted:
        if state is not None and state.used and not wanted.is_consumable:
            return Refusal(f"{wanted.id} was a consumable, and what was used of it stays on record; choose another id.")
        return _made(state, wanted)
    current = state.resource
    if (current.type == OPERATOR) != (wanted.type == OPERATOR):
        what = "an operator" if current.type == OPERATOR else f"a resource of type {current.type}"
        return Refusal(f"{wanted.id} is {what} already; the two share their names.")
    if state.used and (current.type, current.kind) != (wanted.type, wanted.kind):
        return Refusal("Type and kind can't change while units are in use.", "type", in_use=True)
    new = replace(wanted, presence=current.presence, presence_until=current.presence_until, closed=current.closed)
    if new.is_consumable:
        new = _counted(state, new)
    if new.capacity < state.used:
        return Refusal(
            f"{state.used} of {current.capacity} are in use; capacity can't go below that.", "capacity", True
        )
    return state if new == current else redefine(state, new)


def _made(state: State | None, wanted: Resource) -> State:
    """New, or there again after it was deleted: then its versions go on."""
    before = state or State(wanted)
    if wanted.is_consumable:
        stock = wanted.counted or 0
        wanted = replace(wanted, counted=stock, capacity=before.used + stock)
    return redefine(before, wanted)


def _counted(state: State, wanted: Resource) -> Resource:
    if not state.resource.is_consumable:
        return replace(wanted, counted=wanted.counted or 0, capacity=wanted.counted or 0)
    same = (None, state.resource.counted, state.free)
    if wanted.counted in same:
        return replace(wanted, counted=state.resource.counted, capacity=state.resource.capacity)
    return replace(wanted, capacity=state.used + (wanted.counted or 0))


def change_stock(state: State, delta: int) -> State | Refusal:
    """A delivery, or a loss."""
    if not state.resource.is_consumable:
        return Refusal(f"{state.resource.id} is {state.resource.kind.value}; only a consumable has stock.")
    if state.free + delta < 0:
        return Refusal(f"Only {state.free} are in stock; {-delta} can't be taken out.", "delta")
    if delta == 0:
        return state
    return redefine(state, replace(state.resource, capacity=state.resource.capacity + delta))


def set_presence(state: State, presence: Presence, until: datetime | None) -> State:
    """`until` ends an absence by itself."""
    until = None if presence is Presence.AVAILABLE else until
    if (state.resource.presence, state.resource.presence_until) == (presence, until):
        return state
    return redefine(state, replace(state.resource, presence=presence, presence_until=until))


def is_back(state: State, now: datetime) -> bool:
    """Whether an absence has ended by itself."""
    until = state.resource.presence_until
    return not state.resource.deleted and until is not None and until <= now


def delete(state: State, held: bool) -> State | Refusal:
    """`held`: whether any process holds units of it, used up ones apart."""
    if held:
        return Refusal(f"Units of {state.resource.id} are in use.", in_use=True)
    return redefine(
        state,
        replace(
            state.resource,
            status=ResourceStatus.RETIRED,
            presence=Presence.AVAILABLE,
            presence_until=None,
            closed=False,
            deleted=True,
        ),
    )


def reorder(state: State) -> bool:
    """Whether a consumable's stock has come down to its reorder level."""
    return (
        state.resource.kind is ResourceKind.CONSUMABLE
        and state.resource.reorder_at is not None
        and state.free <= state.resource.reorder_at
    )
