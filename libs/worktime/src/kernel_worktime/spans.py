"""Sets of instants as sorted, disjoint, half-open spans with a capacity each, and what can be made of several.

`combine` sweeps over the borders of k lists at once, O(n log n) in all borders; the rest are its special cases.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

WHOLE = 1 << 53
"""The capacity of a window that names none: all that the resource has. Greater than any real one, so `min` settles it."""


class Span(NamedTuple):
    """Open from `start` until just before `end`, with room for `capacity`."""

    start: int
    end: int
    capacity: int = WHOLE


Spans = Sequence[Span]
Rule = Callable[[Sequence[int], int], int]
"""Of the capacity of each list at an instant (0: closed) and how many are open: the capacity of the result (0: closed)."""


def combine(lists: Sequence[Iterable[Span]], rule: Rule) -> list[Span]:
    """What `rule` makes of them at every instant where at least one is open; neighbours of one capacity become one span."""
    borders = [
        border
        for place, spans in enumerate(lists)
        for start, end, capacity in spans
        for border in ((start, 1, place, capacity), (end, 0, place, 0))
    ]
    borders.sort()
    active = [0] * len(lists)
    opened = 0
    result: list[Span] = []
    begun, current = 0, 0
    at, last = 0, len(borders)
    while at < last:
        instant = borders[at][0]
        while at < last and borders[at][0] == instant:
            _, _, place, capacity = borders[at]
            opened += (capacity > 0) - (active[place] > 0)
            active[place] = capacity
            at += 1
        new = rule(active, opened) if opened else 0
        if new != current:
            if current:
                result.append(Span(begun, instant, current))
            begun, current = instant, new
    return result


def union(*lists: Iterable[Span]) -> list[Span]:
    """Open where any is; the greatest capacity counts."""
    return combine(lists, lambda active, _: max(active))


def intersection(*lists: Iterable[Span]) -> list[Span]:
    """Open where all are; the smallest capacity counts."""
    k = len(lists)
    if k == 2:
        return _both(list(lists[0]), list(lists[1]))
    return combine(lists, lambda active, opened: min(active) if opened == k else 0)


def _both(one: Spans, other: Spans) -> list[Span]:
    """`intersection` of two by walking along both: most calendars have one layer, and it is a third of the time."""
    result: list[Span] = []
    i, j, n, m = 0, 0, len(one), len(other)
    while i < n and j < m:
        a, b = one[i], other[j]
        start, end = max(a.start, b.start), min(a.end, b.end)
        if start < end:
            _append(result, start, end, min(a.capacity, b.capacity))
        if a.end <= b.end:
            i += 1
        else:
            j += 1
    return result


def _append(result: list[Span], start: int, end: int, capacity: int) -> None:
    """Behind the last one, or as its continuation."""
    if result and result[-1].end == start and result[-1].capacity == capacity:
        start = result.pop().start
    result.append(Span(start, end, capacity))


def subtract(spans: Iterable[Span], taken: Iterable[Span]) -> list[Span]:
    """Where the first is open and the second is not."""
    result: list[Span] = []
    gone = list(taken)
    at = 0
    for start, end, capacity in spans:
        while at < len(gone) and gone[at].end <= start:
            at += 1
        following = at
        while start < end:
            if following == len(gone) or gone[following].start >= end:
                _append(result, start, end, capacity)
                break
            if gone[following].start > start:
                _append(result, start, gone[following].start, capacity)
            start = max(start, gone[following].end)
            following += 1
    return result


def count(lists: Sequence[Iterable[Span]], at_least: int) -> list[Span]:
    """Where at least so many are open; the capacity is how many."""
    return combine(lists, lambda _, opened: opened if opened >= at_least else 0)


def merged(spans: Iterable[Span]) -> list[Span]:
    """Sorted, and neighbours of one capacity joined. Spans must not overlap."""
    result: list[Span] = []
    for span in sorted(spans):
        if result and result[-1].end == span.start and result[-1].capacity == span.capacity:
            result[-1] = Span(result[-1].start, span.end, span.capacity)
        else:
            result.append(span)
    return result


def clip(spans: Iterable[Span], start: int, end: int) -> list[Span]:
    return [
        Span(max(each.start, start), min(each.end, end), each.capacity)
        for each in spans
        if each.start < end and each.end > start
    ]


def overlaid(spans: Iterable[Span]) -> list[Span]:
    """Sorted and disjoint; where some overlap, the greatest capacity counts."""
    ordered = merged(spans)
    if all(one.end <= following.start for one, following in pairwise(ordered)):
        return ordered
    rows: list[list[Span]] = []
    for span in ordered:
        row = next((row for row in rows if row[-1].end <= span.start), None)
        if row is None:
            rows.append([span])
        else:
            row.append(span)
    return union(*rows)
