"""What goes back to the client."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from kernel_runtime.http import Send
from kernel_runtime.problem import MEDIA_TYPE, Problem

RawHeaders = list[tuple[bytes, bytes]]
JSON_TYPE = (b"content-type", b"application/json")


@dataclass(slots=True)
class Reply:
    """A whole response; `content-length` is added when it is sent."""

    status: int = 200
    body: bytes = b""
    headers: RawHeaders = field(default_factory=list)

    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def good(self) -> bool:
        return 200 <= self.status < 300


def json_reply(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(status, orjson.dumps(value), [JSON_TYPE, *raw(headers or {})])


def problem_reply(problem: Problem) -> Reply:
    return Reply(problem.status, problem.as_json(), [(b"content-type", MEDIA_TYPE.encode()), *raw(problem.headers)])


def raw(headers: Mapping[str, str]) -> RawHeaders:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


async def send_reply(reply: Reply, send: Send) -> None:
    """As ASGI events."""
    length = (b"content-length", str(len(reply.body)).encode())
    start = {"type": "http.response.start", "status": reply.status, "headers": [*reply.headers, length]}
    if reply.status in (204, 304):
        start["headers"] = reply.headers
    await send(start)
    await send({"type": "http.response.body", "body": reply.body})
