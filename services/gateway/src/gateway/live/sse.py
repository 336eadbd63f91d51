"""The stream as server-sent events: filters in the query, `Last-Event-ID` or `after` to go on."""

import asyncio
from collections.abc import Sequence

from kernel_runtime.http import Receive, Scope, Send
from kernel_runtime.problem import ProblemError, invalid

from gateway.live.filters import NAMES, FilterError, filter_of
from gateway.live.hub import Hub, query_of
from gateway.live.position import encode
from gateway.live.record import ID_AT

_HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


class EventStream:
    """ASGI: one response that lasts. A heartbeat is a comment with the position, which costs the reader nothing."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        hub = self._hub
        headers = dict(scope["headers"])
        query = query_of(scope["query_string"])
        principal = await hub.authenticate(headers, query)
        try:
            wanted = filter_of({name: value for name, value in query if name in NAMES})
        except FilterError as error:
            raise ProblemError(invalid(f"{error}.")) from None
        after = headers.get(b"last-event-id", b"").decode("latin-1") or dict(query).get("after")
        topic, position = await hub.begin(after, wanted.topic)
        subscriber = await hub.subscriber(principal, topic)
        subscriber.filters.append(wanted)
        feed = hub.feeds[topic]
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        if scope["method"] == "HEAD":
            await send(_chunk(b"", more=False))
            return
        await send(_chunk(b"retry: 2000\nid: " + encode(topic, position).encode() + b"\n\n"))
        catching_up = asyncio.ensure_future(hub.catch_up(subscriber, position))

        async def write(messages: Sequence[bytes]) -> None:
            if messages:
                await send(_chunk(b"".join(_event(message) for message in messages)))
            elif feed.attached(subscriber) and subscriber.position is None:
                await send(_chunk(b": heartbeat\nid: " + encode(topic, feed.end).encode() + b"\n\n"))
            else:
                await send(_chunk(b": heartbeat\n\n"))

        async def gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        try:
            reason = await hub.serve(subscriber, write, gone())
        finally:
            catching_up.cancel()
            await asyncio.gather(catching_up, return_exceptions=True)
        if reason is not None:
            async with asyncio.timeout(1):
                await send(_chunk(f": cut off: {reason}\n\n".encode(), more=False))


def _event(message: bytes) -> bytes:
    id = message[ID_AT : message.index(b'"', ID_AT)]
    return b"id: " + id + b"\ndata: " + message + b"\n\n"


def _chunk(body: bytes, more: bool = True) -> dict[str, object]:
    return {"type": "http.response.body", "body": body, "more_body": more}
