"""Resources open and close by their calendars: what is closed is not given, and its opening is told."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest_asyncio
from kernel_contracts import message_types as types
from kernel_testing import eventually
from kernel_worktime import DAY, Timeline, compile_calendar, micros, parse
from resource_svc.domain.calendars import HORIZON, turn
from resource_svc.handlers.opening import Look
from resource_svc.store import reads
from resource_svc.ticker import Ticker

from .lane import Lane, allocate, gives, need
from .test_availability import ALWAYS, OFFICE
from .test_http import Client

NEVER: dict[str, Any] = {"time_zone": "UTC"}
OPEN: dict[str, Any] = {"time_zone": "UTC", "weekly": ALWAYS}


@pytest_asyncio.fixture
async def designer(lane: Lane) -> AsyncIterator[Client]:
    async with Client(lane, "designer") as client:
        yield client


async def look(lane: Lane) -> list[str]:
    """What the ticker does; the ids that were due."""
    async with lane.database.connection() as connection:
        due = await reads.openings_due(connection)
    for tenant, id, calendar in due:
        assert tenant == "main"
        await lane.ask("look", Look(id, calendar), roles=())
    return [id for _, id, _ in due]


async def closed(lane: Lane) -> dict[str, bool]:
    return {row["id"]: row["closed"] for row in await lane.rows("SELECT id, closed FROM resource")}


async def test_what_is_closed_is_not_given(lane: Lane, designer: Client) -> None:
    await designer.put("/calendars/never", json=NEVER)
    await designer.put("/calendars/open", json=OPEN)
    await designer.put("/operators/anna", json={"calendar": "never"})
    await designer.put("/operators/bob", json={"calendar": "open"})
    await designer.put("/operators/carl", json={"calendar": "unheard-of"})
    assert await closed(lane) == {"anna": True, "bob": False, "carl": False}
    told = {body["id"]: body["closed"] for body in await lane.told(types.RESOURCE_CHANGED)}
    assert told == {"anna": True, "bob": False, "carl": False}
    await lane.do(allocate("d1", 1, need("anna", "bob")), allocate("d2", 2, need("anna")))
    outbox = await lane.outbox()
    [granted] = (body for _, _, type, body in outbox if type == types.RESOURCES_GRANTED)
    [denied] = (body for _, _, type, body in outbox if type == types.RESOURCES_DENIED)
    assert granted["operator"] == "bob"
    assert (denied["reason"], denied["blockers"][0]["resources"]) == ("closed", ["anna"])
    assert (await designer.put("/operators/anna", json={"calendar": "never"})).json()["version"] == 1
    await designer.put("/operators/anna", json={})
    assert await closed(lane) == {"anna": False, "bob": False, "carl": False}
    assert await lane.rows("SELECT id FROM opening ORDER BY id") == [{"id": "bob"}]
    assert await lane.breaches() == {}


async def test_a_calendar_that_changes_opens_and_closes_all_that_go_by_it(lane: Lane, designer: Client) -> None:
    await designer.put("/calendars/company", json=NEVER)
    await designer.put("/calendars/team", json={**OPEN, "layers": ["company"]})
    await designer.put("/resources/room", json={"type": "room", "calendar": "company"})
    await designer.put("/operators/anna", json={"calendar": "team"})
    await designer.put("/operators/bob", json={})
    assert await closed(lane) == {"anna": True, "bob": False, "room": True}
    assert await look(lane) == []
    await lane.outbox()
    await designer.put("/calendars/company", json=OPEN)
    assert sorted(await look(lane)) == ["anna", "room"]
    assert await closed(lane) == {"anna": False, "bob": False, "room": False}
    assert len(await lane.told(types.RESOURCE_CHANGED)) == 4, "each on both topics"
    assert await look(lane) == []
    await lane.do(allocate("d1", 1, need("anna"), need("room", type="room")))
    await designer.put("/calendars/company", json=NEVER)
    await look(lane)
    assert await closed(lane) == {"anna": True, "bob": False, "room": True}
    assert (await designer.get("/resources/anna/status")).json()["current_usage"] == 1, "what runs stays"
    await lane.do(gives(1, "all", version=9))
    await designer.delete("/operators/anna")
    await designer.put("/calendars/company", json=OPEN)
    await lane.rows("UPDATE opening SET at = clock_timestamp()")
    assert sorted(await look(lane)) == ["anna", "room"]
    assert await lane.rows("SELECT id FROM opening") == [{"id": "room"}]
    assert await lane.breaches() == {}


async def test_a_design_applied_at_once_goes_by_its_own_calendars(lane: Lane, designer: Client) -> None:
    design = {
        "calendars": {"never": NEVER, "team": {**OPEN, "layers": ["never"]}},
        "resources": {"room": {"type": "room", "calendar": "never"}},
        "operators": {"anna": {"calendar": "team"}, "bob": {}},
    }
    assert (await designer.post("/resources:apply", json=design)).status_code == 200
    assert await closed(lane) == {"anna": True, "bob": False, "room": True}
    assert len((await designer.post("/resources:apply", json=design)).json()["unchanged"]) == 5


async def test_time_opens(lane: Lane, designer: Client) -> None:
    """By the ticker of the service, at the instant that the calendar says."""
    begins = datetime.now(UTC) + timedelta(seconds=1)
    overtime = [{"from": begins.isoformat(), "to": (begins + timedelta(hours=1)).isoformat()}]
    await designer.put("/calendars/soon", json={**NEVER, "overtime": overtime})
    await designer.put("/operators/anna", json={"calendar": "soon"})
    assert await closed(lane) == {"anna": True}

    ticking = asyncio.create_task(Ticker(lane.database, lane.pipeline, 0.05).run())

    async def opened() -> bool:
        return not (await closed(lane))["anna"]

    await eventually(opened)
    ticking.cancel()
    assert datetime.now(UTC) >= begins
    [row] = await lane.rows("SELECT at FROM opening")
    assert row["at"] == begins + timedelta(hours=1)


def test_turns() -> None:
    office: Timeline = compile_calendar(parse({**OFFICE, "breaks": [["12:00", "12:30"]]}))
    monday = datetime(2027, 3, 22, 8, 30, tzinfo=UTC)
    assert turn(office, monday) == (False, datetime(2027, 3, 22, 11, tzinfo=UTC))
    assert turn(office, datetime(2027, 3, 22, 11, tzinfo=UTC)) == (True, datetime(2027, 3, 22, 11, 30, tzinfo=UTC))
    assert turn(office, datetime(2027, 3, 26, 16, tzinfo=UTC)) == (True, datetime(2027, 3, 29, 7, tzinfo=UTC))
    for document in (NEVER, OPEN):
        _, following = turn(compile_calendar(parse(document)), monday)
        assert micros(following) - micros(monday) == HORIZON == 400 * DAY
    shifts = {day: [["00:00", "12:00", 1], ["12:00", "24:00", 2]] for day in ALWAYS}
    assert turn(compile_calendar(parse({"time_zone": "UTC", "weekly": shifts})), monday)[0] is False
