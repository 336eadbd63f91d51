"""Free units over time: what the calendar leaves of the capacity, less what is held.

What is held now has no end that is known, so it counts as held from now on; what was held is in the ledger.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from kernel_contracts.vocabulary import Presence, ResourceStatus
from kernel_worktime import Span, Timeline, combine

from resource_svc.domain.resource import Resource, State

FOREVER = 1 << 62
"""Later than any instant."""


class Free(NamedTuple):
    """From and to (microseconds since 1970), half-open, and the units that are free; 0 where it is open but all is held."""

    start: int
    end: int
    units: int


class Change(NamedTuple):
    """A resource's definition from an instant on; None after it was deleted."""

    at: int
    resource: Resource | None


class Held(NamedTuple):
    start: int
    end: int
    units: int


def serving(resource: Resource, at: int, until: int, back: int | None) -> list[Span]:
    """Its capacity where it is in service and there, from `at` until `until`; `back`: when an absence ends by itself."""
    if resource.status is not ResourceStatus.IN_SERVICE or resource.capacity < 1:
        return []
    if resource.presence is not Presence.AVAILABLE:
        at = until if back is None else max(at, back)
    return [Span(at, until, resource.capacity)] if at < until else []


def past(changes: Sequence[Change], until: int) -> list[Span]:
    """Capacity by time out of the history, oldest first, until `until`. An absence that ends by itself is a change too."""
    spans: list[Span] = []
    for place, change in enumerate(changes):
        end = min(changes[place + 1].at, until) if place + 1 < len(changes) else until
        if change.resource is not None:
            spans += serving(change.resource, change.at, end, None)
    return spans


def use(held: Iterable[Held]) -> list[Span]:
    """How many units are held, by time."""
    steps: dict[int, int] = {}
    for start, end, units in held:
        steps[start] = steps.get(start, 0) + units
        steps[end] = steps.get(end, 0) - units
    spans: list[Span] = []
    used, since = 0, 0
    for at, change in sorted(steps.items()):
        if used > 0 and at > since:
            spans.append(Span(since, at, used))
        used, since = used + change, at
    return spans


def available(
    windows: Iterable[Span], capacity: Sequence[Span], used: Sequence[Span], start: int, end: int
) -> list[Free]:
    """Free units in each window of a calendar from `start` until `end`; neighbours with the same number are one."""
    if (
        len(capacity) == 1
        and len(used) < 2
        and _covers(capacity, start, end)
        and (not used or _covers(used, start, end))
    ):
        most, less = capacity[0].capacity, used[0].capacity if used else 0
        return _joined((first, last, max(min(most, room) - less, 0)) for first, last, room in windows)
    spans = combine((windows, capacity, used), _left)
    return _joined(
        (max(first, start), min(last, end), left - 1) for first, last, left in spans if last > start and first < end
    )


def _left(active: Sequence[int], _: int) -> int:
    """One more than what is free, for 0 means closed."""
    room, capacity, used = active
    return max(min(room, capacity) - used, 0) + 1 if room and capacity else 0


def _covers(spans: Sequence[Span], start: int, end: int) -> bool:
    return spans[0].start <= start and spans[0].end >= end


def _joined(spans: Iterable[tuple[int, int, int]]) -> list[Free]:
    result: list[Free] = []
    for start, end, units in spans:
        if result and result[-1].end == start and result[-1].units == units:
            start = result.pop().start
        result.append(Free(start, end, units))
    return result


def next_change(timeline: Timeline, state: State, at: int, back: int | None, within: int) -> int | None:
    """When the number of units that are free will be another than at `at`, as far as it is known; None where not `within`."""
    horizon = at + within
    pieces = available(
        timeline.windows(at, horizon),
        serving(state.resource, at, horizon, back),
        use([Held(at, horizon, state.used)]),
        at,
        horizon,
    )
    current, until = 0, at
    for start, end, units in pieces:
        if start > until and current:
            return until
        if units != current and start > at:
            return start
        current, until = units, end
    return until if current and until < horizon else None
