"""Every change of clocks in every zone, against a walk over the minutes."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from kernel_worktime import DAY, HOUR, MINUTE, Timeline, compile_calendar, moment, parse

from .walk import changes, instant, minutes, shows_open

WINDOWS = [("00:30", "01:30"), ("01:40", "02:15"), ("02:20", "03:10"), ("11:00", "13:00"), ("22:00", "00:15")]
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SEVERAL_HOURS = timedelta(hours=4)


def daily(zone: str, *windows: tuple[str, str]) -> Timeline:
    return compile_calendar(
        parse({"time_zone": zone, "weekly": {day: [list(each) for each in windows] for day in DAYS}})
    )


def compare(timeline: Timeline, zone: ZoneInfo, start: datetime, end: datetime) -> None:
    for at in minutes(start, end):
        expected = shows_open(at, zone, WINDOWS)
        assert timeline.is_open(round(at.timestamp()) * 1_000_000) == expected, (zone.key, at)


@pytest.mark.parametrize("part", range(4))
def test_every_change_of_clocks_in_every_zone(part: int) -> None:
    seen = 0
    known: set[object] = set()
    for name in sorted(available_timezones())[part::4]:
        zone = ZoneInfo(name)
        found = changes(zone, 2026)
        for change in found or [datetime(2026, 7, 14, 12, tzinfo=UTC)]:
            around = (change, zone.utcoffset(change.astimezone(zone)))
            timeline = daily(name, *WINDOWS)
            if around not in known:
                known.add(around)
                compare(timeline, zone, change - SEVERAL_HOURS, change + SEVERAL_HOURS)
        seen += bool(found)
    assert seen > 20


@pytest.mark.parametrize(
    ("name", "year"),
    [
        ("Pacific/Apia", 2011),
        ("Australia/Lord_Howe", 2026),
        ("America/Havana", 2026),
        ("Africa/Casablanca", 2026),
        ("Asia/Pyongyang", 2018),
        ("America/Caracas", 2016),
        ("Antarctica/Troll", 2026),
        ("Pacific/Kwajalein", 1993),
    ],
)
def test_rare_changes(name: str, year: int) -> None:
    zone = ZoneInfo(name)
    timeline = daily(name, *WINDOWS)
    for change in changes(zone, year):
        compare(timeline, zone, change - timedelta(hours=30), change + timedelta(hours=30))


def hours(timeline: Timeline, zone: str, first: str, last: str) -> float:
    return timeline.between(instant(first, zone), instant(last, zone)) / HOUR


def test_what_a_spring_leaves_out_is_not_worked_and_what_an_autumn_repeats_is_worked_twice() -> None:
    night = daily("Europe/Amsterdam", ("22:00", "06:00"))
    assert hours(night, "Europe/Amsterdam", "2026-03-28T12:00", "2026-03-29T12:00") == 7
    assert hours(night, "Europe/Amsterdam", "2026-10-24T12:00", "2026-10-25T12:00") == 9
    inside = daily("Europe/Amsterdam", ("02:15", "02:45"))
    assert hours(inside, "Europe/Amsterdam", "2026-03-29T00:00", "2026-03-30T00:00") == 0
    assert hours(inside, "Europe/Amsterdam", "2026-10-25T00:00", "2026-10-26T00:00") == 1


def test_half_an_hour_of_lord_howe() -> None:
    always = daily("Australia/Lord_Howe", ("00:00", "24:00"))
    spring = daily("Australia/Lord_Howe", ("01:00", "04:00"))
    assert hours(spring, "Australia/Lord_Howe", "2026-10-04T00:00", "2026-10-04T12:00") == 2.5
    assert hours(spring, "Australia/Lord_Howe", "2026-04-05T00:00", "2026-04-05T12:00") == 3.5
    assert hours(always, "Australia/Lord_Howe", "2026-04-05T00:00", "2026-04-06T00:00") == 24.5


def test_the_day_that_samoa_never_had() -> None:
    office = daily("Pacific/Apia", ("09:00", "17:00"))
    assert hours(office, "Pacific/Apia", "2011-12-29T00:00", "2012-01-01T00:00") == 16
    closing = instant("2011-12-29T17:00", "Pacific/Apia")
    assert office.next_open(closing) == instant("2011-12-31T09:00", "Pacific/Apia")
    assert office.add(closing, HOUR) == instant("2011-12-31T10:00", "Pacific/Apia")


def test_a_day_that_begins_at_one() -> None:
    """Havana's clocks go from 00:00 to 01:00."""
    office = daily("America/Havana", ("00:00", "02:00"))
    windows = list(office.windows(instant("2026-03-08T04:00"), instant("2026-03-08T12:00")))
    assert [(moment(each.start), each.end - each.start) for each in windows] == [
        (datetime(2026, 3, 8, 5, tzinfo=UTC), HOUR)
    ]


def test_around_the_clock_has_no_seam() -> None:
    for name in ("Europe/Amsterdam", "Pacific/Apia", "Australia/Lord_Howe", "America/Sao_Paulo"):
        timeline = daily(name, ("00:00", "24:00"))
        start = instant("2011-06-01T00:00")
        assert [span.end - span.start for span in timeline.windows(start, start + 800 * DAY)] == [800 * DAY]
    assert (
        daily("UTC", ("23:00", "00:30")).between(instant("2026-01-01T00:00"), instant("2026-01-02T00:00"))
        == 90 * MINUTE
    )
