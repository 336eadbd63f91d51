"""Calendars as resources go by them: what is refused, when they are open, what is free and when that changes."""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from kernel_worktime import Span
from resource_svc.domain.availability import Held, available, use

from .lane import Lane, allocate, gives, need
from .test_http import Client

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri")
OFFICE: dict[str, Any] = {"time_zone": "Europe/Amsterdam", "weekly": {day: [["09:00", "17:00"]] for day in WEEKDAYS}}
ALWAYS = {day: [["00:00", "24:00"]] for day in (*WEEKDAYS, "sat", "sun")}
SHORT_NIGHT = {"from": "2027-03-27T00:00:00Z", "to": "2027-03-30T00:00:00Z"}
"""Saturday to Easter Monday, over the night in which clocks go forward in Amsterdam."""


@pytest_asyncio.fixture
async def designer(lane: Lane) -> AsyncIterator[Client]:
    async with Client(lane, "designer") as client:
        yield client


async def pointers(client: Client, id: str, change: dict[str, Any]) -> list[str]:
    answer = await client.put(f"/calendars/{id}", json={**OFFICE, **change})
    assert answer.status_code == 422, answer.text
    return [each["pointer"] for each in answer.json()["errors"]]


async def test_a_calendar_that_nobody_could_go_by_is_refused(designer: Client) -> None:
    overlap = [["09:00", "12:00"], ["11:00", "13:00"]]
    assert await pointers(designer, "a", {"time_zone": "Mars/Olympus"}) == ["/time_zone"]
    assert await pointers(designer, "a", {"weekly": {"mon": overlap}}) == ["/weekly/mon/1"]
    two_weeks = {"weekly": [OFFICE["weekly"], {"mon": overlap}]}
    assert await pointers(designer, "a", two_weeks) == ["/weekly/1/mon/1", "/anchor"]
    assert await pointers(designer, "a", {"layers": ["b"]}) == ["/layers/0"]
    assert await pointers(designer, "a", {"layers": ["a"]}) == ["/layers/0"]
    assert await pointers(designer, "a", {"holidays": "QQ"}) == ["/holidays"]
    assert await pointers(designer, "a", {"leave": [{"from": "2027-03-02", "to": "2027-03-01"}]}) == ["/leave/0/to"]
    assert (await designer.get("/calendars")).json()["items"] == []
    for id, layers in (("a", []), ("b", ["a"]), ("c", ["b"])):
        assert (await designer.put(f"/calendars/{id}", json={**OFFICE, "layers": layers})).status_code == 201
    assert await pointers(designer, "a", {"layers": ["c"]}) == ["/layers/0"]
    design = {"calendars": {"x": {**OFFICE, "layers": ["y"]}, "y": {**OFFICE, "layers": ["x", "z"]}}}
    for path in (":check", ":apply"):
        refused = await designer.post(f"/resources{path}", json=design)
        assert refused.status_code == 422
        assert {each["pointer"] for each in refused.json()["errors"]} == {
            "/calendars/x/layers/0",
            "/calendars/y/layers/1",
        }
    design["calendars"]["y"]["layers"] = ["a"]
    assert (await designer.post("/resources:apply", json=design)).json()["created"] == ["calendar/x", "calendar/y"]


async def test_when_a_calendar_is_open(designer: Client) -> None:
    await designer.put("/calendars/company", json={**OFFICE, "holidays": "NL"})
    person: dict[str, Any] = {
        "time_zone": "Europe/Amsterdam",
        "layers": ["company"],
        "breaks": [["12:00", "12:30"]],
        "weekly": {**ALWAYS, "mon": [["08:00", "12:00", 2]]},
        "leave": [{"from": "2027-03-27", "to": "2027-03-27"}],
        "overtime": [{"from": "2027-03-28T00:30:00Z", "to": "2027-03-28T01:30:00Z", "capacity": 1}],
        "exceptions": [{"date": "2027-03-29", "hours": [["10:00", "11:00"]], "note": "Easter Monday, but open"}],
    }
    assert (await designer.put("/calendars/anna", json=person)).status_code == 201
    overtime = [{**each, "note": None} for each in person["overtime"]]
    shown = {**person, "overtime": overtime, "leave": [{**person["leave"][0], "note": None}]}
    assert (await designer.get("/calendars/anna")).json() == {**shown, "id": "anna", "version": 1, "holidays": None}
    opened = (await designer.get("/calendars/anna/windows", params=SHORT_NIGHT)).json()["windows"]
    assert opened == [
        {"from": "2027-03-28T00:30:00+00:00", "to": "2027-03-28T01:30:00+00:00", "capacity": 1},
        {"from": "2027-03-29T08:00:00+00:00", "to": "2027-03-29T09:00:00+00:00", "capacity": None},
    ]
    day = {"from": "2027-03-24T00:00:00Z", "to": "2027-03-25T00:00:00Z"}
    opened = (await designer.get("/calendars/anna/windows", params=day)).json()["windows"]
    assert [(each["from"][11:16], each["to"][11:16]) for each in opened] == [("08:00", "11:00"), ("11:30", "16:00")]
    await designer.put("/calendars/company", json={**OFFICE, "weekly": {"wed": [["10:00", "11:00", 3]]}})
    opened = (await designer.get("/calendars/anna/windows", params=day)).json()["windows"]
    assert opened == [{"from": "2027-03-24T09:00:00+00:00", "to": "2027-03-24T10:00:00+00:00", "capacity": 3}]
    assert (await designer.get("/calendars/nobody/windows")).status_code == 404


async def free(client: Client, id: str, start: str, end: str) -> list[tuple[str, str, int]]:
    answer = await client.get(f"/resources/{id}/availability", params={"from": start, "to": end})
    assert answer.status_code == 200, answer.text
    return [(each["from"][5:16], each["to"][5:16], each["free"]) for each in answer.json()["windows"]]


async def test_what_is_free_ahead(lane: Lane, designer: Client) -> None:
    windows = {"weekly": {"mon": [["09:00", "12:00"], ["13:00", "17:00", 1], ["18:00", "20:00", 9]]}}
    await designer.put("/calendars/office", json={**OFFICE, **windows})
    desk = {"type": "desk", "kind": "shared", "capacity": 2, "calendar": "office"}
    await designer.put("/resources/desk", json={**desk, "calendar": None})
    await lane.do(allocate("d1", 1, need("desk", type="desk")))
    await designer.put("/resources/desk", json=desk)
    week = ("2027-03-22T00:00:00Z", "2027-03-28T00:00:00Z")
    assert [units for _, _, units in await free(designer, "desk", *week)] == [1, 0, 1]
    await lane.do(gives(1, "all", version=9))
    assert await free(designer, "desk", *week) == [
        ("03-22T08:00", "03-22T11:00", 2),
        ("03-22T12:00", "03-22T16:00", 1),
        ("03-22T17:00", "03-22T19:00", 2),
    ]
    assert await free(designer, "desk", "2027-03-22T15:30:00Z", "2027-03-22T18:00:00Z") == [
        ("03-22T15:30", "03-22T16:00", 1),
        ("03-22T17:00", "03-22T18:00", 2),
    ]
    await designer.put("/resources/desk", json={**desk, "status": "out"})
    assert await free(designer, "desk", *week) == []
    await designer.put("/operators/anna", json={"capacity": 3})
    assert await free(designer, "anna", *week) == [("03-22T00:00", "03-28T00:00", 3)]
    assert (await designer.get("/resources/none/availability")).status_code == 404
    for wrong in (
        {"from": "noon"},
        {"from": week[1], "to": week[0]},
        {"from": week[0], "to": "2039-01-01T00:00:00Z"},
        {"from": "9999-12-31T23:00:00Z"},
        {"from": "0001-01-01T00:00:00+14:00"},
    ):
        answer = await designer.get("/resources/anna/availability", params=wrong)
        assert answer.status_code == 422
        assert answer.json()["errors"]


async def test_status_knows_the_calendar_and_what_changes_next(lane: Lane, designer: Client) -> None:
    await designer.put("/calendars/office", json={**OFFICE, "leave": [{"from": "2027-03-24", "to": "2027-06-30"}]})
    await designer.put("/operators/anna", json={"capacity": 2, "calendar": "office"})

    async def status(at: str) -> dict[str, Any]:
        return dict((await designer.get("/resources/anna/status", params={"at": at})).json())

    opened = await status("2027-03-22T10:00:00Z")
    assert opened == {
        "capacity": 2,
        "current_usage": 0,
        "available": 2,
        "next_change": "2027-03-22T16:00:00+00:00",
        "status": "in_service",
        "presence": "available",
    }
    closed = await status("2027-03-23T16:00:00Z")
    assert (closed["capacity"], closed["available"], closed["next_change"]) == (0, 0, "2027-07-01T07:00:00+00:00")
    async with Client(lane, "operator", "anna") as anna:
        until = {"status": "away", "until": "2027-03-22T09:00:00Z"}
        assert (await anna.post("/operators/anna/presence", json=until)).status_code == 200
    away, back = await status("2027-03-22T08:30:00Z"), await status("2027-03-22T09:00:00Z")
    assert (away["presence"], away["available"], away["next_change"]) == ("away", 0, "2027-03-22T09:00:00+00:00")
    assert (back["presence"], back["available"]) == ("available", 2)
    morning = ("2027-03-22T06:00:00Z", "2027-03-22T12:00:00Z")
    assert await free(designer, "anna", *morning) == [("03-22T09:00", "03-22T12:00", 2)]


async def test_what_was_free_is_read_from_the_ledger(lane: Lane, designer: Client) -> None:
    await designer.put("/calendars/always", json={"time_zone": "UTC", "weekly": ALWAYS})
    before = datetime.now(UTC)
    await designer.put("/operators/anna", json={"capacity": 2, "calendar": "always"})
    await lane.do(allocate("d1", 1, need("anna")))
    await designer.put("/operators/anna", json={"capacity": 3, "calendar": "always"})
    await lane.do(gives(1, "all", version=9))
    await lane.do(allocate("d2", 2, need("anna")))
    end = datetime.now(UTC) + timedelta(hours=1)
    asked = {"from": (before - timedelta(days=1)).isoformat(), "to": end.isoformat()}
    windows = (await designer.get("/resources/anna/availability", params=asked)).json()["windows"]
    assert [each["free"] for each in windows] == [2, 1, 2, 3, 2]
    assert all(one["to"] == other["from"] for one, other in pairwise(windows))
    assert datetime.fromisoformat(windows[0]["from"]) > before
    assert datetime.fromisoformat(windows[-1]["to"]) == end
    history = {"from": windows[1]["from"], "to": windows[2]["from"]}
    assert (await designer.get("/resources/anna/availability", params=history)).json()["windows"] == [windows[1]]


async def test_a_year_of_one_resource_is_quick(designer: Client) -> None:
    """The limit is 5 ms on a quiet machine; this one is lenient, for it may be busy."""
    await designer.put("/calendars/office", json={**OFFICE, "holidays": "NL", "breaks": [["12:00", "12:30"]]})
    await designer.put("/operators/anna", json={"calendar": "office"})
    asked = {"from": "2027-01-01T00:00:00Z", "to": "2028-01-01T00:00:00Z"}
    took = []
    for _ in range(10):
        began = time.perf_counter()
        answer = await designer.get("/resources/anna/availability", params=asked)
        took.append(time.perf_counter() - began)
    assert len(answer.json()["windows"]) > 450
    print(f"availability over a year: {min(took) * 1000:.1f} ms of {[round(each * 1000, 1) for each in took]}")
    assert min(took) < 0.1


holds = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 6), st.integers(1, 2)), max_size=8)


@given(holds, st.integers(1, 3), st.integers(0, 12), st.integers(8, 20))
def test_at_every_instant_free_is_capacity_less_what_is_held(
    taken: list[tuple[int, int, int]], capacity: int, opens: int, closes: int
) -> None:
    held = [Held(start, start + length, units) for start, length, units in taken]
    windows = [Span(opens, closes, 2)] if opens < closes else []
    found = available(windows, [Span(3, 18, capacity)], use(held), 0, 30)
    for at in range(30):
        used = sum(each.units for each in held if each.start <= at < each.end)
        expected = max(min(2, capacity) - used, 0) if opens <= at < closes and 3 <= at < 18 else None
        assert next((each.units for each in found if each.start <= at < each.end), None) == expected
