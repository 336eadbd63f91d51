"""Open time as sorted spans, made year by year when it is asked for, and arithmetic in it.

Each year keeps the sum of what was open before each of its spans: to add years of working time is one step for each year
and one bisection, to measure between two instants the same.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

from kernel_worktime.spans import WHOLE, Span, count, intersection
from kernel_worktime.units import year_of, year_start

FIRST_YEAR, LAST_YEAR = 1900, 2499
"""Outside of these nothing is open."""

PATIENCE = 30
"""After so many years with nothing open, nothing is expected any more: that is the longest closure that is looked beyond."""


class _Year:
    """The spans of one year, by column. `before[i]`: open time in this year before span i; the last is the whole year's."""

    __slots__ = ("before", "ends", "spans", "starts")

    def __init__(self, spans: Sequence[Span]) -> None:
        self.spans = spans
        self.starts = [span.start for span in spans]
        self.ends = [span.end for span in spans]
        self.before = list(accumulate((span.end - span.start for span in spans), initial=0))

    def open_before(self, at: int) -> int:
        """Open time from the start of the year to `at`."""
        place = bisect_right(self.starts, at)
        if place == 0:
            return 0
        return self.before[place - 1] + min(at, self.ends[place - 1]) - self.starts[place - 1]


class Timeline:
    """When something is open, and with which capacity. Unchanging: what is made is kept.

    `build` gives the spans of one year of UTC, sorted, disjoint and within it.
    """

    def __init__(self, build: Callable[[int], Sequence[Span]]) -> None:
        self._build = build
        self._years: dict[int, _Year] = {}

    def year(self, year: int) -> Sequence[Span]:
        """The spans of one year of UTC; one that crosses its end is cut there."""
        return self._year(year).spans

    def _year(self, year: int) -> _Year:
        made = self._years.get(year)
        if made is None:
            made = self._years[year] = _Year(self._build(year) if FIRST_YEAR <= year <= LAST_YEAR else ())
        return made

    # Questions

    def capacity_at(self, at: int) -> int:
        """0 where it is closed, WHOLE where its window names none."""
        year = self._year(year_of(at))
        place = bisect_right(year.starts, at) - 1
        return year.spans[place].capacity if place >= 0 and at < year.ends[place] else 0

    def is_open(self, at: int) -> bool:
        return self.capacity_at(at) > 0

    def next_open(self, at: int) -> int | None:
        """The first instant from `at` on at which it is open; None where it never is again."""
        return next((max(at, span.start) for span in self._from(at)), None)

    def previous_open(self, at: int) -> int | None:
        """The last instant up to `at` just before which it was open: the mirror image of `next_open`."""
        return next((min(at, span.end) for span in self._back(at)), None)

    def windows(self, start: int, end: int) -> Iterator[Span]:
        """What is open from `start` until just before `end`, in order; neighbours of one capacity are one window."""
        waiting: Span | None = None
        for year in range(max(year_of(start), FIRST_YEAR), LAST_YEAR + 1):
            if year_start(year) >= end:
                break
            made = self._year(year)
            for span in made.spans[bisect_right(made.ends, start) :]:
                if span.start >= end:
                    break
                span = Span(max(span.start, start), min(span.end, end), span.capacity)
                if waiting is not None and waiting.end == span.start and waiting.capacity == span.capacity:
                    waiting = Span(waiting.start, span.end, span.capacity)
                    continue
                if waiting is not None:
                    yield waiting
                waiting = span
        if waiting is not None:
            yield waiting

    # Arithmetic

    def between(self, start: int, end: int) -> int:
        """Open time from `start` until `end`; negative where `end` is the earlier one."""
        if end < start:
            return -self.between(end, start)
        first, last = year_of(start), year_of(end)
        total = self._year(last).open_before(end) - self._year(first).open_before(start)
        return total + sum(self._year(year).before[-1] for year in range(first, last))

    def add(self, start: int, duration: int) -> int | None:
        """The first instant T with between(start, T) == duration; None where so much is never open again.

        So add(t, 0) is t; and what is due at the end of a window is due then, not when the next one opens.
        """
        if duration <= 0:
            return start if duration == 0 else self.subtract(start, -duration)
        year, idle = year_of(start), 0
        made = self._year(year)
        duration += made.open_before(start)
        while duration > made.before[-1]:
            idle = 0 if made.before[-1] else idle + 1
            if year >= LAST_YEAR or idle > PATIENCE:
                return None
            duration -= made.before[-1]
            year += 1
            made = self._year(year)
        place = bisect_right(made.before, duration - 1) - 1
        return made.starts[place] + duration - made.before[place]

    def subtract(self, end: int, duration: int) -> int | None:
        """The last instant T with between(T, end) == duration; None where so much was never open before."""
        if duration <= 0:
            return end if duration == 0 else self.add(end, -duration)
        year, idle = year_of(end), 0
        made = self._year(year)
        left = made.open_before(end) - duration
        while left < 0:
            idle = 0 if made.before[-1] else idle + 1
            if year <= FIRST_YEAR or idle > PATIENCE:
                return None
            year -= 1
            made = self._year(year)
            left += made.before[-1]
        place = bisect_right(made.before, left) - 1
        return made.starts[place] + left - made.before[place]

    def _from(self, at: int) -> Iterator[Span]:
        year, idle = max(year_of(at), FIRST_YEAR), 0
        made = self._year(year)
        yield from made.spans[bisect_right(made.ends, at) :]
        while year < LAST_YEAR and idle <= PATIENCE:
            year += 1
            spans = self._year(year).spans
            idle = 0 if spans else idle + 1
            yield from spans

    def _back(self, at: int) -> Iterator[Span]:
        year, idle = min(year_of(at), LAST_YEAR), 0
        yield from reversed([span for span in self._year(year).spans if span.start < at])
        while year > FIRST_YEAR and idle <= PATIENCE:
            year -= 1
            spans = self._year(year).spans
            idle = 0 if spans else idle + 1
            yield from reversed(spans)


def always(capacity: int = WHOLE) -> Timeline:
    """Open day and night."""
    return Timeline(lambda year: [Span(year_start(year), year_start(year + 1), capacity)])


def together(*timelines: Timeline) -> Timeline:
    """Open where all are, with the smallest capacity: what a meeting of all of them goes by."""
    return Timeline(lambda year: intersection(*(each.year(year) for each in timelines)))


def at_least(n: int, timelines: Sequence[Timeline]) -> Timeline:
    """Open where n or more of them are; the capacity is how many."""
    return Timeline(lambda year: count([each.year(year) for each in timelines], n))
