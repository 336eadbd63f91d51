"""The HTTP door: what can be asked, who may, and what is refused."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import pytest_asyncio
from kernel_contracts import message_types as types
from kernel_contracts.process import ReleaseProcess
from kernel_contracts.resource import ResourceChanged
from kernel_runtime.http import application
from resource_svc import http
from resource_svc.handlers.presence import PresenceChange

from .lane import Lane, allocate, gives, need


class Client(httpx.AsyncClient):
    """As the gateway calls."""

    def __init__(self, lane: Lane, roles: str, operator: str = "") -> None:
        headers = {
            "x-kernel-token": "secret",
            "x-kernel-tenant": "main",
            "x-kernel-principal": "tester",
            "x-kernel-roles": roles,
            "x-kernel-operator": operator,
        }
        app = application(http.routes(lane.database, lane.pipeline), internal_token="secret")
        super().__init__(transport=httpx.ASGITransport(app=app), base_url="http://resource-svc/v1", headers=headers)


@pytest_asyncio.fixture
async def designer(lane: Lane) -> AsyncIterator[Client]:
    async with Client(lane, "designer") as client:
        yield client


ROOM = {"type": "room", "kind": "shared", "capacity": 2, "labels": {"floor": "1"}}


async def test_a_resource_is_made_changed_and_the_same_again(lane: Lane, designer: Client) -> None:
    made = await designer.put("/resources/room 1", json=ROOM)
    assert (made.status_code, made.headers["etag"]) == (201, '"1"')
    assert made.json() == {
        "id": "room 1",
        **ROOM,
        "calendar": None,
        "status": "in_service",
        "used": 0,
        "available": 2,
        "version": 1,
    }
    told = await lane.outbox()
    assert [(topic, key) for topic, key, _, _ in told] == [
        ("resource-events", "room 1"),
        ("definitions", "resource/main/room 1"),
    ]
    for _, _, type, body in told:
        assert type == types.RESOURCE_CHANGED
        assert ResourceChanged.model_validate(body).model_dump(mode="json") == body
    again = await designer.put("/resources/room 1", json=ROOM)
    assert (again.status_code, again.json()) == (200, made.json())
    assert await lane.outbox() == []
    await lane.do(allocate("d1", 1, need("room 1", type="room")))
    assert (await designer.put("/resources/room 1", json=ROOM)).headers["etag"] == '"1"'
    changed = await designer.put("/resources/room 1", json={**ROOM, "capacity": 3})
    assert (changed.status_code, changed.json()["version"], changed.json()["available"]) == (200, 2, 2)
    [event] = (body for topic, _, _, body in await lane.outbox() if topic == "definitions")
    assert (event["version"], event["used"], event["capacity"]) == (3, 1, 3)
    assert (await designer.get("/resources/room 1")).json() == changed.json()
    assert await lane.breaches() == {}


async def test_if_match(designer: Client) -> None:
    assert (await designer.put("/resources/r", json=ROOM, headers={"if-match": '"1"'})).status_code == 412
    assert (await designer.put("/resources/r", json=ROOM)).status_code == 201
    other = {**ROOM, "capacity": 5}
    assert (await designer.put("/resources/r", json=other, headers={"if-match": '"2"'})).status_code == 412
    assert (await designer.put("/resources/r", json=other, headers={"if-match": '"1"'})).status_code == 200


async def test_capacity_below_use_says_who_holds(lane: Lane, designer: Client) -> None:
    await designer.put("/operators/anna", json={"capacity": 2})
    await lane.do(allocate("d1", 11, need("anna")), allocate("d2", 12, need("anna")))
    refused = await designer.put("/operators/anna", json={"capacity": 1})
    assert refused.status_code == 409
    assert refused.json()["held_by"] == [{"pid": 11, "units": 1}, {"pid": 12, "units": 1}]
    assert (await designer.delete("/operators/anna")).status_code == 409
    await lane.do(gives(11, "all", version=9))
    assert (await designer.put("/operators/anna", json={"capacity": 1})).status_code == 200


async def test_deleted_and_there_again(lane: Lane, designer: Client) -> None:
    await designer.put("/operators/anna", json={"roles": ["clerk"]})
    assert (await designer.delete("/resources/anna")).status_code == 404
    assert (await designer.delete("/operators/anna")).status_code == 204
    for path in ("/operators/anna", "/resources/anna", "/resources/anna/status"):
        assert (await designer.get(path)).status_code == 404
    assert (await designer.delete("/operators/anna")).status_code == 404
    assert (await designer.get("/operators")).json() == {"items": [], "next": None}
    *_, gone = await lane.told(types.RESOURCE_CHANGED)
    assert gone["deleted"]
    await lane.do(allocate("d1", 1, need("anna")))
    assert [each["reason"] for each in await lane.told(types.RESOURCES_DENIED)] == ["unknown_resource"]
    assert (await designer.put("/resources/anna", json={"type": "room"})).status_code == 201
    *_, back = await lane.told(types.RESOURCE_CHANGED)
    assert (back["version"], back["type"], back["deleted"]) == (3, "room", False)
    assert await lane.breaches() == {}


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("/resources/r", {"type": "operator"}, "/type"),
        ("/resources/r", {"type": "room", "stock": 3}, "/stock"),
        ("/resources/r", {"type": "room", "reorder_at": 3}, "/reorder_at"),
        ("/resources/r", {"type": "room", "capacity": -1}, "/capacity"),
        ("/resources/r", {"type": "room", "size": 1}, "/size"),
        ("/resources/entity:a:b", {"type": "room"}, ""),
        ("/operators/anna", {"skills": [{"skill": "x", "level": "high"}]}, "/skills/0"),
        ("/operators/room", {}, ""),
        ("/calendars/c", {"time_zone": "Mars/Olympus"}, "/time_zone"),
        ("/calendars/c", {"time_zone": "Europe/Amsterdam", "weekly": {"mon": [["9:00", "17:00"]]}}, "/weekly/mon/0"),
        ("/calendars/c", {"time_zone": "Europe/Amsterdam", "weekly": {"monday": []}}, "/weekly/monday"),
    ],
)
async def test_what_is_wrong_is_pointed_at(designer: Client, path: str, body: dict[str, Any], pointer: str) -> None:
    await designer.put("/resources/room", json=ROOM)
    refused = await designer.put(path, json=body)
    assert refused.status_code == 422
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["errors"][0]["pointer"].startswith(pointer)


async def test_operators(lane: Lane, designer: Client) -> None:
    expires = "2027-01-01T00:00:00+00:00"
    body = {
        "name": "Anna de Vries",
        "roles": ["clerk", "senior"],
        "skills": ["zoning", {"skill": "law", "level": 3}, {"skill": "fire", "level": 1, "expires": expires}],
        "capacity": 2,
        "calendar": "office",
    }
    made = await designer.put("/operators/anna", json=body)
    assert made.status_code == 201
    assert {name: made.json()[name] for name in body} == body
    assert (made.json()["presence"], made.json()["available"]) == ("available", 2)
    await designer.put("/operators/bob", json={"roles": ["clerk"]})
    await designer.put("/resources/room", json=ROOM)
    found = (await designer.get("/operators", params={"role": "senior"})).json()["items"]
    assert [each["id"] for each in found] == ["anna"]
    assert [each["id"] for each in (await designer.get("/resources")).json()["items"]] == ["room"]
    event = (await lane.told(types.RESOURCE_CHANGED))[0]
    assert [each["skill"] for each in event["skills"]] == ["zoning", "law", "fire"]


async def test_lists_by_page(designer: Client) -> None:
    design = {"operators": {f"o{n:02}": {} for n in range(7)}}
    await designer.post("/resources:apply", json=design)
    seen, cursor = [], None
    while True:
        params = {"limit": "3", "count": "true"} | ({"cursor": cursor} if cursor else {})
        page = (await designer.get("/operators", params=params)).json()
        assert page["total"] == 7
        seen += [each["id"] for each in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == sorted(design["operators"])
    for bad in (
        {"limit": "0"},
        {"limit": "x"},
        {"cursor": "?"},
        {"cursor": "e30"},
        {"sort": "name"},
        {"count": "perhaps"},
    ):
        assert (await designer.get("/operators", params=bad)).status_code == 422


async def test_stock(lane: Lane, designer: Client) -> None:
    paper = {"type": "paper", "kind": "consumable", "stock": 10, "reorder_at": 5}
    made = (await designer.put("/resources/paper", json=paper)).json()
    assert (made["stock"], made["reorder"]) == (10, False)
    await lane.do(allocate("d1", 1, need("paper", type="paper", units=6)))
    used = (await designer.get("/resources/paper")).json()
    assert (used["stock"], used["reorder"]) == (4, True)
    assert (await designer.put("/resources/paper", json=paper)).json() == used
    more = await designer.post("/resources/paper/stock", json={"delta": 100, "reason": "delivery 881"})
    assert (more.status_code, more.json()["stock"]) == (200, 104)
    assert (await designer.post("/resources/paper/stock", json={"delta": -105})).status_code == 409
    counted = (await designer.put("/resources/paper", json={**paper, "stock": 90})).json()
    assert counted["stock"] == 90
    assert (await designer.get("/resources/paper/status")).json()["available"] == 90
    await designer.put("/resources/room", json=ROOM)
    assert (await designer.post("/resources/room/stock", json={"delta": 1})).status_code == 409
    assert (await designer.post("/resources/none/stock", json={"delta": 1})).status_code == 404
    rows = await lane.rows("SELECT what, reason, capacity FROM resource_change WHERE what = 'stock'")
    assert rows == [{"what": "stock", "reason": "delivery 881", "capacity": 110}]
    assert await lane.breaches() == {}


async def test_presence(lane: Lane, designer: Client) -> None:
    await designer.put("/operators/anna", json={"capacity": 2})
    await lane.do(allocate("d1", 11, need("anna")), allocate("d2", 12, need("anna", hold="process")))
    await lane.outbox()
    assert (await designer.post("/operators/anna/presence", json={"status": "away"})).status_code == 403
    async with Client(lane, "operator", "bob") as bob:
        assert (await bob.post("/operators/anna/presence", json={"status": "away"})).status_code == 403
    async with Client(lane, "operator", "anna") as anna:
        away = await anna.post("/operators/anna/presence", json={"status": "away", "release": True})
        assert (away.status_code, away.json()["presence"]) == (200, "away")
        told = await lane.outbox()
        assert [(topic, key) for topic, key, type, _ in told if type == types.RELEASE_PROCESS] == [
            ("process-commands", "11")
        ]
        ReleaseProcess.model_validate(told[-1][3])
        assert (await anna.post("/operators/anna/presence", json={"status": "away"})).json() == away.json()
        assert await lane.outbox() == []
        await lane.do(gives(11, "all", version=9), allocate("d3", 13, need("anna")))
        assert [each["reason"] for each in await lane.told(types.RESOURCES_DENIED)] == ["out_of_service"]
        assert (await anna.post("/operators/anna/presence", json={"status": "available"})).status_code == 200
        await lane.do(allocate("d4", 14, need("anna")))
        assert len(await lane.told(types.RESOURCES_GRANTED)) == 1
        past = {"status": "break", "until": "2020-01-01T00:00:00Z"}
        assert (await anna.post("/operators/anna/presence", json=past)).status_code == 422
        assert (await anna.post("/operators/anna/presence", json={"status": "asleep"})).status_code == 422
    async with Client(lane, "admin") as admin:
        assert (await admin.post("/operators/none/presence", json={"status": "away"})).status_code == 404


async def test_a_definition_does_not_end_an_absence(lane: Lane, designer: Client) -> None:
    await designer.put("/operators/anna", json={})
    async with Client(lane, "admin") as admin:
        await admin.post("/operators/anna/presence", json={"status": "away"})
    changed = await designer.put("/operators/anna", json={"capacity": 3})
    assert (changed.json()["presence"], changed.json()["capacity"]) == ("away", 3)


async def test_an_absence_ends_by_time(lane: Lane) -> None:
    await lane.define(anna={}, bob={})
    soon = datetime.now(UTC) + timedelta(milliseconds=200)
    async with Client(lane, "admin") as admin:
        for id, until in (("anna", soon), ("bob", soon + timedelta(hours=1))):
            body = {"status": "break", "until": until.isoformat()}
            assert (await admin.post(f"/operators/{id}/presence", json=body)).json()["presence"] == "break"
        await lane.ask("end_absence", PresenceChange("anna"))
        assert (await admin.get("/operators/anna")).json()["presence"] == "break"
        await lane.rows("SELECT pg_sleep(0.25)")
        await lane.outbox()
        for id in ("anna", "bob", "anna", "none"):
            await lane.ask("end_absence", PresenceChange(id))
        assert (await admin.get("/operators/anna")).json()["presence"] == "available"
        assert (await admin.get("/operators/bob")).json()["presence"] == "break"
        assert len(await lane.told(types.RESOURCE_CHANGED)) == 2


async def test_calendars_are_kept_as_they_are(designer: Client) -> None:
    office = {
        "time_zone": "Europe/Amsterdam",
        "weekly": {"mon": [["09:00", "17:00"], ["18:00", "20:00", 2]], "fri": [["22:00", "06:00"]]},
        "exceptions": [{"date": "2026-12-24", "hours": [["09:00", "12:00"]], "note": "Christmas Eve"}],
        "holidays": "NL",
        "layers": ["company"],
    }
    await designer.put("/calendars/company", json={"time_zone": "UTC"})
    made = await designer.put("/calendars/office", json=office)
    assert (made.status_code, made.json()) == (201, {"id": "office", "version": 1, **office})
    assert (await designer.put("/calendars/office", json=office)).json()["version"] == 1
    changed = await designer.put("/calendars/office", json={**office, "holidays": "BE"}, headers={"if-match": '"1"'})
    assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
    assert (await designer.put("/calendars/office", json=office, headers={"if-match": '"1"'})).status_code == 412
    assert (await designer.get("/calendars/office")).json() == changed.json()
    items = (await designer.get("/calendars")).json()["items"]
    assert [each["id"] for each in items] == ["company", "office"]
    assert items[1] == changed.json()
    assert (await designer.get("/calendars/none")).status_code == 404


async def test_a_design_is_looked_at_and_applied(lane: Lane, designer: Client) -> None:
    design: dict[str, Any] = {
        "calendars": {"office": {"time_zone": "Europe/Amsterdam"}},
        "resources": {"room": ROOM, "paper": {"type": "paper", "kind": "consumable", "stock": 5}},
        "operators": {"anna": {"roles": ["clerk"]}, "bob": {}},
    }
    names = ["calendar/office", "resource/room", "resource/paper", "operator/anna", "operator/bob"]
    looked = await designer.post("/resources:check", json=design)
    assert (looked.status_code, looked.json()) == (200, {"created": names, "changed": [], "unchanged": []})
    assert await lane.rows("SELECT id FROM resource") == []
    assert (await designer.post("/resources:apply", json=design)).json() == looked.json()
    assert len(await lane.outbox()) == 8
    for path in (":check", ":apply"):
        same = await designer.post(f"/resources{path}", json=design)
        assert same.json() == {"created": [], "changed": [], "unchanged": names}
    assert await lane.outbox() == []
    design["operators"]["bob"] = {"capacity": 4}
    assert (await designer.post("/resources:apply", json=design)).json()["changed"] == ["operator/bob"]
    for section in ("calendars", "resources", "operators"):
        items = (await designer.get(f"/{section}")).json()["items"]
        fields = {"calendars": {"time_zone"}, "resources": {"type", "kind"}, "operators": {"roles", "capacity"}}[
            section
        ]
        assert {item["id"] for item in items} == set(design[section])
        for item in items:
            given = design[section][item["id"]]
            assert all(item[name] == given[name] for name in fields if name in given)


async def test_a_design_is_applied_whole_or_not_at_all(lane: Lane, designer: Client) -> None:
    await designer.put("/operators/anna", json={"capacity": 2})
    await lane.do(allocate("d1", 11, need("anna", units=2)))
    await lane.outbox()
    wrong = {
        "resources": {"room": ROOM, "desk": {"type": "desk", "stock": 1}, "bob": ROOM},
        "operators": {"bob": {}, "room": {"capacity": 1}},
    }
    for path in (":check", ":apply"):
        refused = await designer.post(f"/resources{path}", json=wrong)
        assert refused.status_code == 422
        pointers = [each["pointer"] for each in refused.json()["errors"]]
        assert pointers == ["/operators/bob", "/operators/room", "/resources/desk/stock"]
        held = await designer.post(f"/resources{path}", json={"operators": {"cleo": {}, "anna": {"capacity": 1}}})
        assert (held.status_code, held.json()["held_by"]) == (409, [{"pid": 11, "units": 2}])
        assert (await designer.post(f"/resources{path}", json={"rooms": {}})).status_code == 422
    assert await lane.outbox() == []
    assert [row["id"] for row in await lane.rows("SELECT id FROM resource")] == ["anna"]


async def test_who_may(lane: Lane, designer: Client) -> None:
    await designer.put("/operators/anna", json={})
    await designer.put("/resources/paper", json={"type": "paper", "kind": "consumable", "stock": 5})
    async with Client(lane, "viewer") as viewer, Client(lane, "integrator") as integrator:
        for method, path, body in (
            ("PUT", "/resources/r", ROOM),
            ("PUT", "/operators/bob", {}),
            ("PUT", "/calendars/c", {"time_zone": "UTC"}),
            ("DELETE", "/operators/anna", None),
            ("POST", "/resources:check", {}),
            ("POST", "/resources:apply", {}),
            ("POST", "/resources/paper/stock", {"delta": 1}),
            ("POST", "/operators/anna/presence", {"status": "away"}),
        ):
            assert (await viewer.request(method, path, json=body)).status_code == 403, path
        for path in (
            "/resources",
            "/operators",
            "/operators/anna",
            "/resources/anna/status",
            "/allocations",
            "/calendars",
        ):
            assert (await viewer.get(path)).status_code == 200, path
        assert (await integrator.post("/resources/paper/stock", json={"delta": 1})).status_code == 200


async def test_a_tenant_sees_only_itself(lane: Lane, designer: Client) -> None:
    await designer.put("/operators/anna", json={"roles": ["clerk"]})
    await designer.put("/calendars/c", json={"time_zone": "UTC"})
    await lane.do(allocate("d1", 1, need("anna")))
    designer.headers["x-kernel-tenant"] = "other"
    for path in ("/operators/anna", "/resources/anna", "/resources/anna/status", "/calendars/c"):
        assert (await designer.get(path)).status_code == 404
    for path in ("/operators", "/allocations", "/calendars"):
        assert (await designer.get(path)).json()["items"] == []
    assert (await designer.put("/operators/anna", json={})).status_code == 201
    assert (await designer.delete("/operators/anna")).status_code == 204


async def test_who_holds_what(lane: Lane, designer: Client) -> None:
    await lane.define(anna={"capacity": 3}, room={"type": "room", "capacity": 3})
    for pid in (1, 2, 3):
        await lane.do(allocate(f"d{pid}", pid, need("anna"), need("room", type="room")))
    await lane.do(gives(2, "all", version=9))

    async def listed(**params: Any) -> list[tuple[int, str]]:
        answer = await designer.get("/allocations", params=params)
        assert answer.status_code == 200, answer.text
        return [(each["pid"], each["resource"]) for each in answer.json()["items"]]

    assert await listed() == [(3, "room"), (2, "room"), (1, "room"), (3, "anna"), (2, "anna"), (1, "anna")]
    assert await listed(active="true", resource="anna") == [(3, "anna"), (1, "anna")]
    assert await listed(pid=2) == await listed(process=2) == [(2, "room"), (2, "anna")]
    assert await listed(pid=2, active="true") == []
    assert await listed(at=datetime.now(UTC).isoformat(), resource="room") == [(3, "room"), (1, "room")]
    first = (await designer.get("/allocations", params={"limit": 4, "count": "true"})).json()
    rest = (await designer.get("/allocations", params={"limit": 4, "cursor": first["next"]})).json()
    assert (len(first["items"]), first["total"], len(rest["items"]), rest["next"]) == (4, 6, 2, None)
    assert rest["items"][0] | {"granted_at": None} == {
        "resource": "anna",
        "type": "operator",
        "pid": 2,
        "process_version": 2,
        "dispatch_id": "d2",
        "units": 1,
        "hold": "running",
        "granted_at": None,
        "released_at": rest["items"][0]["released_at"],
        "active": False,
        "used_up": False,
    }
    for bad in ({"pid": "x"}, {"at": "noon"}, {"active": "maybe"}, {"cursor": "WzFd"}):
        assert (await designer.get("/allocations", params=bad)).status_code == 422


async def test_the_same_key_counts_once(lane: Lane, designer: Client) -> None:
    await designer.put("/resources/paper", json={"type": "paper", "kind": "consumable", "stock": 5})
    for _ in range(2):
        answer = await designer.post("/resources/paper/stock", json={"delta": 10}, headers={"idempotency-key": "k1"})
        assert answer.json()["stock"] == 15
    other = await designer.post("/resources/paper/stock", json={"delta": 11}, headers={"idempotency-key": "k1"})
    assert other.status_code == 422


async def test_use_at_a_time_past_is_read_from_the_ledger(lane: Lane, designer: Client) -> None:
    moments = [datetime.now(UTC)]

    async def pass_by() -> None:
        await lane.rows("SELECT pg_sleep(0.01)")
        moments.append(datetime.now(UTC))
        await lane.rows("SELECT pg_sleep(0.01)")

    await designer.put("/operators/anna", json={"capacity": 2, "roles": ["clerk"], "skills": ["x"]})
    await designer.put("/resources/paper", json={"type": "paper", "kind": "consumable", "stock": 5})
    await pass_by()
    await lane.do(allocate("d1", 1, need("anna"), need("paper", type="paper", units=3)))
    await pass_by()
    await designer.put("/operators/anna", json={"capacity": 4})
    await lane.do(gives(1, "all", version=9))
    await pass_by()
    await designer.delete("/operators/anna")
    await pass_by()

    async def at(id: str, moment: datetime) -> tuple[int, int] | int:
        answer = await designer.get(f"/resources/{id}/status", params={"at": moment.isoformat()})
        if answer.status_code != 200:
            return answer.status_code
        return answer.json()["current_usage"], answer.json()["capacity"]

    assert [await at("anna", moment) for moment in moments] == [404, (0, 2), (1, 2), (0, 4), 404]
    assert [await at("paper", moment) for moment in moments] == [404, (0, 5), (3, 5), (3, 5), (3, 5)]
    assert await at("paper", datetime.now(UTC) + timedelta(days=1)) == (3, 5)
    for never in ("noon", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"):
        for path in ("/resources/paper/status", "/allocations"):
            assert (await designer.get(path, params={"at": never})).status_code == 422, never


async def test_the_lock_of_an_entity_is_nobodys_to_define(lane: Lane, designer: Client) -> None:
    await lane.do(allocate("d1", 1, need(type="entity", resource="entity:permit:7", hold="process")))
    assert (await designer.put("/resources/entity:permit:7", json=ROOM)).status_code == 422
    assert (await designer.delete("/resources/entity:permit:7")).status_code == 409
    assert (await designer.get("/resources")).json()["items"] == []
    locks = (await designer.get("/resources", params={"type": "entity"})).json()["items"]
    assert [(each["id"], each["used"]) for each in locks] == [("entity:permit:7", 1)]
    await lane.do(allocate("d2", 2, need(type="entity", resource="no-lock", hold="process")))
    assert [each["reason"] for each in await lane.told(types.RESOURCES_DENIED)] == ["unknown_resource"]
