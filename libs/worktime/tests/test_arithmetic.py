"""Laws of arithmetic in open time, for any calendar; the first windows that fit; many calendars at once."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_worktime import (
    DAY,
    HOUR,
    MINUTE,
    Span,
    Timeline,
    always,
    at_least,
    combine,
    compile_calendar,
    first_fit,
    intersection,
    parse,
    subtract,
    together,
    union,
)

from .walk import instant

ZONES = ("UTC", "Europe/Amsterdam", "Australia/Lord_Howe", "America/St_Johns", "Pacific/Apia", "Africa/Casablanca")
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


@st.composite
def weeks(draw: st.DrawFn) -> dict[str, Any]:
    week: dict[str, Any] = {}
    for day in DAYS:
        borders = sorted(draw(st.sets(st.integers(0, 24 * 60), max_size=6)))
        week[day] = [
            [clock(first), clock(last), draw(st.sampled_from([1, 2, 5]))]
            for first, last in zip(borders[::2], borders[1::2], strict=False)
        ]
    return week


@st.composite
def calendars(draw: st.DrawFn) -> Timeline:
    document: dict[str, Any] = {"time_zone": draw(st.sampled_from(ZONES)), "weekly": draw(weeks())}
    if draw(st.booleans()):
        document["leave"] = [{"from": "2011-12-20", "to": "2012-01-05"}]
    if draw(st.booleans()):
        document["overtime"] = [{"from": "2026-03-29T00:10:00Z", "to": "2026-03-29T05:00:00Z", "capacity": 3}]
    return compile_calendar(parse(document))


instants = st.integers(instant("2011-12-15T00:00"), instant("2012-01-15T00:00")) | st.integers(
    instant("2025-12-20T00:00"), instant("2026-11-15T00:00")
)
durations = st.integers(0, 200 * HOUR)


@settings(max_examples=60, deadline=None)
@given(calendars(), instants, durations, durations)
def test_laws(timeline: Timeline, at: int, first: int, second: int) -> None:
    there = timeline.add(at, first)
    if there is None:
        assert timeline.next_open(at) is None or first > 0
        return
    assert timeline.between(at, there) == first
    assert timeline.between(there, at) == -first
    further = timeline.add(there, second)
    assert further == timeline.add(at, first + second)
    assert further is None or further >= there
    back = timeline.subtract(there, first)
    assert back is not None
    assert back >= at
    assert timeline.between(at, back) == 0
    if timeline.is_open(at) or first == 0:
        assert back == at
    if first:
        assert timeline.previous_open(there) == there
        assert timeline.is_open(back)


@settings(max_examples=25, deadline=None)
@given(calendars(), instants, durations)
def test_windows_are_sorted_disjoint_and_say_the_same_as_the_questions(
    timeline: Timeline, at: int, length: int
) -> None:
    windows = list(timeline.windows(at, at + length))
    for one, following in pairwise(windows):
        assert one.end <= following.start
        assert one.end < following.start or one.capacity != following.capacity
    assert all(at <= each.start < each.end <= at + length for each in windows)
    assert sum(each.end - each.start for each in windows) == timeline.between(at, at + length)
    for start, end, capacity in windows:
        assert timeline.capacity_at(start) == timeline.capacity_at(end - 1) == capacity
        assert timeline.next_open(start) == start
        assert timeline.previous_open(end) == end
    upcoming = timeline.next_open(at)
    if windows:
        assert upcoming == windows[0].start
    else:
        assert upcoming is None or upcoming >= at + length


@settings(max_examples=25, deadline=None)
@given(st.lists(calendars(), min_size=1, max_size=4), instants)
def test_many_calendars_at_once(timelines: list[Timeline], at: int) -> None:
    opened = [each.capacity_at(at) for each in timelines]
    assert together(*timelines).capacity_at(at) == min(opened)
    n = sum(capacity > 0 for capacity in opened)
    for least in range(1, len(timelines) + 1):
        assert at_least(least, timelines).capacity_at(at) == (n if n >= least else 0)


spans = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 5), st.integers(1, 3)), max_size=6).map(
    lambda each: union(*([Span(start, start + length, capacity)] for start, length, capacity in each))
)


@given(spans, spans)
def test_sets_of_spans_agree_with_each_point(one: list[Span], other: list[Span]) -> None:
    def at(point: int, each: list[Span]) -> int:
        return next((span.capacity for span in each if span.start <= point < span.end), 0)

    for point in range(46):
        a, b = at(point, one), at(point, other)
        assert at(point, union(one, other)) == max(a, b)
        assert at(point, intersection(one, other)) == min(a, b)
        assert at(point, subtract(one, other)) == (0 if b else a)
        assert at(point, combine((one, other), lambda active, _: max(active[0] - active[1], 0))) == max(a - b, 0)


OFFICE = compile_calendar(
    parse({"time_zone": "Europe/Amsterdam", "weekly": {day: [["09:00", "17:00"]] for day in DAYS[:5]}})
)


def at(text: str) -> int:
    return instant(text, "Europe/Amsterdam")


def test_an_office() -> None:
    assert OFFICE.add(at("2026-05-01T16:00"), 2 * HOUR) == at("2026-05-04T10:00")
    assert OFFICE.add(at("2026-05-01T16:00"), HOUR) == at("2026-05-01T17:00")
    assert OFFICE.subtract(at("2026-05-04T10:00"), 2 * HOUR) == at("2026-05-01T16:00")
    assert OFFICE.add(at("2026-05-04T10:00"), -2 * HOUR) == at("2026-05-01T16:00")
    assert OFFICE.next_open(at("2026-05-01T17:00")) == at("2026-05-04T09:00")
    assert OFFICE.previous_open(at("2026-05-04T09:00")) == at("2026-05-01T17:00")
    assert OFFICE.between(at("2026-05-01T00:00"), at("2027-05-01T00:00")) == 261 * 8 * HOUR
    assert OFFICE.add(at("2026-05-01T09:00"), 261 * 8 * HOUR * 10) is not None


def test_beyond_the_years_nothing_is_open() -> None:
    assert always().add(at("2026-05-01T09:00"), 600 * 365 * DAY) is None
    assert always().subtract(at("2026-05-01T09:00"), 600 * 365 * DAY) is None
    assert always().next_open(at("2600-01-01T00:00")) is None
    assert not always().is_open(at("1850-01-01T00:00"))


def test_the_first_window_that_fits() -> None:
    friday = at("2026-05-01T15:00")
    end = friday + 30 * DAY
    assert first_fit(OFFICE.windows(friday, end), HOUR) == [Span(friday, friday + HOUR, 1)]
    monday = at("2026-05-04T09:00")
    assert first_fit(OFFICE.windows(friday, end), 3 * HOUR) == [Span(monday, monday + 3 * HOUR, 1)]
    assert first_fit(OFFICE.windows(friday, end), 3 * HOUR, split=True) == [
        Span(friday, friday + 2 * HOUR, 1),
        Span(monday, monday + HOUR, 1),
    ]
    assert first_fit(OFFICE.windows(friday, end), 9 * HOUR) is None
    assert first_fit(OFFICE.windows(friday, end), 9 * HOUR, units=2, capacity=1, split=True) is None
    changing = [Span(0, HOUR, 1), Span(HOUR, 2 * HOUR, 3), Span(2 * HOUR, 3 * HOUR, 2), Span(4 * HOUR, 5 * HOUR, 3)]
    assert first_fit(changing, 2 * HOUR, units=2) == [Span(HOUR, 3 * HOUR, 2)]
    assert first_fit(changing, 2 * HOUR + MINUTE, units=2) is None
    assert first_fit(changing, 2 * HOUR + MINUTE, units=2, split=True) == [
        Span(HOUR, 3 * HOUR, 2),
        Span(4 * HOUR, 4 * HOUR + MINUTE, 2),
    ]
    with pytest.raises(ValueError, match="more than nothing"):
        first_fit([], 0)
