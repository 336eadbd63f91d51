"""The HTTP door: definitions, events in all three modes, trials, roles, and errors that say where."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson
import pytest
import pytest_asyncio
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from kernel_contracts import message_types as types
from kernel_runtime.http import application
from kernel_testing import databases
from kernel_testing.plugin import TemplateDatabase
from rules_svc.http import routes

from .lane import Lane, lane, sent
from .pcb import pcb

START = {"do": "start", "service": "approve", "entity": "=entity", "context": {"amount": "=event.data.amount"}}
RULE = {"event": {"type": "order.placed"}, "when": "event.data.amount > 10", "instructions": [START]}
EVENT = {
    "specversion": "1.0",
    "id": "1",
    "source": "/shop",
    "type": "order.placed",
    "subject": "order/7",
    "data": {"amount": 12},
}


class Client:
    """Calls the door as the gateway does."""

    def __init__(self, http: httpx.AsyncClient, lane: Lane) -> None:
        self._http = http
        self.lane = lane

    async def __call__(
        self, method: str, path: str, body: Any = None, *, roles: str = "admin", tenant: str = "main", **headers: str
    ) -> httpx.Response:
        raw = body if isinstance(body, bytes | None) else orjson.dumps(body)
        own = {
            "x-kernel-token": "secret",
            "x-kernel-tenant": tenant,
            "x-kernel-principal": "ada",
            "x-kernel-roles": roles,
        }
        given = {"content-type": "application/json"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        return await self._http.request(method, path, content=raw, headers=own | given)


@contextlib.asynccontextmanager
async def door(dsn: str) -> AsyncIterator[Client]:
    async with lane(dsn) as one:
        app = application(routes(one.pipeline, one.database, one.memory), internal_token="secret")
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://rules") as http:
            yield Client(http, one)


@pytest_asyncio.fixture
async def call(database: str) -> AsyncIterator[Client]:
    async with door(database) as client:
        yield client


@pytest_asyncio.fixture(scope="module")
async def refusing(postgres_server: str, template_database: TemplateDatabase) -> AsyncIterator[Client]:
    """One for all tests that leave nothing behind."""
    dsn = await databases.clone(postgres_server, await template_database("rules_svc"), "rules_svc")
    async with door(dsn) as client:
        yield client
    await databases.drop(postgres_server, urlsplit(dsn).path.removeprefix("/"))


async def test_a_rule_has_versions(call: Client) -> None:
    first = await call("PUT", "/v1/rules/large", RULE)
    assert (first.status_code, first.headers["etag"]) == (201, '"1"')
    same = await call("PUT", "/v1/rules/large", {**RULE, "enabled": True, "order": 0, "parameters": {}})
    assert (same.status_code, same.json()["version"]) == (200, 1)
    changed = await call("PUT", "/v1/rules/large", {**RULE, "order": 3}, if_match='"1"')
    assert (changed.status_code, changed.json()["version"]) == (200, 2)
    stale = await call("PUT", "/v1/rules/large", RULE, if_match='"1"')
    assert stale.status_code == 412
    shown = (await call("GET", "/v1/rules/large")).json()
    assert {name: shown[name] for name in RULE} == RULE
    assert (shown["name"], shown["order"], shown["enabled"], shown["updated_by"]) == ("large", 3, True, "ada")
    assert (await call("GET", "/v1/rules/large", tenant="other")).status_code == 404
    assert (await call("DELETE", "/v1/rules/large", if_match='"2"')).status_code == 204
    assert (await call("DELETE", "/v1/rules/large")).status_code == 404
    assert (await call("GET", "/v1/rules/large")).status_code == 404
    assert (await call("PUT", "/v1/rules/large", RULE)).json()["version"] == 4


async def test_lists_are_paged(call: Client) -> None:
    for n in range(5):
        await call("PUT", f"/v1/rules/r{n}", RULE)
        await call("PUT", f"/v1/event-types/t{n}", {"owner": "shop"})
    page = (await call("GET", "/v1/rules?limit=2&count=true")).json()
    assert ([rule["name"] for rule in page["items"]], page["total"]) == (["r0", "r1"], 5)
    page = (await call("GET", f"/v1/rules?limit=3&cursor={page['next']}")).json()
    assert ([rule["name"] for rule in page["items"]], page["next"]) == (["r2", "r3", "r4"], None)
    kinds = (await call("GET", "/v1/event-types?limit=500")).json()["items"]
    assert [(kind["type"], kind["owner"]) for kind in kinds] == [(f"t{n}", "shop") for n in range(5)]
    for query in ("limit=0", "limit=501", "limit=x", "cursor=%00", "cursor=~~"):
        assert (await call("GET", f"/v1/rules?{query}")).status_code == 422


@pytest.mark.parametrize(
    ("change", "pointer", "message"),
    [
        ({"when": "event.data.amount >"}, "/when", "line 1, column 20"),
        ({"when": "1 + 1"}, "/when", "boolean"),
        ({"event": {}}, "/event/type", "required"),
        ({"event": {"type": "a/b"}}, "/event/type", "pattern"),
        ({"surprise": 1}, "/surprise", "not permitted"),
        ({"instructions": []}, "/instructions", "at least 1"),
        ({"instructions": [{"do": "format_disk"}]}, "/instructions/0", "expected tags"),
        ({"instructions": [{"do": "start"}]}, "/instructions/0/service", "required"),
        ({"instructions": [START, {"do": "start", "service": "s", "foo": 1}]}, "/instructions/1/foo", "not permitted"),
        ({"instructions": [{**START, "priority": 101}]}, "/instructions/0/priority", "100"),
        (
            {"instructions": [{**START, "context": {"a": {"b": ["=1 +"]}}}]},
            "/instructions/0/context/a/b/0",
            "line 1, column 4",
        ),
        ({"instructions": [{**START, "entity": {"type": "=x y", "id": "1"}}]}, "/instructions/0/entity/type", "line 1"),
        ({"instructions": [{"do": "suspend"}]}, "/instructions/0/pid", "no process"),
        ({"instructions": [{"do": "prioritize", "pid": 1}]}, "/instructions/0/priority", "required"),
        ({"instructions": [{"do": "emit", "type": "kernel.process.ready.v1"}]}, "/instructions/0/type", "own"),
        ({"parameters": {"x": "y" * 70_000}}, "/parameters", "bytes"),
    ],
)
async def test_a_rule_that_is_wrong_says_where(refusing: Client, change: Any, pointer: str, message: str) -> None:
    answer = await refusing("PUT", "/v1/rules/bad", RULE | change)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    error = answer.json()["errors"][0]
    assert error["pointer"] == pointer
    assert message in error["message"]
    assert (await refusing("GET", "/v1/rules/bad")).status_code == 404


@pytest.mark.parametrize(
    ("definition", "pointer"),
    [
        ({"schema": {"type": "no such type"}}, "/schema"),
        ({"schema": {"$ref": "http://example.invalid/schema"}}, "/schema"),
        ({"schema": {"pattern": "(?<=a)b"}}, "/schema"),
        ({"schema": []}, "/schema"),
        ({"key": "event.subject"}, "/key"),
        ({"key": "=event."}, "/key"),
        ({"what": 1}, "/what"),
    ],
)
async def test_an_event_type_that_is_wrong_says_where(refusing: Client, definition: Any, pointer: str) -> None:
    answer = await refusing("PUT", "/v1/event-types/bad", definition)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer


async def test_an_event_type_of_the_kernel_is_not_for_others_to_define(refusing: Client) -> None:
    assert (await refusing("PUT", f"/v1/event-types/{types.PROCESS_READY}", {})).status_code == 422


async def test_an_event_counts_once_in_whichever_mode_it_comes(call: Client) -> None:
    await call("PUT", "/v1/rules/large", RULE)
    attributes = {name: value for name, value in EVENT.items() if name != "data"}
    event = CloudEvent(attributes=attributes, data=EVENT["data"])  # type: ignore[arg-type]
    structured, binary = to_structured_event(event), to_binary_event(event)
    plain = await call("POST", "/v1/events", EVENT)
    assert (plain.status_code, plain.json()) == (
        202,
        {"id": "1", "source": "/shop", "type": "order.placed", "duplicate": False, "fired": ["large"]},
    )
    for message in (structured, binary):
        headers = {name.replace("-", "_"): value for name, value in message.headers.items()}
        again = await call("POST", "/v1/events", message.body, **headers)
        assert (again.status_code, again.json()["duplicate"]) == (202, True), again.text
    batch = [EVENT, {**EVENT, "id": "2"}, {**EVENT, "id": "2"}, {**EVENT, "id": "3", "data": {"amount": 1}}]
    answer = await call("POST", "/v1/events", batch, content_type="application/cloudevents-batch+json")
    assert answer.json()["accepted"] == 4
    assert [item["duplicate"] for item in answer.json()["items"]] == [True, False, True, False]
    commands = await sent(call.lane.settings.database_url.get_secret_value(), "process-commands")
    assert len(commands) == 2
    assert {command["body"]["entity"]["id"] for command in commands} == {"7"}


async def test_binary_mode_sees_extensions_text_and_bytes(call: Client) -> None:
    emit = {
        "do": "emit",
        "type": "seen",
        "data": {"data": "=event.data", "region": "=event.region", "raw": "=has(event.data_base64)"},
    }
    await call("PUT", "/v1/rules/see", {"event": {"type": "t"}, "instructions": [emit]})
    own = {"ce_specversion": "1.0", "ce_source": "/s", "ce_type": "t", "ce_region": "n%C3%B6rd"}
    assert (await call("POST", "/v1/events", b"hello", ce_id="1", content_type="text/plain", **own)).status_code == 202
    assert (
        await call("POST", "/v1/events", b"\xff\x00", ce_id="2", content_type="image/png", **own)
    ).status_code == 202
    seen = await sent(call.lane.settings.database_url.get_secret_value(), "business-events")
    assert [each["body"] for each in seen] == [
        {"data": "hello", "region": "nörd", "raw": False},
        {"data": None, "region": "nörd", "raw": True},
    ]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/specversion"),
        ({**EVENT, "specversion": "0.3"}, "/specversion"),
        ({**EVENT, "id": ""}, "/id"),
        ({**EVENT, "id": 7}, "/id"),
        ({**EVENT, "id": "a\x01b"}, "/id"),
        ({**EVENT, "id": "x" * 600}, "/id"),
        ({**EVENT, "source": None}, "/source"),
        ({**EVENT, "time": "noon"}, "/time"),
        ({**EVENT, "time": "2026-11-25T12:00:00"}, "/time"),
        ({**EVENT, "time": "2026-13-25T12:00:00Z"}, "/time"),
        ({**EVENT, "type": "a/b"}, "/type"),
        ({**EVENT, "type": "kernel.process.ready.v1"}, "/type"),
        ({**EVENT, "source": "/kernel/rules-svc/r"}, "/source"),
        ({**EVENT, "Region": "x"}, "/Region"),
        ({**EVENT, "region": {"a": 1}}, "/region"),
        ({**EVENT, "data_base64": "AAA="}, "/data_base64"),
        ({**EVENT, "data": {"x": "y" * 300_000}}, "/data"),
        ([EVENT, {**EVENT, "id": "2", "time": "x"}], "/1/time"),
        ([EVENT, 7], "/1"),
    ],
)
async def test_what_is_no_cloudevent_is_refused_with_a_pointer(refusing: Client, body: Any, pointer: str) -> None:
    answer = await refusing("POST", "/v1/events", body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert (await refusing("GET", "/v1/events?source=/shop&id=1")).status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 422), (b"{", 422), (b"[]", 422), (b'"x"', 422), (b"[" * 100, 422), (b'{"a": 1e999}', 422)],
)
async def test_malformed_bodies(refusing: Client, body: bytes, status: int) -> None:
    assert (await refusing("POST", "/v1/events", body)).status_code in (400, status)


async def test_one_event_that_does_not_fit_spoils_its_batch(call: Client) -> None:
    await call("PUT", "/v1/event-types/order.placed", {"schema": {"required": ["amount"]}})
    answer = await call("POST", "/v1/events", [EVENT, {**EVENT, "id": "2", "data": {}}])
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/1/data"
    assert (await call("GET", "/v1/events?source=/shop&id=1")).status_code == 404


async def test_an_idempotency_key_gives_the_same_answer(call: Client) -> None:
    first = await call("POST", "/v1/events", EVENT, idempotency_key="k")
    again = await call("POST", "/v1/events", EVENT, idempotency_key="k")
    assert first.json() == again.json()
    assert (await call("POST", "/v1/events", {**EVENT, "id": "2"}, idempotency_key="k")).status_code == 422


async def test_a_chain_from_outside_keeps_its_depth_and_its_tenant_is_the_callers(call: Client) -> None:
    await call("PUT", "/v1/rules/large", RULE)
    await call("POST", "/v1/events", {**EVENT, "depth": 10, "correlationid": "chain", "tenant": "other"})
    [command] = await sent(call.lane.settings.database_url.get_secret_value(), "process-commands")
    headers = command["headers"]
    assert (headers["ce_depth"], headers["ce_correlationid"], headers["ce_tenant"]) == ("11", "chain", "main")
    stopped = await call("POST", "/v1/events", {**EVENT, "id": "2", "depth": 64})
    assert stopped.json()["fired"] == []
    assert (await call("GET", "/v1/events?source=/shop&id=2")).json()["stopped"] == ["large"]


@pytest.mark.parametrize(
    ("event", "extra", "result", "fired"),
    [
        (EVENT, {}, "fired", True),
        ({"type": "order.placed", "data": {"amount": 11}}, {}, "fired", True),
        ({"type": "order.placed", "data": {"amount": 1}}, {}, "not_fired", False),
        ({"type": "other"}, {}, "not_matched", False),
        ({"type": "order.placed"}, {}, "failed", False),
    ],
)
async def test_a_trial_does_nothing(refusing: Client, event: Any, extra: Any, result: str, fired: bool) -> None:
    answer = (await refusing("POST", "/v1/rules:test", {"event": event, "rule": RULE, **extra})).json()
    assert (answer["result"], answer["fired"]) == (result, fired)
    if fired:
        assert answer["instructions"][0]["context"]["amount"] == event["data"]["amount"]
    assert await sent(refusing.lane.settings.database_url.get_secret_value(), "process-commands") == []


async def test_a_trial_on_a_process(call: Client) -> None:
    rule = {
        "event": {"type": "kernel.process.*"},
        "when": "process.state == 'READY'",
        "instructions": [{"do": "suspend"}],
    }
    await call("PUT", "/v1/rules/halt", rule)
    body = {"name": "halt", "event": {"type": types.PROCESS_READY}, "process": pcb(7, 2, "READY")}
    answer = (await call("POST", "/v1/rules:test", body)).json()
    assert answer["instructions"] == [{"do": "suspend", "pid": 7}]
    for wrong in ({"event": EVENT}, {"event": EVENT, "name": "a", "rule": RULE}, {"event": {}, "rule": RULE}):
        assert (await call("POST", "/v1/rules:test", wrong)).status_code == 422
    assert (await call("POST", "/v1/rules:test", {"event": EVENT, "name": "none"})).status_code == 404


async def test_a_design_is_applied_whole_or_not_at_all(call: Client) -> None:
    design = {"rules": {"a": RULE, "b": RULE}, "event_types": {"order.placed": {"owner": "shop"}}}
    checked = (await call("POST", "/v1/rules:check", design)).json()
    assert checked["created"] == ["rule/a", "rule/b", "event_type/order.placed"]
    assert (await call("GET", "/v1/rules")).json()["items"] == []
    assert (await call("POST", "/v1/rules:apply", design)).json() == checked
    design["rules"] = {"b": {**RULE, "order": 1}, "c": RULE}
    applied = (await call("POST", "/v1/rules:apply", {**design, "prune": True})).json()
    assert applied == {
        "created": ["rule/c"],
        "changed": ["rule/b"],
        "unchanged": ["event_type/order.placed"],
        "deleted": ["rule/a"],
    }
    design["rules"] = {"ok": RULE, "bad/name": RULE, "bad": {**RULE, "when": "1 +"}}
    assert (await call("POST", "/v1/rules:apply", design)).status_code == 422
    del design["rules"]["bad/name"]
    refused = await call("POST", "/v1/rules:apply", design)
    assert refused.json()["errors"][0]["pointer"] == "/rules/bad/when"
    assert (await call("GET", "/v1/rules/ok")).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "may"),
    [
        ("PUT", "/v1/rules/r", RULE, {"designer", "admin"}),
        ("DELETE", "/v1/rules/none", None, {"designer", "admin"}),
        ("PUT", "/v1/event-types/t", {}, {"designer", "admin"}),
        ("POST", "/v1/rules:apply", {}, {"designer", "admin"}),
        ("POST", "/v1/rules:check", {}, {"designer", "admin"}),
        ("POST", "/v1/rules:test", {"event": EVENT, "rule": RULE}, {"designer", "admin"}),
        ("POST", "/v1/events", EVENT, {"integrator", "operator", "admin"}),
        ("GET", "/v1/rules", None, {"viewer", "operator", "integrator", "designer", "admin"}),
        ("GET", "/v1/events?source=/x&id=1", None, {"viewer", "operator", "integrator", "designer", "admin"}),
    ],
)
async def test_who_may(call: Client, method: str, path: str, body: Any, may: set[str]) -> None:
    for role in ("viewer", "operator", "integrator", "designer", "admin"):
        answer = await call(method, path, body, roles=role)
        assert (answer.status_code != 403) is (role in may), (role, answer.text)


async def test_firings_are_paged_and_filtered(call: Client) -> None:
    await call("PUT", "/v1/rules/large", RULE)
    for n in range(5):
        await call("POST", "/v1/events", {**EVENT, "id": f"{n}", "data": {"amount": 20} if n else {}})
    page = (await call("GET", "/v1/rules/large/firings?limit=3&count=true")).json()
    assert ([each["event_id"] for each in page["items"]], page["total"]) == (["4", "3", "2"], 5)
    page = (await call("GET", f"/v1/rules/large/firings?limit=3&cursor={page['next']}")).json()
    assert [(each["event_id"], each["result"]) for each in page["items"]] == [("1", "fired"), ("0", "failed")]
    failed = (await call("GET", "/v1/rules/large/firings?result=failed")).json()["items"]
    assert "amount" in failed[0]["detail"]
    assert (await call("GET", "/v1/rules/none/firings")).status_code == 404
