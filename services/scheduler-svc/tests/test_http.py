"""The HTTP door on a real database: queues, why a process waits, the checks; and what is refused."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest_asyncio
from kernel_contracts import message_types as types
from kernel_testing.topics import TestTopics

from .bus import CLERK, Others, Service

LAWYER = {"type": "operator", "roles": ["lawyer"], "skills": [{"skill": "dutch", "level": 3}]}


@pytest_asyncio.fixture
async def service(database: str, kafka: str, topics: TestTopics) -> AsyncIterator[Service]:
    await topics.all()
    started = await Service(database, kafka, topics.prefix).start()
    yield started
    started.kill()


@pytest_asyncio.fixture
async def others(kafka: str, topics: TestTopics, service: Service) -> AsyncIterator[Others]:
    made = Others(kafka, topics.prefix)
    yield made
    made.close()


async def test_a_queue_is_defined_changed_and_read(service: Service) -> None:
    body = {"policy": "edf", "limits": {"running": 3}}
    made = await service.call("PUT", "/v1/queues/permits", body)
    assert (made.status_code, made.headers["etag"], made.json()["version"]) == (201, '"1"', 1)
    same = await service.call("PUT", "/v1/queues/permits", body)
    assert (same.status_code, same.json()) == (200, made.json())
    changed = await service.call("PUT", "/v1/queues/permits", {**body, "paused": True}, if_match='"1"')
    assert (changed.status_code, changed.json()["version"]) == (200, 2)
    stale = await service.call("PUT", "/v1/queues/permits", body, if_match='"1"')
    assert stale.status_code == 412
    told = (await service.call("GET", "/v1/queues/permits", roles="viewer")).json()
    assert told["policy"] == "edf"
    assert told["paused"] is True
    assert told["limits"]["running"] == 3
    assert (told["depth"], told["running"], told["oldest"], told["wait"]) == (0, 0, None, {"p50": None, "p95": None})


async def test_the_default_queue_is_there_and_others_are_not(service: Service) -> None:
    default = (await service.call("GET", "/v1/queues/default")).json()
    assert (default["version"], default["policy"]) == (0, "priority")
    assert (await service.call("GET", "/v1/queues/nowhere")).status_code == 404
    other = await service.call("GET", "/v1/queues/default", x_kernel_tenant="other")
    assert other.status_code == 200


async def test_queues_are_listed_by_name_page_by_page(service: Service) -> None:
    for name in ("b", "d", "zebra"):
        await service.call("PUT", f"/v1/queues/{name}", {})
    names: list[str] = []
    cursor = ""
    while True:
        page = (await service.call("GET", f"/v1/queues?limit=2{cursor}")).json()
        names += [each["name"] for each in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert names == ["b", "d", "default", "zebra"]
    assert (await service.call("GET", "/v1/queues?count=true&limit=1")).json()["total"] == 4
    for query in ("limit=0", "limit=501", "limit=x", "cursor=%ff", "cursor=5"):
        assert (await service.call("GET", f"/v1/queues?{query}")).status_code == 422, query


async def test_what_is_not_there_or_wrong_is_refused(service: Service) -> None:
    for body, pointer in (
        ({"policy": "fair", "weights": {"a": 1}}, "/weights"),
        ({"policy": "sjf", "ageing": {"factor": -1}}, "/ageing/factor"),
        ({"policy": "random"}, "/policy"),
        ({"dispatch": "pull"}, "/dispatch"),
        ({"preemption": True}, "/preemption"),
        ({"limits": {"per_second": 3}}, "/limits/per_second"),
        ({"limits": {"per_key": 3}}, "/limits/per_key"),
        ({"limits": {"running": -1}}, "/limits/running"),
        ({"colour": "red"}, "/colour"),
    ):
        answer = await service.call("PUT", "/v1/queues/permits", body)
        assert answer.status_code == 422, body
        assert pointer in [error["pointer"] for error in answer.json()["errors"]]
    assert (await service.call("GET", "/v1/queues/permits")).status_code == 404


async def test_only_designers_define(service: Service) -> None:
    for method, path in (("PUT", "/v1/queues/a"), ("POST", "/v1/queues:check"), ("POST", "/v1/queues:apply")):
        assert (await service.call(method, path, {}, roles="operator,viewer")).status_code == 403
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{service.base}/v1/queues")).status_code == 403


async def test_a_set_of_queues_is_checked_and_applied_as_one(service: Service) -> None:
    await service.call("PUT", "/v1/queues/a", {})
    await service.call("PUT", "/v1/queues/b", {})
    wanted = {"queues": {"a": {}, "b": {"paused": True}, "c": {"policy": "fifo"}}}
    expected = {"created": ["queue/c"], "changed": ["queue/b"], "unchanged": ["queue/a"]}
    assert (await service.call("POST", "/v1/queues:check", wanted)).json() == expected
    bad = {"queues": {"x": {}, "y": {"policy": "fair", "weights": {"a": 2}}}}
    for verb in ("check", "apply"):
        refused = await service.call("POST", f"/v1/queues:{verb}", bad)
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["pointer"] == "/queues/y/weights"
    assert (await service.call("GET", "/v1/queues/x")).status_code == 404
    assert (await service.call("POST", "/v1/queues:apply", wanted)).json() == expected
    assert (await service.call("POST", "/v1/queues:apply", wanted)).json()["unchanged"] == [
        "queue/a",
        "queue/b",
        "queue/c",
    ]
    assert (await service.call("GET", "/v1/queues/b")).json()["paused"] is True


async def test_the_same_request_again_has_the_same_answer(service: Service) -> None:
    first = await service.call("PUT", "/v1/queues/a", {}, idempotency_key="k1")
    again = await service.call("PUT", "/v1/queues/a", {}, idempotency_key="k1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert (await service.call("PUT", "/v1/queues/a", {"paused": True}, idempotency_key="k1")).status_code == 422


async def test_why_it_waits(service: Service, others: Others) -> None:
    await service.call("PUT", "/v1/queues/narrow", {"limits": {"running": 1}})
    await service.call("PUT", "/v1/queues/paused", {"paused": True})
    others.operator("anna", "clerk")
    others.ready(1, CLERK, priority=90, expected_duration="PT1H")
    told = await others.proposal("1.2.1")
    others.grant(told, ("anna", 1, 2))
    others.ready(2, CLERK, priority=60)
    others.ready(3, CLERK, priority=50)
    others.ready(4, LAWYER)
    others.ready(5, CLERK, queue="paused")
    others.ready(6, queue="narrow")
    await others.proposal("6.2.1")
    others.ready(7, queue="narrow")
    others.ready(8, CLERK, not_after="2026-01-01T00:00:00Z")
    others.operator("bert", "porter", presence="away")
    others.ready(9, {"type": "operator", "roles": ["porter"]})
    others.ready(10, {**LAWYER, "resource": "anna"})
    await others.quiet(0.6)

    async def why(pid: int) -> dict[str, object]:
        answer = await service.call("GET", f"/v1/processes/{pid}/why", roles="viewer")
        assert answer.status_code == 200, pid
        return dict(answer.json())

    assert (await why(1))["state"] == "RUNNING"
    third = await why(3)
    assert third["factors"] == {"priority": 50, "age": third["factors"]["age"]}  # type: ignore[index]
    assert (third["state"], third["reason"], third["position"]) == ("READY", "no_capacity", 2)
    assert third["eta"] is None
    (holder,) = third["blockers"][0].pop("held_by")  # type: ignore[index]
    ends = datetime.fromisoformat(holder["until"]) - datetime.now(UTC)
    assert holder["pid"] == 1
    assert timedelta(minutes=58) < ends <= timedelta(hours=1)
    assert third["blockers"] == [
        {
            "requirement": {"type": "operator", "roles": ["clerk"], "units": 1},
            "total": 1,
            "free": 0,
            "detail": "All operator with the role clerk are taken: 0 of 1 units free, 1 needed.",
        }
    ]
    assert third["would_unblock"] == ["one more operator with the role clerk, or one coming free"]
    nobody = await why(4)
    assert nobody["reason"] == "nobody_eligible"
    assert nobody["would_unblock"] == ["one operator with the role lawyer with the skill dutch at level 3"]
    assigned = await why(10)
    assert assigned["reason"] == "nobody_eligible"
    assert "It is assigned to anna, who is no operator with the role lawyer" in str(assigned["blockers"])
    assert (await why(5))["reason"] == "queue_paused"
    assert (await why(6))["reason"] == "proposed"
    assert (await why(7))["reason"] == "queue_limit"
    assert (await why(8))["reason"] == "window_closed"
    assert (await why(9))["reason"] == "nobody_present"
    assert (await service.call("GET", "/v1/processes/99/why")).status_code == 404
    assert (await service.call("GET", "/v1/processes/x/why")).status_code == 404
    assert (await service.call("GET", "/v1/processes/2/why", x_kernel_tenant="other")).status_code == 404


async def test_a_queue_tells_how_long_they_waited(service: Service, others: Others) -> None:
    others.operator("anna", "clerk", capacity=3)
    for pid in (1, 2, 3):
        others.ready(pid, CLERK, ready_at="2026-01-01T00:00:00Z")
        others.grant(await others.proposal(f"{pid}.2.1"), ("anna", pid, pid + 1))
    await others.quiet(1.5)
    others.event(types.CONTEXT_CHANGED, 1, 4, state="RUNNING")
    await others.quiet(0.5)
    told = (await service.call("GET", "/v1/queues/default")).json()
    assert told["running"] == 3
    assert told["wait"]["p50"] > 1_000_000
    assert told["wait"]["p95"] >= told["wait"]["p50"]
