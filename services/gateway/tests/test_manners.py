"""What is refused at the door, and how: one form for every error."""

from typing import Any

import pytest

MIB = 1024 * 1024


async def ask(gateway: Any, method: str, path: str, **more: Any) -> tuple[int, dict[str, str], Any]:
    headers = gateway.bearer() | more.pop("headers", {})
    async with gateway.http.request(
        method, gateway.url + path, headers=headers, allow_redirects=False, **more
    ) as answer:
        kind = answer.content_type
        body = await answer.json(content_type=None) if "json" in kind else await answer.read()
        if answer.status >= 400:
            assert kind == "application/problem+json", (answer.status, kind)
            assert body["status"] == answer.status
            assert body["detail"]
        assert answer.headers["x-request-id"]
        return answer.status, {name.lower(): value for name, value in answer.headers.items()}, body


async def test_unknown_addresses_and_methods(gateway: Any) -> None:
    assert (await ask(gateway, "GET", "/v1/nothing"))[0] == 404
    assert (await ask(gateway, "POST", "/v1/processes/1/frobnicate", json={}))[0] == 404
    status, headers, _ = await ask(gateway, "DELETE", "/v1/processes")
    assert (status, headers["allow"]) == (405, "GET, HEAD, OPTIONS, POST")
    status, headers, _ = await ask(gateway, "OPTIONS", "/v1/processes/1")
    assert (status, headers["allow"]) == (204, "GET, HEAD, OPTIONS")


async def test_head_is_get_without_a_body(gateway: Any) -> None:
    async with gateway.http.head(f"{gateway.url}/v1/processes", headers=gateway.bearer()) as answer:
        assert answer.status == 200
        assert int(answer.headers["content-length"]) > 0
        assert await answer.read() == b""
    assert gateway.services.seen[-1].method == "GET"


@pytest.mark.parametrize(
    ("path", "limit"), [("/v1/processes", MIB), ("/v1/processes:batch", 4 * MIB), ("/v1/events", 4 * MIB)]
)
async def test_bodies_are_bounded_before_they_are_held(gateway: Any, path: str, limit: int) -> None:
    kind = {"content-type": "application/json"}
    assert (await ask(gateway, "POST", path, data=b" " * (limit + 1), headers=kind))[0] == 413

    async def chunks() -> Any:
        for _ in range(10 * MIB // 65_536):
            yield b" " * 65_536

    assert (await ask(gateway, "POST", path, data=chunks(), headers=kind))[0] == 413
    assert (await ask(gateway, "POST", path, data=b"{}" + b" " * (limit - 2), headers=kind))[0] == 200
    assert len(gateway.services.seen) == 1


async def test_depth_nul_and_huge_numbers(gateway: Any) -> None:
    kind = {"content-type": "application/json"}
    deep = b'{"context": ' + b"[" * 64 + b"]" * 64 + b"}"
    assert (await ask(gateway, "POST", "/v1/processes", data=deep, headers=kind))[0] == 422
    assert (await ask(gateway, "POST", "/v1/processes", data=b"[" * 400_000, headers=kind))[0] == 422
    assert (await ask(gateway, "POST", "/v1/processes", data=b'{"key": "a\\u0000b"}', headers=kind))[0] == 422
    assert (await ask(gateway, "POST", "/v1/processes", data=b'{"n": 123456789012345678901}', headers=kind))[0] == 422
    assert gateway.services.seen == []


async def test_media_types(gateway: Any) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    status, headers, body = await ask(gateway, "POST", "/v1/processes", data=b'{"service": "a"}', headers=form)
    assert status == 415
    assert headers["accept"] == "application/json"
    assert "application/json" in body["detail"]
    packed = {"content-type": "application/json", "content-encoding": "gzip"}
    assert (await ask(gateway, "POST", "/v1/processes", data=b"x", headers=packed))[0] == 415
    merge = {"content-type": "application/merge-patch+json; charset=utf-8"}
    assert (await ask(gateway, "PATCH", "/v1/processes/1/context", data=b"{}", headers=merge))[0] == 200


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "é"])
async def test_idempotency_keys_are_checked(gateway: Any, key: str) -> None:
    headers = {"idempotency-key": key}
    assert (await ask(gateway, "POST", "/v1/processes", json={"service": "a"}, headers=headers))[0] == 422


async def test_ids_of_a_request_are_kept_or_made(gateway: Any) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await ask(gateway, "GET", "/v1/processes", headers={"traceparent": trace})
    assert gateway.services.seen[-1].headers["traceparent"] == trace
    _, headers, _ = await ask(
        gateway, "GET", "/v1/processes", headers={"x-request-id": "a b\tc", "traceparent": "rubbish"}
    )
    assert len(headers["x-request-id"]) == 32
    assert gateway.services.seen[-1].headers["traceparent"].startswith("00-")


async def test_docs_are_served_from_here_alone(gateway: Any) -> None:
    status, headers, _ = await ask(gateway, "GET", "/")
    assert (status, headers["location"]) == (307, "/docs")
    for path in ("/docs", "/docs/docs.js", "/docs/docs.css"):
        status, headers, body = await ask(gateway, "GET", path)
        assert status == 200
        assert "default-src 'none'" in headers["content-security-policy"]
        assert b"http://" not in body
        assert b"https://" not in body


async def test_health_and_metrics_need_no_token(gateway: Any) -> None:
    for path in ("/health/live", "/health/ready", "/metrics", "/openapi.json"):
        async with gateway.http.get(gateway.url + path) as answer:
            assert answer.status == 200, path
