"""Bad input from outside: a clear 4xx or a dead letter, and everything lives on."""

import asyncio
import os
import uuid
from typing import Any

import aiohttp
import pytest
from confluent_kafka import Producer
from kernel_contracts import message_types as types
from kernel_contracts.topics import TOPICS

from .installation import Installation

SERVICE = "hostile"
DEEP = "[" * 100_000 + "]" * 100_000

BODIES: list[tuple[str, str, bytes, set[int]]] = [
    ("POST", "/v1/processes", b"", {400, 422}),
    ("POST", "/v1/processes", b"{", {400}),
    ("POST", "/v1/processes", b"\xff\xfe", {400, 422}),
    ("POST", "/v1/processes", b"[]", {422}),
    ("POST", "/v1/processes", b'"x"', {422}),
    ("POST", "/v1/processes", b'{"service": 7}', {422}),
    ("POST", "/v1/processes", b'{"service": "no such service"}', {404, 422}),
    ("POST", "/v1/processes", b'{"service": "hostile", "priority": 101}', {422}),
    ("POST", "/v1/processes", b'{"service": "hostile", "priority": "high"}', {422}),
    ("POST", "/v1/processes", b'{"service": "hostile", "surprise": 1}', {422}),
    ("POST", "/v1/processes", b'{"service": "hostile", "context": []}', {422}),
    ("POST", "/v1/processes", b'{"service": "hostile", "context": {"a": "\\u0000"}}', {422}),
    ("POST", "/v1/processes", b'{"service": "hostile", "context": {"a": 123456789012345678901234567890}}', {422}),
    ("POST", "/v1/processes", b'{"service": "hostile", "context": {"a": 1e999}}', {400, 422}),
    ("POST", "/v1/processes", b'{"service": "hostile", "context": {"a": NaN}}', {400, 422}),
    ("POST", "/v1/processes", b'{"service": "hostile", "key": "a\\u0000b"}', {422}),
    ("POST", "/v1/processes", b'{"service": "hostile", "key": "\\ud800"}', {400, 422}),
    ("POST", "/v1/processes", b'{"service": "hostile", "not_before": "tomorrow"}', {422}),
    ("POST", "/v1/processes", b'{"service": "hostile", "due": "2026-11-25T10:00:00"}', {422}),
    ("POST", "/v1/processes", b'{"service": "hostile", "parent": 999999999999}', {404, 422}),
    ("POST", "/v1/processes", b'{"service": "hostile", "after": [999999999999]}', {404, 422}),
    ("POST", "/v1/processes", b'{"service": "hostile", "after": [99999999999999999999999]}', {422}),
    ("POST", "/v1/processes", b'{"service": "hostile", "context": ' + DEEP.encode() + b"}", {400, 413, 422}),
    ("POST", "/v1/processes", b'{"service": "hostile", "context": {"a": "' + b"x" * 400_000 + b'"}}', {413, 422}),
    ("POST", "/v1/processes", b'{"service": "' + b"x" * 10_000_000 + b'"}', {413}),
    ("POST", "/v1/processes:batch", b'{"items": {}}', {422}),
    ("POST", "/v1/processes:batch", b'{"items": [' + b",".join([b'{"service": "hostile"}'] * 1001) + b"]}", {422}),
    ("POST", "/v1/processes/0/complete", b"{}", {404, 422}),
    ("POST", "/v1/processes/99999999999999999999/complete", b"{}", {404, 422}),
    ("POST", "/v1/processes/abc/complete", b"{}", {404, 422}),
    ("POST", "/v1/processes/1/explode", b"{}", {404, 405}),
    ("GET", "/v1/processes?limit=0", b"", {422}),
    ("GET", "/v1/processes?limit=501", b"", {422}),
    ("GET", "/v1/processes?state=ASLEEP", b"", {422}),
    ("GET", "/v1/processes?cursor=garbage", b"", {422}),
    ("GET", "/v1/processes?created_after=yesterday", b"", {422}),
    ("GET", "/v1/processes?parent=x", b"", {422}),
    ("GET", "/v1/processes?context.a%00b=1", b"", {422}),
    ("DELETE", "/v1/processes/1", b"", {405}),
    ("GET", "/v1/no/such/thing", b"", {404}),
    ("PUT", "/v1/services/bad", b'{"form": {"type": "no such type"}}', {422}),
    ("PUT", "/v1/services/bad", b'{"form": {"$ref": "http://example.invalid/schema"}}', {422}),
    ("PUT", "/v1/services/bad", b'{"entity_access": "exclusive"}', {422}),
    ("PUT", "/v1/operators/bad", b'{"capacity": -1}', {422}),
    ("PUT", "/v1/resources/bad", b'{"type": "operator"}', {422}),
    ("PUT", "/v1/queues/bad", b'{"policy": "astrology"}', {422}),
    (
        "PUT",
        "/v1/rules/bad",
        b'{"event": {"type": "x"}, "when": "1 +", "instructions": [{"do": "emit", "type": "y"}]}',
        {422},
    ),
    ("PUT", "/v1/rules/bad", b'{"event": {"type": "x"}, "instructions": [{"do": "format_disk"}]}', {422}),
    ("POST", "/v1/events", b'{"specversion": "1.0"}', {422}),
    ("POST", "/v1/events", b'{"specversion": "0.3", "id": "1", "source": "s", "type": "t"}', {422}),
    ("POST", "/v1/events", b'{"specversion": "1.0", "id": "1", "source": "s", "type": "t", "time": "noon"}', {422}),
    ("POST", "/v1/design:apply", b'{"services": []}', {422}),
    ("POST", "/v1/design:apply", b'{"surprises": {}}', {422}),
    ("POST", "/v1/design:apply", b'{"services": {"ok": {}}, "operators": {"bad": {"capacity": -1}}}', {422}),
]


async def send(installation: Installation, http: aiohttp.ClientSession, method: str, path: str, body: bytes) -> Any:
    headers = installation.headers | {"content-type": "application/json"}
    async with http.request(method, installation.gateway + path, data=body or None, headers=headers) as answer:
        return answer.status, answer.content_type, await answer.read()


async def test_bad_requests_are_told_what_is_wrong(installation: Installation) -> None:
    async with aiohttp.ClientSession() as http:
        status, _ = await installation.call(http, "PUT", f"/v1/services/{SERVICE}", {"roles": ["nobody"]})
        assert status in (200, 201)
        wrong = []
        for method, path, body, allowed in BODIES:
            status, kind, content = await send(installation, http, method, path, body)
            problem = kind == "application/problem+json" and all(
                word in content for word in (b'"title"', b'"detail"', b'"status"')
            )
            if status not in allowed or not problem or b"Traceback" in content:
                wrong.append((method, path, body[:80], status, kind, content[:200]))
        assert not wrong, wrong
        status, services = await installation.call(http, "GET", "/v1/services/ok")
        assert status == 404, f"a refused design left something behind: {services}"
    assert (await asyncio.to_thread(installation.status))["ready"]


async def test_an_illegal_transition_names_the_state_and_what_is_allowed(installation: Installation) -> None:
    async with aiohttp.ClientSession() as http:
        await installation.call(http, "PUT", f"/v1/services/{SERVICE}", {"roles": ["nobody"]})
        status, process = await installation.call(http, "POST", "/v1/processes", {"service": SERVICE})
        assert status == 201
        status, problem = await installation.call(http, "POST", f"/v1/processes/{process['pid']}/complete", {})
        assert status == 409
        assert "READY" in problem["detail"]
        assert "cancel" in str(problem)
        _, after = await installation.call(http, "GET", f"/v1/processes/{process['pid']}")
        assert after["version"] == process["version"]


@pytest.mark.parametrize("topic", [topic.name for topic in TOPICS if topic.dead_letters])
async def test_garbage_on_a_topic_is_a_dead_letter_and_the_rest_flows(installation: Installation, topic: str) -> None:
    mark = uuid.uuid4().hex
    kinds = next(one for one in TOPICS if one.name == topic).messages or {"any.type": None}
    producer = Producer({"bootstrap.servers": installation.kafka})
    event = [("ce_specversion", "1.0"), ("ce_id", mark), ("ce_source", "/hostile")]
    producer.produce(topic, os.urandom(200), mark.encode())
    producer.produce(topic, b"{}", mark.encode(), headers=[("ce_type", b"\xff\xfe"), ("ce_id", b"\xff")])
    producer.produce(topic, b"not json", mark.encode(), headers=[*event, ("ce_type", next(iter(kinds)))])
    producer.produce(topic, None, mark.encode(), headers=[*event, ("ce_type", next(iter(kinds)))])
    assert producer.flush(10) == 0
    async with aiohttp.ClientSession() as http:
        for _ in range(150):
            _, letters = await installation.call(http, "GET", "/v1/dead-letters?limit=500")
            found = [letter for letter in letters["items"] if letter["key"] == mark]
            if found:
                break
            await asyncio.sleep(0.1)
        if topic not in ("rule-events",):
            assert found, f"no dead letter of the garbage on {topic}"
            assert all(letter["reason"] for letter in found)
        await installation.call(http, "PUT", f"/v1/services/{SERVICE}", {"roles": ["nobody"]})
        status, _ = await installation.call(http, "POST", "/v1/processes", {"service": SERVICE})
        assert status == 201
    assert (await asyncio.to_thread(installation.status))["ready"]


async def test_a_refused_command_from_the_bus_is_answered_by_an_event(installation: Installation) -> None:
    producer = Producer({"bootstrap.servers": installation.kafka})
    headers = [("ce_specversion", "1.0"), ("ce_id", uuid.uuid4().hex), ("ce_source", "/hostile")]
    async with (
        aiohttp.ClientSession() as http,
        http.get(
            f"{installation.gateway}/v1/stream?process=987654321",
            headers=installation.headers | {"accept": "text/event-stream"},
        ) as stream,
    ):
        producer.produce(
            "process-commands",
            b'{"pid": 987654321}',
            b"987654321",
            headers=[*headers, ("ce_type", types.CANCEL_PROCESS)],
        )
        assert producer.flush(10) == 0
        async with asyncio.timeout(20):
            async for line in stream.content:
                if line.startswith(b"data:") and types.COMMAND_REFUSED.encode() in line:
                    return
    raise AssertionError("the refusal was not told")
