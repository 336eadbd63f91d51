"""Claims: passed on with the operator's roles, not counted as under way, given up with their client."""

import asyncio
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from kernel_testing import eventually

CLAIM = {"services": ["a"], "worker": "w", "wait": "PT30S"}


async def test_a_program_of_an_operator_claims_what_its_roles_allow(gateway: Any) -> None:
    gateway.services.answer(
        "resource-svc", "GET", "/v1/operators/bot", 200, {"id": "bot", "roles": ["billing", "audit"]}
    )
    headers = gateway.bearer("integrator", operator="bot") | {"idempotency-key": "k"}
    async with gateway.http.post(f"{gateway.url}/v1/work:claim", json=CLAIM, headers=headers) as answer:
        assert answer.status == 200
    seen = gateway.services.seen[-1]
    assert seen.target == "/v1/work:claim?roles=billing%2Caudit"
    assert "idempotency-key" in {name.lower() for name in seen.headers}
    async with gateway.http.post(
        f"{gateway.url}/v1/work:claim", json=CLAIM, headers=gateway.bearer("operator")
    ) as answer:
        assert answer.status == 403
    async with gateway.http.post(f"{gateway.url}/v1/work:claim", json=CLAIM, headers=gateway.bearer("admin")) as answer:
        assert answer.status == 200
    assert gateway.services.seen[-1].target == "/v1/work:claim"


async def test_a_stopping_gateway_sends_all_home(start: Any) -> None:
    gateway = await start()

    async def wait(request: web.Request, body: bytes) -> web.StreamResponse:
        await asyncio.sleep(1)
        return web.json_response({"items": [1]})

    gateway.services.answers["process-svc", "POST", "/v1/work:claim"] = wait
    asking = asyncio.ensure_future(
        gateway.http.post(f"{gateway.url}/v1/work:claim", json=CLAIM, headers=gateway.bearer("integrator"))
    )
    await eventually(lambda: gateway.services.seen)
    gateway.gateway.proxy.stopping.set()
    async with await asyncio.wait_for(asking, 0.8) as answer:
        assert await answer.json() == {"items": []}


async def test_a_claim_ends_when_its_client_goes_away(gateway: Any) -> None:
    state: dict[str, bool] = {}

    async def wait(request: web.Request, body: bytes) -> web.StreamResponse:
        state["waiting"] = True
        await eventually(lambda: request.transport is None or request.transport.is_closing())
        state["gone"] = True
        return web.json_response({"items": []})

    gateway.services.answers["process-svc", "POST", "/v1/work:claim"] = wait

    async def ask() -> None:
        async with aiohttp.ClientSession() as http:
            await http.post(f"{gateway.url}/v1/work:claim", json=CLAIM, headers=gateway.bearer("integrator"))

    asking = asyncio.ensure_future(ask())
    await eventually(lambda: state.get("waiting"))
    assert gateway.gateway.app.busy == 0
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await eventually(lambda: state.get("gone"))
