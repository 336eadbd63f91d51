"""The client against a real HTTP server that misbehaves: what may be repeated is, with the same key; the rest is said clearly."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from kernel_client import ConnectionFailedError, Kernel
from kernel_client.errors import BusyError, ConflictError, InvalidError, NotFoundError
from kernel_client.transport import retry_after
from kernel_testing import eventually

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Handler], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    runners: list[web.AppRunner] = []

    async def start(handler: Handler) -> str:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app)
        await runner.setup()
        runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        return f"http://{host}:{port}"

    yield start
    for runner in runners:
        await runner.cleanup()


def refusal(status: int, detail: str, **more: Any) -> web.Response:
    body = {"type": "about:blank", "title": "No", "status": status, "detail": detail, **more}
    return web.json_response(body, status=status, content_type="application/problem+json")


async def test_a_post_is_repeated_with_its_key(serve: Serve) -> None:
    keys: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        keys.append(request.headers["idempotency-key"])
        if len(keys) == 1:
            assert request.transport is not None
            request.transport.close()
        if len(keys) == 2:
            return refusal(503, "away")
        return web.json_response({"pid": 7}, status=201)

    async with Kernel(await serve(handler)) as kernel:
        assert (await kernel.processes.create("s"))["pid"] == 7
        await kernel.processes.create("s")
    assert len(keys) == 4
    assert len(set(keys[:3])) == 1
    assert keys[3] != keys[0]


async def test_retry_after_is_honoured(serve: Serve) -> None:
    times: list[float] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        times.append(time.monotonic())
        if len(times) == 1:
            return web.Response(status=429, headers={"retry-after": "0.4"})
        return web.json_response({"pid": 7})

    async with Kernel(await serve(handler)) as kernel:
        await kernel.processes.get(7)
    assert times[1] - times[0] >= 0.4


async def test_patience_ends(serve: Serve) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return refusal(503, "process-svc is away")

    async with Kernel(await serve(handler), patience=0.3) as kernel:
        with pytest.raises(BusyError, match="process-svc is away"):
            await kernel.processes.get(1)
    async with Kernel("http://127.0.0.1:9", patience=0.2) as kernel:
        with pytest.raises(ConnectionFailedError, match="does not answer"):
            await kernel.processes.get(1)


@pytest.mark.parametrize(("status", "kind"), [(404, NotFoundError), (409, ConflictError), (422, InvalidError)])
async def test_refusals_keep_the_servers_words(serve: Serve, status: int, kind: type[Exception]) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return refusal(status, "because", errors=[{"pointer": "/output/x", "message": "must be a number"}])

    async with Kernel(await serve(handler)) as kernel:
        with pytest.raises(kind, match=r"because\n  /output/x: must be a number"):
            await kernel.processes.complete(1, {"x": "y"})


async def test_lists_are_followed_to_their_end(serve: Serve) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.query["state"] == "READY,RUNNING"
        start = int(request.query.get("cursor", 0))
        items = [{"pid": n} for n in range(start, min(start + 3, 7))]
        return web.json_response({"items": items, "next": str(start + 3) if start + 3 < 7 else None})

    async with Kernel(await serve(handler)) as kernel:
        assert [each["pid"] async for each in kernel.processes.list(state=["READY", "RUNNING"])] == list(range(7))


async def test_large_batches_are_cut(serve: Serve) -> None:
    sizes: list[int] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        items = (await request.json())["items"]
        sizes.append(len(items))
        return web.json_response({"items": [{"status": 201, "process": {"key": item["key"]}} for item in items]})

    async with Kernel(await serve(handler)) as kernel:
        answers = await kernel.processes.create_many([{"service": "s", "key": str(n)} for n in range(1200)])
    assert [answer["process"]["key"] for answer in answers] == [str(n) for n in range(1200)]  # type: ignore[typeddict-item]
    assert sizes == [500, 500, 200]


async def test_the_token_may_renew_and_names_are_escaped(serve: Serve) -> None:
    seen: list[tuple[str, str]] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append((request.raw_path, request.headers["authorization"]))
        return web.json_response({})

    tokens = iter(["one", "two"])
    async with Kernel(await serve(handler), lambda: next(tokens)) as kernel:
        await kernel.services.put("Confirmation of receipt?", {})
        await kernel.operators.get("a&b")
    assert seen == [
        ("/v1/services/Confirmation%20of%20receipt%3F", "Bearer one"),
        ("/v1/operators/a%26b", "Bearer two"),
    ]


async def test_a_stream_goes_on_where_it_broke(serve: Serve) -> None:
    asked: list[str | None] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        after = request.query.get("after")
        asked.append(after)
        if len(asked) == 2:
            return refusal(503, "restarting")
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        start = int(after or 0)
        await response.write(f"retry: 2000\nid: {start}\n\n".encode())
        for n in range(start + 1, start + 4):
            kind = "kernel.process.running.v1" if n % 2 else "kernel.process.ready.v1"
            message = f'{{"id":"{n}","type":"{kind}","time":"","data":{{"pid":{n}}}}}'
            await response.write(f"id: {n}\ndata: {message}\n\n: heartbeat\n\n".encode())
        await response.write(b'id: 99\ndata: {"id":"99","ty')
        assert request.transport is not None
        request.transport.close()
        return response

    got: list[int] = []
    async with Kernel(await serve(handler)) as kernel:
        async with kernel.stream(queue="q") as changes:
            async for change in changes:
                got.append(change["data"]["pid"])
                if len(got) == 7:
                    break
        assert got == [1, 2, 3, 4, 5, 6, 7]
        assert asked[:4] == [None, "3", "3", "6"]
        async with kernel.stream(types=["kernel.process.running.v1"]) as changes:
            odd = [change["data"]["pid"] async for change, _ in _first(changes, 3)]
        assert odd == [1, 3, 5]


async def _first(changes: Any, count: int) -> AsyncIterator[tuple[Any, int]]:
    n = 0
    async for change in changes:
        yield change, n
        n += 1
        if n == count:
            return


async def test_a_refused_stream_raises(serve: Serve) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return refusal(422, "there is no filter colour")

    async with Kernel(await serve(handler)) as kernel:
        with pytest.raises(InvalidError, match="no filter colour"):
            async with kernel.stream(colour="red"):
                pass


async def test_completions_are_sent_together_when_they_are_due(serve: Serve) -> None:
    from kernel_client.completer import Completer

    requests: list[list[int]] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        items = (await request.json())["items"]
        requests.append([item["pid"] for item in items])
        bad = {"status": 409, "problem": {"detail": "it is READY"}}
        answers = [bad if item["pid"] == 13 else {"status": 200, "process": {"pid": item["pid"]}} for item in items]
        return web.json_response({"items": answers})

    done: list[int] = []
    refused: list[tuple[int, Any]] = []
    async with Kernel(await serve(handler)) as kernel:
        completer = Completer(kernel, lambda process: done.append(process["pid"]), lambda *told: refused.append(told))
        running = asyncio.create_task(completer.run())
        for pid in range(100):
            completer.put(pid, 0.05)
        completer.put(100, 0.3)
        began = time.monotonic()
        await eventually(lambda: len(done) + len(refused) == 101)
        running.cancel()
    assert time.monotonic() - began >= 0.29
    assert len(requests) < 20
    assert sorted(done) == [pid for pid in range(101) if pid != 13]
    assert refused == [(13, {"detail": "it is READY"})]


def test_retry_after_forms() -> None:
    from datetime import UTC, datetime, timedelta
    from email.utils import format_datetime

    assert retry_after("2") == 2
    assert retry_after(None) is None
    assert retry_after("soon") is None
    assert 3 < (retry_after(format_datetime(datetime.now(UTC) + timedelta(seconds=6))) or 0) <= 6
