"""All that a process needs, or nothing: which resources a request gets, or why it gets none; and what a process gives back.

Each need takes its first candidate with room. Where an earlier need took the only candidate of a later one, the earlier takes
its next: candidates are tried in the order given, need by need (depth first), so the result is total and depends on nothing
but its arguments. The search ends after SEARCH steps; until then a denial means that no choice of candidates would do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from kernel_contracts.vocabulary import DenialReason, Give, Hold

from resource_svc.domain.resource import OPERATOR, Need, State, fits, hindrance

SEARCH = 2_000
_SEVERITY = {reason: place for place, reason in enumerate(DenialReason)}


class Request(NamedTuple):
    """What one dispatch of one process needs."""

    dispatch: str
    pid: int
    process_version: int
    queue: str
    needs: tuple[Need, ...]


class Allocation(NamedTuple):
    """Units of a resource that a process holds. (resource, version) names it: the version that taking them led to."""

    tenant: str
    resource: str
    version: int
    type: str
    dispatch: str
    demand: int
    pid: int
    process_version: int
    units: int
    hold: Hold
    relied_on_by: str | None = None
    """A later dispatch that was granted because the process had these already."""


class Take(NamedTuple):
    demand: int
    resource: str
    type: str
    units: int
    hold: Hold


class Grant(NamedTuple):
    """`relies_on`: what the process had already, and so did not take again."""

    takes: tuple[Take, ...]
    operator: str | None = None
    relies_on: tuple[Allocation, ...] = ()


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A need that can't be met: its place in the request, the mildest reason, and the candidates with that reason."""

    demand: int
    type: str
    reason: DenialReason
    resources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Denial:
    """`reason` is the most severe of the obstacles'."""

    reason: DenialReason
    obstacles: tuple[Obstacle, ...]


def allocate(
    request: Request, states: Mapping[str, State], held: Sequence[Allocation], now: datetime
) -> Grant | Denial:
    """`states` has what exists of the candidates, `held` what the process has now."""
    operator: str | None = None
    relies_on: list[Allocation] = []
    needs: list[tuple[int, Need]] = []
    for place, need in enumerate(request.needs):
        own = _held_already(need, states, held, relies_on, now) if need.hold is Hold.PROCESS and held else None
        if own is None:
            needs.append((place, need))
        else:
            relies_on.append(own)
            if need.type == OPERATOR and operator is None:
                operator = own.resource
    chosen = _first_choice(needs, states, now)
    if chosen is None:
        options = [[id for id in need.candidates if hindrance(states.get(id), need, now) is None] for _, need in needs]
        obstacles = [
            _obstacle(place, need, states, now) for (place, need), able in zip(needs, options, strict=True) if not able
        ]
        if obstacles:
            return _denial(obstacles)
        chosen, stuck = _search([need for _, need in needs], options, states)
        if chosen is None:
            place, need = needs[stuck]
            return _denial([_crowded(place, need, options[stuck], states)])
    takes = tuple(
        [Take(place, id, need.type, need.units, need.hold) for (place, need), id in zip(needs, chosen, strict=True)]
    )
    if operator is None:
        operator = next((take.resource for take in takes if take.type == OPERATOR), None)
    return Grant(takes, operator, tuple(relies_on))


def _held_already(
    need: Need, states: Mapping[str, State], held: Sequence[Allocation], taken: Sequence[Allocation], now: datetime
) -> Allocation | None:
    for own in held:
        if own.hold is Hold.PROCESS and own.type == need.type and own.units >= need.units and own not in taken:
            state = states.get(own.resource)
            if state is not None and fits(state.resource, need, now):
                return own
    return None


def _first_choice(needs: Sequence[tuple[int, Need]], states: Mapping[str, State], now: datetime) -> list[str] | None:
    """Each need's first candidate with room, where that does for all of them: almost always."""
    chosen: list[str] = []
    taken: dict[str, int] = {}
    for _, need in needs:
        for id in need.candidates:
            if hindrance(states.get(id), need, now) is None and states[id].free - taken.get(id, 0) >= need.units:
                taken[id] = taken.get(id, 0) + need.units
                chosen.append(id)
                break
        else:
            return None
    return chosen


def _search(
    needs: Sequence[Need], options: Sequence[Sequence[str]], states: Mapping[str, State]
) -> tuple[list[str] | None, int]:
    """The first choice in order of preference, or None and the need that could not be placed when most others were."""
    taken: dict[str, int] = {}
    chosen: list[str] = []
    at = [0] * len(needs)
    deepest = 0
    for _ in range(SEARCH):
        place = len(chosen)
        if place == len(needs):
            return chosen, 0
        deepest = max(deepest, place)
        units = needs[place].units
        while at[place] < len(options[place]):
            id = options[place][at[place]]
            if states[id].free - taken.get(id, 0) >= units:
                break
            at[place] += 1
        else:
            at[place] = 0
            if not chosen:
                break
            back = chosen.pop()
            taken[back] -= needs[len(chosen)].units
            at[len(chosen)] += 1
            continue
        chosen.append(id)
        taken[id] = taken.get(id, 0) + units
    return None, deepest


def _obstacle(place: int, need: Need, states: Mapping[str, State], now: datetime) -> Obstacle:
    reasons = {id: hindrance(states.get(id), need, now) for id in need.candidates}
    found = [reason for reason in reasons.values() if reason is not None]
    mildest = max(found, key=_SEVERITY.__getitem__, default=DenialReason.UNKNOWN_RESOURCE)
    return Obstacle(place, need.type, mildest, tuple(id for id, reason in reasons.items() if reason is mildest))


def _crowded(place: int, need: Need, options: Sequence[str], states: Mapping[str, State]) -> Obstacle:
    """Each candidate has room for this need alone, but the request's own needs crowd each other out."""
    stock = all(states[id].resource.is_consumable for id in options)
    return Obstacle(place, need.type, DenialReason.OUT_OF_STOCK if stock else DenialReason.NO_CAPACITY, tuple(options))


def _denial(obstacles: Sequence[Obstacle]) -> Denial:
    return Denial(min((each.reason for each in obstacles), key=_SEVERITY.__getitem__), tuple(obstacles))


class Release(NamedTuple):
    """What a process gives back: of one dispatch or of all, what it holds while it runs or everything.

    `before`: only what it was granted for an earlier version of it than this one.

    A message that comes late or again names a version that newer grants have left behind, so it can't take these away.
    """

    pid: int
    give: Give
    dispatch: str | None = None
    before: int | None = None


class Returned(NamedTuple):
    """Of what a process holds: `back` is free again; `kept` stays, in the name of the dispatch that relies on it.

    `unused`: it never ran with these, so consumables come back too.
    """

    back: tuple[Allocation, ...]
    kept: tuple[tuple[Allocation, str | None], ...] = ()
    """With the dispatch that has it from now on (None: the same as before, and nobody relies on it any more)."""
    unused: bool = False


def release(ask: Release, held: Sequence[Allocation]) -> Returned:
    """A process stops running, or ends."""
    return Returned(
        tuple(
            [
                own
                for own in held
                if (ask.before is None or own.process_version < ask.before)
                and (ask.dispatch is None or ask.dispatch == own.dispatch)
                and (ask.give is Give.ALL or own.hold is Hold.RUNNING)
            ]
        )
    )


def withdraw(dispatch: str, held: Sequence[Allocation]) -> Returned:
    """A grant that its process refused: everything that was granted comes back, whatever its hold.

    But what a later dispatch was granted on the strength of stays, as that dispatch's; and where the refused one relied
    on something, it does so no longer.
    """
    back: list[Allocation] = []
    kept: list[tuple[Allocation, str | None]] = []
    for own in held:
        if own.dispatch == dispatch and own.relied_on_by in (None, dispatch):
            back.append(own)
        elif own.dispatch == dispatch:
            kept.append((own, own.relied_on_by))
        elif own.relied_on_by == dispatch:
            kept.append((own, None))
    return Returned(tuple(back), tuple(kept), unused=True)
