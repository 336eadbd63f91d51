"""The arithmetic of capacity: each change of use is one version of its resource, and none leaves 0 <= used <= capacity."""

from collections.abc import Iterable

from resource_svc.domain.resource import Resource, State


class CapacityError(ValueError):
    """A change of use that must never happen: a defect of ours, not a refusal."""


def take(state: State, units: int) -> State:
    used = state.used + units
    if units < 1 or used > state.resource.capacity:
        raise CapacityError(
            f"{units} of {state.resource.id} can't be taken: {state.used} of {state.resource.capacity} are"
        )
    return State(state.resource, used, state.version + 1)


def give_back(state: State, units: int, *, unused: bool = False) -> State:
    """What was used up stays so: a consumable gives back only what was never used, and else its version stands."""
    if state.resource.is_consumable and not unused:
        return state
    used = state.used - units
    if units < 1 or used < 0:
        raise CapacityError(f"{units} of {state.resource.id} can't be given back: only {state.used} are in use")
    return State(state.resource, used, state.version + 1)


def redefine(state: State, resource: Resource) -> State:
    if not 0 <= state.used <= resource.capacity:
        raise CapacityError(f"{resource.id} can't have capacity {resource.capacity}: {state.used} are in use")
    return State(resource, state.used, state.version + 1)


def peak(changes: Iterable[tuple[int, int]]) -> int:
    """The most in use at any version, of (version, units taken or given back as a negative number) each."""
    used = most = 0
    for _, units in sorted(changes):
        used += units
        most = max(most, used)
    return most
