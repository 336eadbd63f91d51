"""What the gateway puts together from several services."""

import json
from typing import Any

import pytest

DESIGN = """
# The permit office
calendars:
  office: {time_zone: Europe/Amsterdam, weekly: {mon: [[09:00, 17:00]]}, exceptions: [{date: 2026-12-24, hours: []}]}
operators:
  anna: {roles: [clerk], name: no}
services:
  assess: &assess {roles: [clerk]}
  decide: *assess
queues:
  default: {paused: false}
rules:
  next: {event: {type: t}, instructions: [{do: start, service: decide}]}
"""
PARTS = (
    ("resource-svc", "/v1/resources"),
    ("process-svc", "/v1/services"),
    ("scheduler-svc", "/v1/queues"),
    ("rules-svc", "/v1/rules"),
)


def told(kind: str) -> dict[str, list[str]]:
    return {"created": [f"{kind}/a"], "changed": [], "unchanged": [f"{kind}/b"]}


def accept_all(gateway: Any) -> None:
    for service, path in PARTS:
        for step in ("check", "apply"):
            gateway.services.answer(service, "POST", f"{path}:{step}", 200, told(service))


async def apply(gateway: Any, body: str, query: str = "", kind: str = "application/yaml") -> tuple[int, Any]:
    headers = gateway.bearer("designer") | {"content-type": kind, "idempotency-key": "k"}
    url = f"{gateway.url}/v1/design:apply{query}"
    async with gateway.http.post(url, data=body.encode(), headers=headers) as answer:
        return answer.status, await answer.json(content_type=None)


async def test_a_design_is_checked_by_all_then_applied_in_order(gateway: Any) -> None:
    accept_all(gateway)
    status, done = await apply(gateway, DESIGN)
    assert status == 200, done
    assert done["created"] == [f"{service}/a" for service, _ in PARTS]
    assert done["unchanged"] == [f"{service}/b" for service, _ in PARTS]
    steps = [seen.target for seen in gateway.services.seen]
    keyed = [seen.target for seen in gateway.services.seen if "idempotency-key" in seen.headers]
    assert keyed == [f"{path}:apply" for _, path in PARTS]
    assert set(steps[:4]) == {f"{path}:check" for _, path in PARTS}
    assert steps[4:] == [f"{path}:apply" for _, path in PARTS]
    sent = json.loads(next(seen.body for seen in gateway.services.seen if seen.target == "/v1/resources:apply"))
    assert sent["calendars"]["office"]["weekly"] == {"mon": [["09:00", "17:00"]]}
    assert sent["calendars"]["office"]["exceptions"] == [{"date": "2026-12-24", "hours": []}]
    assert sent["operators"]["anna"]["name"] == "no"
    sent = json.loads(next(seen.body for seen in gateway.services.seen if seen.target == "/v1/services:apply"))
    assert sent == {"services": {"assess": {"roles": ["clerk"]}, "decide": {"roles": ["clerk"]}}}


async def test_json_works_too_and_a_dry_run_applies_nothing(gateway: Any) -> None:
    accept_all(gateway)
    design = json.dumps({"services": {"a": {}}, "queues": {}})
    for kind in ("application/json", "application/yaml"):
        status, done = await apply(gateway, design, "?dry_run=true", kind)
        assert (status, done) == (200, told("process-svc"))
    assert {seen.target for seen in gateway.services.seen} == {"/v1/services:check"}


async def test_all_faults_are_told_at_once_and_nothing_is_applied(gateway: Any) -> None:
    accept_all(gateway)
    fault = {"title": "Invalid input", "status": 422, "detail": "d"}
    gateway.services.answer(
        "process-svc",
        "POST",
        "/v1/services:check",
        422,
        fault | {"errors": [{"pointer": "/assess/kind", "message": "m1"}]},
    )
    gateway.services.answer(
        "rules-svc",
        "POST",
        "/v1/rules:check",
        422,
        fault | {"errors": [{"pointer": "/rules/next/when", "message": "m2"}]},
    )
    status, problem = await apply(gateway, DESIGN)
    assert status == 422
    assert problem["errors"] == [
        {"pointer": "/services/assess/kind", "message": "m1"},
        {"pointer": "/rules/next/when", "message": "m2"},
    ]
    assert not [seen for seen in gateway.services.seen if seen.target.endswith(":apply")]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("services: {a: {}", 400),
        ("- a\n- b", 422),
        ("tables: {t: {}}", 422),
        ("nonsense: {}", 422),
        ("services: [a]", 422),
        ("services: {1: {}}", 400),
        ("services: {a: {priority: 123456789012345678901}}", 400),
        ("services: {a: {title: &t " + "x" * 100_000 + "}, b: [" + "*t," * 1_000 + "]}", 400),
        ("services: {a: {}, a: {}}", 400),
        ("services: !!python/object/apply:os.system ['id']", 400),
        (
            "a: &a [1, 1, 1, 1, 1, 1, 1, 1]\n"
            + "".join(
                f"{chr(98 + n)}: &{chr(98 + n)} [" + ", ".join([f"*{chr(97 + n)}"] * 8) + "]\n" for n in range(9)
            ),
            400,
        ),
        ("[" * 60 + "\n" * 3, 400),
        ("\x00", 400),
    ],
)
async def test_what_is_no_design(gateway: Any, body: str, status: int) -> None:
    assert (await apply(gateway, body))[0] == status
    assert gateway.services.seen == []


async def test_a_service_that_goes_away_half_way_is_told(gateway: Any) -> None:
    accept_all(gateway)
    gateway.services.answer(
        "scheduler-svc", "POST", "/v1/queues:apply", 503, {"title": "t", "status": 503, "detail": "d"}, retry_after="2"
    )
    status, problem = await apply(gateway, DESIGN)
    assert status == 503
    assert problem["applied"]["created"] == ["resource-svc/a", "process-svc/a"]


async def test_the_design_comes_back_as_it_can_be_applied(gateway: Any) -> None:
    pages = {"items": [{"name": "assess", "version": 3, "roles": ["clerk"], "title": None}], "next": "c"}

    async def services(request: Any, body: bytes) -> Any:
        from aiohttp import web

        if request.query.get("cursor") == "c":
            return web.json_response({"items": [{"name": "decide", "version": 1, "kind": "automatic"}], "next": None})
        return web.json_response(pages)

    gateway.services.answers["process-svc", "GET", "/v1/services"] = services
    gateway.services.answer(
        "resource-svc", "GET", "/v1/calendars", 404, {"title": "Not found", "status": 404, "detail": "d"}
    )
    async with gateway.http.get(f"{gateway.url}/v1/design", headers=gateway.bearer("viewer")) as answer:
        assert answer.status == 200
        assert await answer.json() == {"services": {"assess": {"roles": ["clerk"]}, "decide": {"kind": "automatic"}}}


async def test_an_operators_tasks_are_found_by_its_roles(gateway: Any) -> None:
    gateway.services.answer(
        "resource-svc", "GET", "/v1/operators/ann%20a", 200, {"id": "ann a", "roles": ["clerk", "notary public"]}
    )
    gateway.services.answer(
        "resource-svc", "GET", "/v1/operators/ann a", 200, {"id": "ann a", "roles": ["clerk", "notary public"]}
    )
    headers = gateway.bearer("operator", operator="ann a")
    async with gateway.http.get(f"{gateway.url}/v1/operators/ann%20a/tasks?state=READY", headers=headers) as answer:
        assert answer.status == 200
    seen = gateway.services.seen[-1]
    assert (seen.service, seen.target) == (
        "process-svc",
        "/v1/operators/ann%20a/tasks?roles=clerk%2Cnotary+public&state=READY",
    )
    gateway.services.answer(
        "resource-svc",
        "GET",
        "/v1/operators/bob",
        404,
        {"title": "Not found", "status": 404, "detail": "There is no operator bob."},
    )
    async with gateway.http.get(f"{gateway.url}/v1/operators/bob/services", headers=gateway.bearer()) as answer:
        assert answer.status == 404


@pytest.mark.parametrize(
    ("process", "reason"),
    [
        ({"state": "NEW", "after": [3], "not_before": "2026-12-01T00:00:00Z"}, "not admitted"),
        ({"state": "NEW", "after": [], "attempt": 2}, "back-off"),
        ({"state": "RUNNING", "operator": "anna", "started_at": "2026-11-25T09:00:00Z"}, "anna"),
        (
            {
                "state": "WAITING",
                "waiting_for": {"event": {"type": "paid", "key": "7"}, "timeout": "2026-12-01T00:00:00Z"},
            },
            "paid",
        ),
        ({"state": "WAITING", "waiting_for": {"timer": "2026-12-01T00:00:00Z"}}, "2026-12-01"),
        ({"state": "WAITING", "waiting_for": {"children": {"mode": "all"}}}, "children"),
        ({"state": "SUSPENDED", "incident": 4}, "Incident 4"),
        ({"state": "SUSPENDED", "incident": None}, "set aside"),
        ({"state": "TERMINATED", "outcome": "completed", "ended_at": "2026-11-25T09:00:00Z"}, "completed"),
    ],
)
async def test_why(gateway: Any, process: dict[str, Any], reason: str) -> None:
    from gateway.models.processes import Why

    gateway.services.answer("process-svc", "GET", "/v1/processes/7", 200, {"pid": 7, **process})
    gateway.services.answer(
        "process-svc", "GET", "/v1/work/7", 404, {"title": "Not found", "status": 404, "detail": "d"}
    )
    async with gateway.http.get(f"{gateway.url}/v1/processes/7/why", headers=gateway.bearer("viewer")) as answer:
        assert answer.status == 200
        told = await answer.json()
    assert told["state"] == process["state"]
    assert reason in told["reason"]
    Why.model_validate(told)


@pytest.mark.parametrize(
    ("lease", "reason", "unblock"),
    [
        ({"worker": None}, "no worker has claimed it", ["a worker that claims bill"]),
        ({"worker": "w-1", "lease_until": "2026-11-25T09:01:00Z"}, "w-1 carries it out", []),
    ],
)
async def test_why_names_the_worker(gateway: Any, lease: dict[str, Any], reason: str, unblock: list[str]) -> None:
    process = {"pid": 7, "state": "RUNNING", "service": "bill", "started_at": "2026-11-25T09:00:00Z"}
    gateway.services.answer("process-svc", "GET", "/v1/processes/7", 200, process)
    gateway.services.answer("process-svc", "GET", "/v1/work/7", 200, lease)
    async with gateway.http.get(f"{gateway.url}/v1/processes/7/why", headers=gateway.bearer("viewer")) as answer:
        told = await answer.json()
    assert reason in told["reason"]
    assert told["would_unblock"] == unblock


async def test_why_asks_the_scheduler_for_ready_ones(gateway: Any) -> None:
    gateway.services.answer("process-svc", "GET", "/v1/processes/7", 200, {"pid": 7, "state": "READY"})
    gateway.services.answer(
        "scheduler-svc", "GET", "/v1/processes/7/why", 200, {"state": "READY", "reason": "no_capacity"}
    )
    url = f"{gateway.url}/v1/processes/7/why"
    async with gateway.http.get(url, headers=gateway.bearer("viewer")) as answer:
        assert (await answer.json())["reason"] == "no_capacity"
    gateway.services.answer(
        "scheduler-svc", "GET", "/v1/processes/7/why", 404, {"title": "Not found", "status": 404, "detail": "d"}
    )
    async with gateway.http.get(url, headers=gateway.bearer("viewer")) as answer:
        assert answer.status == 200
        assert "on its way" in (await answer.json())["reason"]


async def test_dead_letters_of_all_services_in_one_list(gateway: Any) -> None:
    from aiohttp import web

    letters = {
        name: [{"id": number, "at": f"2026-11-25T0{number}:0{place}:00+00:00", "state": "dead"} for number in (3, 2, 1)]
        for place, name in enumerate(("process-svc", "resource-svc", "scheduler-svc", "rules-svc"))
    }

    def listing(name: str) -> Any:
        async def listed(request: Any, body: bytes) -> Any:
            before = int(request.query.get("before", 99))
            items = [item for item in letters[name] if item["id"] < before]  # type: ignore[operator]
            return web.json_response({"items": items[: int(request.query["limit"])], "next": None})

        return listed

    for name in letters:
        gateway.services.answers[name, "GET", "/v1/dead-letters"] = listing(name)
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        url = f"{gateway.url}/v1/dead-letters?limit=5&cursor={cursor}"
        async with gateway.http.get(url, headers=gateway.bearer()) as answer:
            page = await answer.json()
        assert len(page["items"]) <= 5
        found += [item["id"] for item in page["items"]]
        cursor = page["next"]
    assert sorted(found) == sorted(f"{name}:{number}" for name in letters for number in (1, 2, 3))
    assert found[0] == "rules-svc:3"
    gateway.services.answer("rules-svc", "POST", "/v1/dead-letters/3/replay", 200, {"id": 3, "state": "replayed"})
    url = f"{gateway.url}/v1/dead-letters/rules-svc:3/replay"
    async with gateway.http.post(url, json={"value": {"a": 1}}, headers=gateway.bearer()) as answer:
        assert await answer.json() == {"id": "rules-svc:3", "state": "replayed"}
    for id in ("3", "other:3", "rules-svc:x", "rules-svc:"):
        async with gateway.http.post(f"{gateway.url}/v1/dead-letters/{id}/discard", headers=gateway.bearer()) as answer:
            assert answer.status == 404
