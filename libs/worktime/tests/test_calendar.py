"""What a definition means: layers, exceptions, breaks, leave, overtime, patterns; and what is wrong with one."""

from typing import Any

import pytest
from kernel_worktime import (
    HOUR,
    WHOLE,
    CyclicLayersError,
    DefinitionError,
    Timeline,
    UnknownLayerError,
    compile_calendar,
    parse,
)

from .walk import instant

ZONE = "Europe/Amsterdam"
WORKDAYS = ("mon", "tue", "wed", "thu", "fri")
OFFICE = {"time_zone": ZONE, "weekly": {day: [["09:00", "17:00"]] for day in WORKDAYS}}


def made(document: dict[str, Any], **layers: dict[str, Any]) -> Timeline:
    below = {id: parse(each) for id, each in layers.items()}
    return compile_calendar(parse(document), below.get, "own")


def opened(timeline: Timeline, first: str, last: str) -> list[str]:
    """Windows as wall-clock times in Amsterdam, with their capacity where they name one."""
    from datetime import UTC, datetime
    from zoneinfo import ZoneInfo

    def wall(at: int) -> str:
        return datetime.fromtimestamp(at / 1e6, UTC).astimezone(ZoneInfo(ZONE)).strftime("%a %H:%M")

    return [
        f"{wall(each.start)}-{wall(each.end)[4:]}" + ("" if each.capacity == WHOLE else f" {each.capacity}")
        for each in timeline.windows(instant(first, ZONE), instant(last, ZONE))
    ]


def test_a_week() -> None:
    document = {
        "time_zone": ZONE,
        "weekly": {"mon": [["18:00", "20:00", 2], ["09:00", "17:00"]], "tue": [["22:00", "06:00"]]},
    }
    timeline = made(document)
    assert opened(timeline, "2026-05-04", "2026-05-11") == ["Mon 09:00-17:00", "Mon 18:00-20:00 2", "Tue 22:00-06:00"]
    assert timeline.capacity_at(instant("2026-05-04T19:00", ZONE)) == 2
    assert timeline.capacity_at(instant("2026-05-04T20:00", ZONE)) == 0


def test_two_weeks_alternate_from_the_week_of_the_anchor() -> None:
    early, late = {"mon": [["06:00", "14:00"]]}, {"mon": [["14:00", "22:00"]], "sun": [["10:00", "12:00"]]}
    timeline = made({"time_zone": ZONE, "weekly": [early, late], "anchor": "2026-05-06"})
    assert opened(timeline, "2026-05-04", "2026-05-19") == [
        "Mon 06:00-14:00",
        "Mon 14:00-22:00",
        "Sun 10:00-12:00",
        "Mon 06:00-14:00",
    ]
    assert opened(timeline, "2025-12-22", "2025-12-23") == ["Mon 14:00-22:00"]


def test_breaks_cut_the_weekly_hours_but_not_an_exception() -> None:
    exception = {"date": "2026-05-05", "hours": [["11:00", "15:00"]]}
    timeline = made({**OFFICE, "breaks": [["12:00", "12:30"]], "exceptions": [exception]})
    assert opened(timeline, "2026-05-04", "2026-05-06") == ["Mon 09:00-12:00", "Mon 12:30-17:00", "Tue 11:00-15:00"]


def test_an_exception_takes_the_place_of_the_shifts_that_begin_on_its_day() -> None:
    nights = {"time_zone": ZONE, "weekly": {day: [["22:00", "06:00"]] for day in (*WORKDAYS, "sat", "sun")}}
    timeline = made({**nights, "exceptions": [{"date": "2026-05-05", "hours": []}]})
    assert opened(timeline, "2026-05-04T12:00", "2026-05-07T12:00") == ["Mon 22:00-06:00", "Wed 22:00-06:00"]


def test_holidays_close_and_an_exception_opens_one() -> None:
    days = ["2026-05-04", "2026-05-05"]
    timeline = made({**OFFICE, "holidays": days, "exceptions": [{"date": "2026-05-05", "hours": [["10:00", "11:00"]]}]})
    assert opened(timeline, "2026-05-04", "2026-05-07") == ["Tue 10:00-11:00", "Wed 09:00-17:00"]


def test_leave_in_days_and_in_hours_has_the_last_word() -> None:
    document = {
        **OFFICE,
        "leave": [
            {"from": "2026-05-05", "to": "2026-05-06", "note": "holiday"},
            {"from": "2026-05-07T15:00:00+02:00", "to": "2026-05-08T10:00:00+02:00"},
        ],
        "overtime": [{"from": "2026-05-05T18:00:00+02:00", "to": "2026-05-05T20:00:00+02:00"}],
    }
    assert opened(made(document), "2026-05-04", "2026-05-09") == [
        "Mon 09:00-17:00",
        "Thu 09:00-15:00",
        "Fri 10:00-17:00",
    ]


def test_overtime_adds_with_its_capacity() -> None:
    overtime = [{"from": "2026-05-04T16:00:00+02:00", "to": "2026-05-04T19:00:00+02:00", "capacity": 1}]
    assert opened(made({**OFFICE, "overtime": overtime}), "2026-05-04", "2026-05-05") == [
        "Mon 09:00-17:00",
        "Mon 17:00-19:00 1",
    ]


def test_layers_intersect_and_what_lies_above_overrides() -> None:
    company = {
        "time_zone": ZONE,
        "weekly": {day: [["07:00", "19:00"]] for day in WORKDAYS},
        "holidays": ["2026-05-05"],
        "overtime": [{"from": "2026-05-09T08:00:00+02:00", "to": "2026-05-09T12:00:00+02:00"}],
    }
    site = {
        "time_zone": ZONE,
        "layers": ["company"],
        "exceptions": [{"date": "2026-05-06", "hours": [["08:00", "10:00", 3]]}],
    }
    person = {
        "time_zone": ZONE,
        "weekly": {**{day: [["06:00", "12:00", 5]] for day in WORKDAYS}, "sat": [["09:00", "10:00"]]},
        "layers": ["site"],
        "exceptions": [{"date": "2026-05-10", "hours": [["10:00", "11:00"]]}],
        "leave": [{"from": "2026-05-08", "to": "2026-05-08"}],
    }
    assert opened(made(person, site=site, company=company), "2026-05-04", "2026-05-11") == [
        "Mon 07:00-12:00 5",
        "Wed 08:00-10:00 3",
        "Thu 07:00-12:00 5",
        "Sat 09:00-10:00",
        "Sun 10:00-11:00",
    ]


def test_layers_in_other_zones() -> None:
    tokyo = {"time_zone": "Asia/Tokyo", "weekly": {day: [["09:00", "18:00"]] for day in WORKDAYS}}
    both = {**OFFICE, "layers": ["tokyo"]}
    assert opened(made(both, tokyo=tokyo), "2026-05-04", "2026-05-05") == ["Mon 09:00-11:00"]


def test_a_calendar_without_hours_is_closed() -> None:
    timeline = made({"time_zone": ZONE})
    assert timeline.next_open(0) is None
    assert timeline.add(0, HOUR) is None
    assert timeline.subtract(0, HOUR) is None
    assert timeline.previous_open(0) is None


def test_layers_that_are_not_there_or_go_round() -> None:
    with pytest.raises(UnknownLayerError, match="nowhere"):
        made({**OFFICE, "layers": ["nowhere"]})
    with pytest.raises(CyclicLayersError, match="own > a > b > a"):
        made({**OFFICE, "layers": ["a"]}, a={**OFFICE, "layers": ["b"]}, b={**OFFICE, "layers": ["a"]})
    with pytest.raises(CyclicLayersError):
        made({**OFFICE, "layers": ["own"]})
    made({**OFFICE, "layers": ["a", "b"]}, a={**OFFICE, "layers": ["b"]}, b=OFFICE)


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"time_zone": "Europe/Atlantis"}, "/time_zone"),
        ({"time_zone": None}, "/time_zone"),
        ({"weekly": {"mon": [["09:00", "12:00"], ["11:00", "13:00"]]}}, "/weekly/mon/1"),
        ({"weekly": {"mon": [["22:00", "06:00"]], "tue": [["05:00", "07:00"]]}}, "/weekly/mon/0"),
        ({"weekly": {"sun": [["22:00", "06:00"]], "mon": [["05:00", "07:00"]]}}, "/weekly/sun/0"),
        ({"weekly": {"monday": []}}, "/weekly/monday"),
        ({"weekly": {"mon": [["9:00", "17:00"]]}}, "/weekly/mon/0"),
        ({"weekly": {"mon": [["09:00", "09:00"]]}}, "/weekly/mon/0"),
        ({"weekly": {"mon": [["09:00", "25:00"]]}}, "/weekly/mon/0"),
        ({"weekly": {"mon": [["09:00"]]}}, "/weekly/mon/0"),
        ({"weekly": {"mon": [["09:00", "17:00", -1]]}}, "/weekly/mon/0/2"),
        ({"weekly": {"mon": 8}}, "/weekly/mon"),
        ({"weekly": [{}, {"mon": [["09:00", "17:00"]]}]}, "/anchor"),
        ({"weekly": [{}] * 9, "anchor": "2026-01-01"}, "/weekly"),
        ({"anchor": "yesterday"}, "/anchor"),
        ({"breaks": [["12:00", "13:00"], ["12:30", "14:00"]]}, "/breaks/1"),
        ({"exceptions": [{"date": "2026-02-30"}]}, "/exceptions/0/date"),
        ({"exceptions": [{"date": "2026-02-20"}, {"date": "2026-02-20"}]}, "/exceptions/1/date"),
        ({"exceptions": [{"date": "2026-02-20", "hours": [["x", "y"]]}]}, "/exceptions/0/hours/0"),
        ({"holidays": ["2026-13-01"]}, "/holidays/0"),
        ({"leave": [{"from": "2026-02-20", "to": "2026-02-19"}]}, "/leave/0/to"),
        ({"leave": [{"from": "2026-02-20T10:00:00", "to": "2026-02-21T10:00:00Z"}]}, "/leave/0/from"),
        ({"overtime": [{"from": "2026-02-20T10:00:00Z", "to": "2026-02-20T10:00:00Z"}]}, "/overtime/0/to"),
        (
            {"overtime": [{"from": "2026-02-20T10:00:00Z", "to": "2026-02-20T11:00:00Z", "capacity": 0}]},
            "/overtime/0/capacity",
        ),
        ({"layers": ["a", "a"]}, "/layers/1"),
        ({"layers": [3]}, "/layers/0"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(change: dict[str, Any], pointer: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        parse({**OFFICE, **change})
    assert [where for where, _ in caught.value.errors] == [pointer]


def test_a_country_that_can_not_be_looked_up_is_refused_when_it_is_defined() -> None:
    """Without the library no country can be; with it, this one can't."""
    with pytest.raises(DefinitionError, match="public holidays") as caught:
        parse({**OFFICE, "holidays": "QQ"})
    assert caught.value.errors[0][0] == "/holidays"
