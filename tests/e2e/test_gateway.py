"""The public face on the whole installation: what it answers is what it documents, and the stream goes on anywhere."""

import asyncio
import json
import re
import uuid
from typing import Any

import aiohttp
import jsonschema_rs
import pytest
from kernel_platform.issuer import mint

from .installation import Installation

PREFIX = "face"
DESIGN = {
    "services": {
        f"{PREFIX}-assess": {"roles": [PREFIX], "entity_type": "permit"},
        f"{PREFIX}-decide": {"roles": [PREFIX]},
    },
    "calendars": {f"{PREFIX}-office": {"time_zone": "Europe/Amsterdam", "weekly": {"mon": [["09:00", "17:00"]]}}},
    "operators": {f"{PREFIX}-anna": {"roles": [PREFIX]}},
    "resources": {
        f"{PREFIX}-room": {"type": f"{PREFIX}-room"},
        f"{PREFIX}-paper": {"type": "paper", "kind": "consumable", "stock": 9},
    },
    "queues": {f"{PREFIX}-queue": {"paused": False}},
    "rules": {
        f"{PREFIX}-next": {
            "event": {"type": "kernel.process.terminated.v1"},
            "when": f"process.service == '{PREFIX}-assess' && process.outcome == 'completed'",
            "instructions": [{"do": "start", "service": f"{PREFIX}-decide", "entity": "=entity"}],
        }
    },
    "event_types": {f"{PREFIX}.paid": {"schema": {"type": "object", "required": ["amount"]}}},
}


class Face:
    """Calls, and holds every answer against the document that the gateway itself serves."""

    def __init__(self, installation: Installation, http: aiohttp.ClientSession, document: Any) -> None:
        self.installation = installation
        self.http = http
        self.url = installation.gateway
        self._document = document
        self._paths = [(re.compile(re.sub(r"{\w+}", "[^/]+", path)), path) for path in document["paths"]]

    def bearer(self, *roles: str, **claims: Any) -> dict[str, str]:
        return {"authorization": f"Bearer {mint(self.installation.home, roles or ['admin'], **claims)}"}

    async def __call__(
        self, method: str, path: str, body: Any = None, *, expect: int = 200, headers: dict[str, str] | None = None
    ) -> Any:
        given = {**self.bearer(), **(headers or {})}
        async with self.http.request(method, self.url + path, json=body, headers=given) as answer:
            raw = await answer.read()
            assert answer.status == expect, (method, path, answer.status, raw)
            self._check(method, path, answer.status, answer.content_type, raw)
            return json.loads(raw) if raw else None

    def _check(self, method: str, path: str, status: int, kind: str, raw: bytes) -> None:
        where = next(name for pattern, name in self._paths if pattern.fullmatch(path.partition("?")[0]))
        told = self._document["paths"][where][method.lower()]["responses"][str(status)]
        if "$ref" in told:
            told = self._document["components"]["responses"][str(status)]
        if not raw:
            return
        schema = {**told["content"][kind]["schema"], "components": self._document["components"]}
        jsonschema_rs.Draft202012Validator(schema).validate(json.loads(raw))


@pytest.fixture
async def face(installation: Installation) -> Any:
    async with aiohttp.ClientSession() as http, http.get(f"{installation.gateway}/openapi.json") as answer:
        yield Face(installation, http, await answer.json())


async def _state(face: Face, pid: int, state: str) -> Any:
    for _ in range(300):
        process = await face("GET", f"/v1/processes/{pid}")
        if process["state"] == state:
            return process
        await asyncio.sleep(0.05)
    raise AssertionError(f"process {pid} is {process['state']}, not {state}")


async def test_a_design_goes_in_and_comes_back(face: Face) -> None:
    await face("POST", "/v1/design:apply?dry_run=true", DESIGN)
    key = {"idempotency-key": uuid.uuid4().hex}
    first = await face("POST", "/v1/design:apply", DESIGN, headers=key)
    assert await face("POST", "/v1/design:apply", DESIGN, headers=key) == first
    back = await face("GET", "/v1/design")
    for section, content in DESIGN.items():
        for name in content:
            assert name in back[section], (section, name)
    again = await face("POST", "/v1/design:apply", back)
    assert (again["created"], again["changed"]) == ([], [])
    wrong = {
        "services": {f"{PREFIX}-new": {}, f"{PREFIX}-bad": {"kind": "x"}},
        "rules": {
            f"{PREFIX}-bad": {"event": {"type": "x"}, "when": "1 +", "instructions": [{"do": "emit", "type": "y"}]}
        },
        "operators": {f"{PREFIX}-bad": {"capacity": -1}},
        "queues": {f"{PREFIX}-bad": {"policy": "astrology"}},
    }
    problem = await face("POST", "/v1/design:apply", wrong, expect=422)
    sections = {error["pointer"].split("/")[1] for error in problem["errors"]}
    assert sections == set(wrong), problem
    await face("GET", f"/v1/services/{PREFIX}-new", expect=404)


async def test_a_case_by_way_of_every_address(face: Face) -> None:
    await face("POST", "/v1/design:apply", DESIGN)
    entity = {"type": "permit", "id": uuid.uuid4().hex}
    anna = face.bearer("operator", operator=f"{PREFIX}-anna")
    made = await face(
        "POST", "/v1/processes", {"service": f"{PREFIX}-assess", "entity": entity, "key": entity["id"]}, expect=201
    )
    same = await face("POST", "/v1/processes", {"service": f"{PREFIX}-assess", "entity": entity, "key": entity["id"]})
    pid = made["pid"]
    assert same["pid"] == pid
    running = await _state(face, pid, "RUNNING")
    assert running["operator"] == f"{PREFIX}-anna"
    tasks = await face("GET", f"/v1/operators/{PREFIX}-anna/tasks", headers=anna)
    assert pid in [task["pid"] for task in tasks["items"]]
    services = await face("GET", f"/v1/operators/{PREFIX}-anna/services", headers=anna)
    assert {f"{PREFIX}-assess", f"{PREFIX}-decide"} <= {service["name"] for service in services["items"]}
    await face("PATCH", f"/v1/processes/{pid}/context", {"fee": 120}, headers=anna)
    bob = face.bearer("operator", operator=f"{PREFIX}-bob")
    await face("POST", f"/v1/processes/{pid}/complete", {}, expect=403, headers=bob)
    await face("POST", f"/v1/processes/{pid}/complete", {}, expect=412, headers=anna | {"if-match": '"1"'})
    await face("POST", f"/v1/processes/{pid}/complete", {"output": {"granted": True}}, headers=anna)
    await face("POST", f"/v1/processes/{pid}/complete", {}, expect=409, headers=anna)
    for path in ("", "/history", "/tree", "/snapshots", "/snapshots/1", "/why", "/verify"):
        await face("GET", f"/v1/processes/{pid}{path}")
    for _ in range(200):
        found = await face("GET", f"/v1/processes?entity_id={entity['id']}&count=true")
        if found["total"] == 2:
            break
        await asyncio.sleep(0.05)
    assert [process["service"] for process in found["items"]] == [f"{PREFIX}-assess", f"{PREFIX}-decide"]
    await _state(face, found["items"][1]["pid"], "RUNNING")
    waiting = await face("POST", "/v1/processes", {"service": f"{PREFIX}-decide"}, expect=201)
    for _ in range(100):
        why = await face("GET", f"/v1/processes/{waiting['pid']}/why")
        if why["blockers"]:
            break
        await asyncio.sleep(0.05)
    assert why["blockers"][0]["free"] == 0, why
    await face("POST", f"/v1/processes/{found['items'][1]['pid']}/complete", {})
    await face("POST", f"/v1/processes/{waiting['pid']}/cancel", {"reason": "enough"})
    await face("POST", "/v1/verify")
    hold = await face("POST", "/v1/holds", {"pid": pid, "reason": "a case"}, expect=201)
    await face("GET", f"/v1/holds/{hold['id']}")
    await face("DELETE", f"/v1/holds/{hold['id']}")
    for path in (
        "/v1/processes?state=READY,RUNNING&limit=2",
        "/v1/incidents",
        "/v1/services",
        f"/v1/services/{PREFIX}-assess",
        "/v1/calendars",
        f"/v1/calendars/{PREFIX}-office",
        f"/v1/calendars/{PREFIX}-office/windows?from=2027-03-01T00:00:00Z&to=2027-03-31T00:00:00Z",
        "/v1/resources",
        f"/v1/resources/{PREFIX}-paper",
        f"/v1/resources/{PREFIX}-room/status",
        f"/v1/resources/{PREFIX}-room/availability?from=2027-03-01T00:00:00Z&to=2027-03-31T00:00:00Z",
        "/v1/allocations",
        "/v1/operators",
        f"/v1/operators/{PREFIX}-anna",
        "/v1/queues",
        f"/v1/queues/{PREFIX}-queue",
        "/v1/rules",
        f"/v1/rules/{PREFIX}-next",
        f"/v1/rules/{PREFIX}-next/firings",
        "/v1/event-types",
        f"/v1/event-types/{PREFIX}.paid",
        "/v1/dead-letters",
        "/v1/checkpoints",
        "/v1/holds",
        "/v1/retention",
        "/v1/me",
    ):
        await face("GET", path)


async def test_batches_events_and_trials(face: Face) -> None:
    await face("POST", "/v1/design:apply", DESIGN)
    batch = {"items": [{"service": f"{PREFIX}-decide"}, {"service": "no such service"}, {"surprise": 1}]}
    items = (await face("POST", "/v1/processes:batch", batch))["items"]
    assert items[0]["status"] == 201
    assert all(400 <= item["status"] < 500 for item in items[1:])
    commands = {
        "items": [{"pid": items[0]["process"]["pid"], "command": "cancel"}, {"pid": 987_654_321, "command": "cancel"}]
    }
    done = (await face("POST", "/v1/processes:commands", commands))["items"]
    assert [item["status"] for item in done] == [200, 404]
    event = {
        "specversion": "1.0",
        "id": uuid.uuid4().hex,
        "source": "/face",
        "type": f"{PREFIX}.paid",
        "data": {"amount": 3},
    }
    await face("POST", "/v1/events", event, expect=202)
    await face("POST", "/v1/events", event, expect=202)
    await face("POST", "/v1/events", {**event, "id": "x", "data": {}}, expect=422)
    await face("GET", f"/v1/events?source=/face&id={event['id']}")
    await face("POST", "/v1/rules:test", {"event": event, "name": f"{PREFIX}-next"})
    await face("POST", f"/v1/resources/{PREFIX}-paper/stock", {"delta": 5, "reason": "delivery"})
    for status in ("break", "available"):
        anna = face.bearer("operator", operator=f"{PREFIX}-anna")
        await face("POST", f"/v1/operators/{PREFIX}-anna/presence", {"status": status}, headers=anna)


async def _job(face: Face, started: Any) -> tuple[Any, list[Any]]:
    """A bulk job once it has ended, and its items."""
    for _ in range(400):
        job = await face("GET", f"/v1/jobs/{started['id']}")
        if job["ended_at"] is not None:
            return job, (await face("GET", f"/v1/jobs/{job['id']}/items?count=true"))["items"]
        await asyncio.sleep(0.05)
    raise AssertionError(f"has not ended: {job}")


async def test_bulk_and_searches(face: Face) -> None:
    service, mark = f"{PREFIX}-bulk", uuid.uuid4().hex
    await face("PUT", f"/v1/services/{service}", {"roles": ["nobody"], "title": "Heaps", "indexed": ["n"]}, expect=201)
    items = [{"service": service, "context": {"n": n % 3}, "key": f"{mark}-{n}"} for n in range(30)]
    await face("POST", "/v1/processes:batch", {"items": items})
    found = await face("GET", f"/v1/processes?q={mark}&service={service}&context.n=2&sort=-created_at&count=true")
    assert found["total"] == 10
    asked = {"filter": {"service": service, "context.n": 2}, "command": "cancel", "body": {"reason": "enough"}}
    for dry_run, left in ((True, 30), (False, 20)):
        started = await face("POST", "/v1/processes:bulk", asked | {"dry_run": dry_run}, expect=202)
        job, each = await _job(face, started)
        assert (job["total"], job["done"], job["failed"], len(each)) == (10, 10, 0, 10)
        assert (await face("GET", f"/v1/processes?service={service}&not_state=TERMINATED&count=true"))["total"] == left
    await face("PUT", f"/v1/services/{service}", {"roles": ["nobody"], "indexed": ["n"], "priority": 60})
    migration = {"service": service, "from": 1, "to": 2, "context_patch": {"moved": True}, "dry_run": True}
    job, each = await _job(face, await face("POST", "/v1/processes:migrate", migration, expect=202))
    assert (job["done"], each[0]["change"]["changes"]["service_version"]) == (20, [1, 2])
    job, _ = await _job(face, await face("POST", "/v1/processes:migrate", migration | {"dry_run": False}, expect=202))
    pid = (await face("GET", f"/v1/processes?service={service}&service_version=2"))["items"][0]["pid"]
    assert (await face("GET", f"/v1/processes/{pid}?min_version=3"))["context"]["moved"]
    resolve = {"filter": {"service": service}, "action": "retry"}
    job, each = await _job(face, await face("POST", "/v1/incidents:resolve", resolve, expect=202))
    assert (job["state"], each) == ("completed", [])
    await face("POST", f"/v1/jobs/{job['id']}/pause", expect=409)
    await face("GET", "/v1/jobs?state=completed&limit=2&count=true")
    last = await face("POST", "/v1/processes:bulk", {"filter": {"service": service}, "command": "cancel"}, expect=202)
    assert (await _job(face, last))[0]["done"] == 20


async def test_tenants_do_not_see_each_other(face: Face) -> None:
    await face("POST", "/v1/design:apply", DESIGN)
    made = await face("POST", "/v1/processes", {"service": f"{PREFIX}-decide"}, expect=201)
    other = face.bearer("admin", tenant="other")
    await face("GET", f"/v1/processes/{made['pid']}", expect=404, headers=other)
    await face("POST", f"/v1/processes/{made['pid']}/cancel", {}, expect=404, headers=other)
    assert await face("GET", "/v1/design", headers=other) == {}
    assert (await face("GET", "/v1/processes", headers=other))["items"] == []
    await face("POST", f"/v1/processes/{made['pid']}/cancel", {})


async def test_the_stream_goes_on_at_another_replica(face: Face, installation: Installation) -> None:
    """A client is thrown from one gateway to the other, again and again, while processes are made; it misses none."""
    await face("POST", "/v1/design:apply", DESIGN)
    status = await asyncio.to_thread(installation.status)
    urls = [service["url"] for service in status["services"] if service["name"] == "gateway"]
    seen: list[int] = []
    after: str | None = None
    pids: list[int] = []

    async def make() -> None:
        for _ in range(60):
            body = {"service": f"{PREFIX}-decide", "context": {"stream": True}}
            pids.append((await face("POST", "/v1/processes", body, expect=201))["pid"])
            await asyncio.sleep(0.02)

    making: asyncio.Task[None] | None = None
    for turn in range(200):
        query = f"service={PREFIX}-decide" + (f"&after={after}" if after else "")
        url = f"{urls[turn % len(urls)]}/v1/stream?{query}"
        async with face.http.ws_connect(url, headers=face.bearer()) as socket:
            making = making or asyncio.ensure_future(make())
            for _ in range(7):
                try:
                    message = await socket.receive_json(timeout=3)
                except TimeoutError:
                    break
                after = message["id"]
                if message["type"] == "kernel.process.created.v1":
                    seen.append(message["data"]["pid"])
        if making.done() and len(seen) >= len(pids):
            break
    assert making is not None
    await making
    assert sorted(seen) == sorted(pids)
    cancels = {"items": [{"pid": pid, "command": "cancel"} for pid in pids]}
    await face("POST", "/v1/processes:commands", cancels)


async def test_the_stream_outlives_kafka(face: Face, installation: Installation) -> None:
    """Kafka is killed under a connected client; it stays connected, or comes back with `after`, and misses nothing."""
    await face("POST", "/v1/design:apply", DESIGN)
    seen: list[int] = []
    after: list[str] = []

    async def follow() -> None:
        while True:
            query = f"service={PREFIX}-decide" + (f"&after={after[-1]}" if after else "")
            try:
                async with face.http.ws_connect(f"{face.url}/v1/stream?{query}", headers=face.bearer()) as socket:
                    connected.set()
                    async for said in socket:
                        message = json.loads(said.data)
                        after.append(message["id"])
                        if message["type"] == "kernel.process.created.v1":
                            seen.append(message["data"]["pid"])
            except aiohttp.ClientError:
                await asyncio.sleep(0.5)

    async def make() -> int:
        made = await face("POST", "/v1/processes", {"service": f"{PREFIX}-decide"}, expect=201)
        return int(made["pid"])

    connected = asyncio.Event()
    following = asyncio.ensure_future(follow())
    await connected.wait()
    pids = [await make() for _ in range(5)]
    installation.kill(await asyncio.to_thread(installation.infrastructure, "kafka"))
    pids += [await make() for _ in range(5)]
    await installation.ready()
    pids += [await make() for _ in range(5)]
    for _ in range(600):
        if len(seen) >= len(pids):
            break
        await asyncio.sleep(0.1)
    following.cancel()
    assert sorted(seen) == sorted(pids)
    await face("POST", "/v1/processes:commands", {"items": [{"pid": pid, "command": "cancel"} for pid in pids]})
