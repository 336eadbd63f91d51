"""What is passed on, what comes back, and what happens when a service is away."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from aiohttp import web

CREATED = {"pid": 1, "state": "NEW"}


async def test_a_command_goes_to_its_owner_and_the_answer_comes_back_unchanged(gateway: Any) -> None:
    gateway.services.answer(
        "process-svc", "POST", "/v1/processes", 201, CREATED, location="/v1/processes/1", etag='"1"', x_secret="no"
    )
    headers = gateway.bearer("integrator") | {
        "idempotency-key": "k-1",
        "x-request-id": "r-1",
        "content-type": "application/json",
    }
    async with gateway.http.post(f"{gateway.url}/v1/processes", data=b'{"service": "a"}', headers=headers) as answer:
        assert answer.status == 201
        assert await answer.json() == CREATED
        assert answer.headers["location"] == "/v1/processes/1"
        assert answer.headers["etag"] == '"1"'
        assert answer.headers["x-request-id"] == "r-1"
        assert "x-secret" not in answer.headers
    seen = gateway.services.seen[-1]
    assert (seen.service, seen.method, seen.target, seen.body) == (
        "process-svc",
        "POST",
        "/v1/processes",
        b'{"service": "a"}',
    )
    inner = {name.lower(): value for name, value in seen.headers.items()}
    assert inner["x-kernel-token"] == "inner"
    assert inner["x-kernel-tenant"] == "main"
    assert inner["x-kernel-principal"] == "anna"
    assert inner["x-kernel-roles"] == "integrator"
    assert inner["idempotency-key"] == "k-1"
    assert inner["traceparent"].startswith("00-")
    assert "authorization" not in inner


async def test_inner_headers_of_a_client_are_not_believed(gateway: Any) -> None:
    headers = gateway.bearer("viewer", tenant="blue") | {"x-kernel-tenant": "red", "x-kernel-roles": "admin"}
    async with gateway.http.get(f"{gateway.url}/v1/processes?state=READY&count=true", headers=headers) as answer:
        assert answer.status == 200
    seen = gateway.services.seen[-1]
    inner = {name.lower(): value for name, value in seen.headers.items()}
    assert (inner["x-kernel-tenant"], inner["x-kernel-roles"]) == ("blue", "viewer")
    assert seen.target == "/v1/processes?state=READY&count=true"


async def test_encoded_names_arrive_as_they_were_sent(gateway: Any) -> None:
    async with gateway.http.get(f"{gateway.url}/v1/services/M%C3%BCll%20%231%3F", headers=gateway.bearer()) as answer:
        assert answer.status == 200
    assert gateway.services.seen[-1].target == "/v1/services/M%C3%BCll%20%231%3F"


async def test_problems_pass_unchanged(gateway: Any) -> None:
    problem = {"type": "about:blank", "title": "Illegal state change", "status": 409, "detail": "It is NEW."}
    gateway.services.answer("process-svc", "POST", "/v1/processes/7/complete", 409, problem)
    async with gateway.http.post(f"{gateway.url}/v1/processes/7/complete", json={}, headers=gateway.bearer()) as answer:
        assert answer.status == 409
        assert answer.content_type == "application/problem+json"
        assert await answer.json() == problem


async def test_replicas_take_turns_and_one_that_is_gone_is_passed_over(start: Any, services: Any) -> None:
    first, second = services.urls["process-svc"], await services.replica("process-svc")
    gateway = await start(process_svc_urls=f"{first}, http://127.0.0.1:9, {second}")
    ports = set()
    for _ in range(12):
        async with gateway.http.post(
            f"{gateway.url}/v1/processes", json={"service": "a"}, headers=gateway.bearer()
        ) as answer:
            assert answer.status == 200
        ports.add(services.seen[-1].headers["Host"])
    assert len(ports) == 2


async def test_a_service_that_is_away_is_503_with_retry_after(start: Any) -> None:
    gateway = await start(process_svc_urls="http://127.0.0.1:9")
    async with gateway.http.post(
        f"{gateway.url}/v1/processes", json={"service": "a"}, headers=gateway.bearer()
    ) as answer:
        assert answer.status == 503
        assert answer.headers["retry-after"] == "1"
        assert answer.content_type == "application/problem+json"
        assert "process-svc" in (await answer.json())["detail"]


async def test_what_may_come_twice_is_sent_once_more_and_nothing_else(
    start: Any, fault_proxy: Any, services: Any
) -> None:
    host, port = services.urls["process-svc"].removeprefix("http://").split(":")
    proxy = await fault_proxy(host, int(port))
    gateway = await start(process_svc_urls=f"http://{proxy.host}:{proxy.port}")
    url, headers = f"{gateway.url}/v1/processes", gateway.bearer()

    async def post(**more: str) -> int:
        before = len(services.seen)
        proxy.cut_at(b"HTTP/1.1 200", direction="down", forward=False)
        async with gateway.http.post(url, json={"service": "a"}, headers=headers | more) as answer:
            status: int = answer.status
        assert 1 <= len(services.seen) - before <= 2
        proxy.heal()
        return status

    assert await post(**{"idempotency-key": "k"}) == 200
    assert await post() == 503
    proxy.cut_at(b"HTTP/1.1 200", direction="down", forward=False)
    async with gateway.http.get(url, headers=headers) as answer:
        assert answer.status == 200


async def test_overload_is_refused_early_and_what_was_taken_is_served(start: Any, services: Any) -> None:
    release = asyncio.Event()

    async def slow(request: web.Request, body: bytes) -> web.Response:
        await release.wait()
        return web.json_response({})

    services.answers["process-svc", "GET", "/v1/processes"] = slow
    gateway = await start(max_in_flight=5)

    async def get() -> int:
        async with gateway.http.get(f"{gateway.url}/v1/processes", headers=gateway.bearer()) as answer:
            status: int = answer.status
            return status

    waiting = [asyncio.ensure_future(get()) for _ in range(5)]
    await asyncio.sleep(0.2)
    assert await get() == 503
    release.set()
    assert await asyncio.gather(*waiting) == [200] * 5


async def test_events_keep_their_cloudevents_headers(gateway: Any) -> None:
    headers = gateway.bearer() | {"ce-id": "1", "ce-source": "/p", "ce-type": "t", "content-type": "application/json"}
    async with gateway.http.post(f"{gateway.url}/v1/events", data=b'{"a": 1}', headers=headers) as answer:
        assert answer.status == 200
    inner = {name.lower(): value for name, value in gateway.services.seen[-1].headers.items()}
    assert (inner["ce-id"], inner["ce-source"], inner["ce-type"], inner["content-type"]) == (
        "1",
        "/p",
        "t",
        "application/json",
    )
    assert json.loads(gateway.services.seen[-1].body) == {"a": 1}


async def test_an_export_is_passed_on_as_it_comes(gateway: Any) -> None:
    more = asyncio.Event()
    chunk = b"x" * 65_536

    async def exporting(request: web.Request, _: bytes) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"content-type": "text/csv", "content-disposition": "attachment"})
        await answer.prepare(request)
        await answer.write(b"head")
        await more.wait()
        for _ in range(200):
            await answer.write(chunk)
        if request.query.get("service") == "bad":
            assert request.transport is not None
            request.transport.abort()
        return answer

    gateway.services.answers["process-svc", "GET", "/v1/export"] = exporting
    async with gateway.http.get(f"{gateway.url}/v1/export?service=a", headers=gateway.bearer("designer")) as answer:
        assert (answer.status, answer.headers["content-type"]) == (200, "text/csv")
        assert answer.headers["content-disposition"] == "attachment"
        assert await answer.content.readexactly(4) == b"head"
        more.set()
        assert len(await answer.read()) == 200 * len(chunk)
    with pytest.raises(aiohttp.ClientPayloadError):
        async with gateway.http.get(f"{gateway.url}/v1/export?service=bad", headers=gateway.bearer()) as answer:
            await answer.read()
    gateway.services.answer("process-svc", "GET", "/v1/export", 422, {"title": "no"})
    async with gateway.http.get(f"{gateway.url}/v1/export", headers=gateway.bearer()) as answer:
        assert (answer.status, await answer.json(content_type=None)) == (422, {"title": "no"})
    async with gateway.http.head(f"{gateway.url}/v1/export", headers=gateway.bearer()) as answer:
        assert answer.status == 422
    async with gateway.http.get(f"{gateway.url}/v1/export", headers=gateway.bearer("viewer")) as answer:
        assert answer.status == 403
