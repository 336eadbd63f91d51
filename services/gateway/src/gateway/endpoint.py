"""One operation as an ASGI application: who calls, whether they may, what they send, and then the answer."""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any

from kernel_runtime.http import Receive, Scope, Send
from kernel_runtime.problem import Problem, ProblemError
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

from gateway.auth.policy import Rule
from gateway.auth.principal import Principal
from gateway.auth.tokens import Tokens
from gateway.operation import Call, Operation
from gateway.proxy import Proxy
from gateway.reading import check_idempotency_key, read_body
from gateway.reply import Reply, problem_reply, send_reply

REQUEST_ID = "kernel.request_id"
TRACEPARENT = "kernel.traceparent"
ROUTE = "kernel.route"

_FORWARDED = (b"if-match", b"if-none-match", b"content-type")


class Endpoint:
    """`rule` None: nobody is let in, for nobody has said who may."""

    def __init__(self, operation: Operation, rule: Rule | None, tokens: Tokens, proxy: Proxy) -> None:
        self._operation = operation
        self._rule = rule
        self._tokens = tokens
        self._proxy = proxy
        self._events = operation.path == "/v1/events"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        principal = await self._tokens.authenticate(headers)
        params: Mapping[str, str] = scope["path_params"]
        if self._rule is None:
            raise ProblemError(Problem(403, "Forbidden", "Nobody may do this yet."))
        self._rule.check(principal, params)
        operation = self._operation
        body, content_type = b"", ""
        if operation.body is not None:
            body, content_type = await read_body(operation.body, headers, receive)
        inner = self._inner(scope, headers, principal)
        if operation.streams:
            await self._pass_on(scope, inner, receive, send)
            return
        answering = self._answer(scope, principal, params, inner, body, content_type)
        reply = await (_while_there(answering, receive) if operation.lasting else answering)
        await send_reply(reply, send)

    async def _answer(
        self,
        scope: Scope,
        principal: Principal,
        params: Mapping[str, str],
        headers: dict[str, str],
        body: bytes,
        content_type: str,
    ) -> Reply:
        operation = self._operation
        if operation.owner is not None:
            return await self._proxy.send(operation.owner, operation.method, _target(scope), headers, body)
        query: bytes = scope["query_string"]
        assert operation.handler is not None
        call = Call(principal, params, query.decode("latin-1"), content_type, body, headers, self._proxy)
        for name in ("content-type", "if-match", "if-none-match"):
            headers.pop(name, None)
        return await operation.handler(call)

    async def _pass_on(self, scope: Scope, headers: Mapping[str, str], receive: Receive, send: Send) -> None:
        """Chunk by chunk, while somebody listens. Broken off in the middle, it ends without its last chunk."""
        assert self._operation.owner is not None
        gone = asyncio.ensure_future(_gone(receive))
        try:
            async with self._proxy.stream(self._operation.owner, _target(scope), headers) as answer:
                await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
                if scope["method"] != "HEAD":
                    async for chunk in answer.chunks:
                        if gone.done():
                            return
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()

    def _inner(self, scope: Scope, headers: Mapping[bytes, bytes], principal: Principal) -> dict[str, str]:
        inner = principal.inner_headers()
        inner["x-request-id"] = scope[REQUEST_ID]
        inner["traceparent"] = scope[TRACEPARENT]
        key = headers.get(b"idempotency-key")
        if key is not None:
            check_idempotency_key(key)
            inner["idempotency-key"] = key.decode("ascii")
        for name in _FORWARDED:
            value = headers.get(name)
            if value is not None:
                inner[name.decode()] = value.decode("latin-1")
        if self._events:
            for name, value in headers.items():
                if name.startswith(b"ce-"):
                    inner[name.decode("latin-1")] = value.decode("utf-8", "replace")
        return inner


def _target(scope: Scope) -> str:
    """Path and query, encoded as the client sent them."""
    target: str = scope["raw_path"].partition(b"?")[0].decode("latin-1").replace("#", "%23")
    query: bytes = scope["query_string"]
    return f"{target}?{query.decode('latin-1').replace('#', '%23')}" if query else target


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _while_there(answering: Coroutine[Any, Any, Reply], receive: Receive) -> Reply:
    """Its reply; given up on, with the request to the service, when the client goes away."""
    work, gone = asyncio.ensure_future(answering), asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ClientDisconnect
        return work.result()
    finally:
        work.cancel()
        gone.cancel()


class ByMethod:
    """The operations on one path. HEAD is GET without its body, OPTIONS tells the methods, others are 405."""

    def __init__(self, path: str, endpoints: Mapping[str, ASGIApp]) -> None:
        self._path = path
        self._endpoints = endpoints
        methods = {*endpoints, "OPTIONS", *(["HEAD"] if "GET" in endpoints else [])}
        self._allow = ", ".join(sorted(methods))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[ROUTE] = self._path
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        endpoint = self._endpoints.get(method)
        if endpoint is not None:
            await endpoint(scope, receive, send)
        elif method == "OPTIONS":
            await send_reply(Reply(204, b"", [(b"allow", self._allow.encode())]), send)
        else:
            refusal = Problem(
                405,
                "Method not allowed",
                f"{scope['method']} is not possible here; {self._allow} are.",
                headers={"allow": self._allow},
            )
            await send_reply(problem_reply(refusal), send)
