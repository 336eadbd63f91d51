"""The stream as a WebSocket: send `{"subscribe": {...}}`, as often as you like; what fits any of them comes.

With `{"subscribe": {...}, "ack": true}` the subscription is confirmed and heartbeats come as messages too, for clients that see
no pings (browsers).
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import orjson
from kernel_runtime.http import Receive, Scope, Send
from kernel_runtime.problem import Problem, ProblemError

from gateway.auth.principal import Principal
from gateway.endpoint import REQUEST_ID
from gateway.live.filters import NAMES, FilterError, filter_of
from gateway.live.hub import Hub, query_of
from gateway.live.position import encode
from gateway.live.subscriber import Subscriber
from gateway.reply import problem_reply

SUBSCRIBED, HEARTBEAT, ERROR = "kernel.stream.subscribed.v1", "kernel.stream.heartbeat.v1", "kernel.stream.error.v1"
MAX_FILTERS = 100
POLICY_VIOLATION, TRY_AGAIN_LATER = 1008, 1013


class Socket:
    """ASGI: one WebSocket. Refused before it is accepted where the caller may not, with the problem as its answer."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        hub = self._hub
        await receive()
        query = query_of(scope["query_string"])
        try:
            principal = await hub.authenticate(dict(scope["headers"]), query)
            wanted = {name: value for name, value in query if name in NAMES}
            first = _filter(wanted) if wanted else None
            topic, position = await hub.begin(dict(query).get("after"), first.topic if first else None)
            subscriber = await hub.subscriber(principal, topic)
        except ProblemError as error:
            await _deny(error.problem, scope, send)
            return
        await send({"type": "websocket.accept", "headers": [(b"x-request-id", scope[REQUEST_ID].encode())]})
        connection = _Connection(hub, principal, subscriber, position, send, fixed="after" in dict(query))
        if first is not None:
            await connection.add(wanted)
        with suppress(OSError, RuntimeError):  # the client went while we wrote
            await connection.run(receive)


class _Connection:
    """What a client said so far, and the task that brings it up to date."""

    def __init__(
        self, hub: Hub, principal: Principal, subscriber: Subscriber, position: list[int], send: Send, *, fixed: bool
    ) -> None:
        self._hub = hub
        self._principal = principal
        self._subscriber = subscriber
        self._position = position
        self._send = send
        self._fixed = fixed
        """It goes on from an earlier id, so its topic is chosen."""
        self._ack = False
        self._catching_up: asyncio.Task[None] | None = None

    async def run(self, receive: Receive) -> None:
        try:
            reason = await self._hub.serve(self._subscriber, self._write, self._listen(receive))
        finally:
            if self._catching_up is not None:
                self._catching_up.cancel()
                await asyncio.gather(self._catching_up, return_exceptions=True)
        if reason is not None:
            code = POLICY_VIOLATION if reason.startswith("the token") else TRY_AGAIN_LATER
            async with asyncio.timeout(1):
                await self._send({"type": "websocket.close", "code": code, "reason": reason[:120]})

    async def _listen(self, receive: Receive) -> None:
        while True:
            event = await receive()
            if event["type"] == "websocket.disconnect":
                return
            try:
                said = orjson.loads(event.get("text") or event.get("bytes") or b"")
                if not isinstance(said, dict) or not isinstance(said.get("subscribe"), dict):
                    raise FilterError('send {"subscribe": {...}}')
                self._ack = self._ack or said.get("ack") is True
                await self.add(said["subscribe"])
            except (orjson.JSONDecodeError, FilterError, ProblemError) as error:
                await self._say(ERROR, Problem(422, "Invalid input", str(error)).as_dict())

    async def add(self, values: dict[str, Any]) -> None:
        """One more filter; the first begins the flow from where the client connected."""
        wanted = filter_of(values)
        subscriber = self._subscriber
        if len(subscriber.filters) >= MAX_FILTERS:
            raise FilterError(f"one connection has {MAX_FILTERS} subscriptions at most")
        if wanted.topic != subscriber.topic:
            if subscriber.filters or self._fixed:
                raise FilterError("resources and processes take a connection each")
            subscriber.topic, self._position = await self._hub.begin(None, wanted.topic)
        subscriber.filters.append(wanted)
        feed = self._hub.feeds[subscriber.topic]
        if feed.attached(subscriber):
            feed.attach(subscriber)
        if self._ack:
            await self._say(SUBSCRIBED, {"subscribe": values})
        if self._catching_up is None:
            self._catching_up = asyncio.ensure_future(self._hub.catch_up(subscriber, self._position))

    async def _write(self, messages: Sequence[bytes]) -> None:
        for message in messages:
            await self._send({"type": "websocket.send", "text": message.decode()})
        if not messages and self._ack:
            await self._say(HEARTBEAT, {})

    async def _say(self, type: str, data: dict[str, Any]) -> None:
        subscriber = self._subscriber
        feed = self._hub.feeds[subscriber.topic]
        level = feed.attached(subscriber) and subscriber.position is None
        id = encode(subscriber.topic, feed.end if level else self._position)
        now = datetime.now(UTC).isoformat()
        message = orjson.dumps({"id": id, "type": type, "time": now, "data": data})
        await self._send({"type": "websocket.send", "text": message.decode()})


def _filter(values: dict[str, Any]) -> Any:
    try:
        return filter_of(values)
    except FilterError as error:
        raise ProblemError(Problem(422, "Invalid input", str(error))) from None


async def _deny(problem: Problem, scope: Scope, send: Send) -> None:
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": problem.detail[:120]})
        return
    reply = problem_reply(problem)
    headers = [*reply.headers, (b"content-length", str(len(reply.body)).encode())]
    await send({"type": "websocket.http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": reply.body})
