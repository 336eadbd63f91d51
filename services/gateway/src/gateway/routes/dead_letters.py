"""Dead letters of all services in one list; an id names its service: `process-svc:12`."""

import asyncio
import base64
import binascii
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import orjson
from kernel_runtime.problem import ProblemError, invalid, not_found

from gateway.models.base import Page
from gateway.models.design import DeadLetter, Replay
from gateway.operation import MIB, Answer, Body, Call, Operation, Query
from gateway.reply import Reply, json_reply
from gateway.routes.queries import CURSOR, LIMIT

TAG = "Dead letters"


async def listed(call: Call) -> Reply:
    limit = _limit(call.argument("limit"))
    before = _position(call.argument("cursor"))
    state = quote(call.argument("state") or "dead,parked")
    names = call.proxy.services
    replies = await asyncio.gather(
        *(
            call.ask(
                name,
                "GET",
                f"/v1/dead-letters?state={state}&limit={limit}" + (f"&before={before[name]}" if name in before else ""),
            )
            for name in names
        )
    )
    for reply in replies:
        if not reply.good:
            return reply
    found = [
        (item["at"], name, item) for name, reply in zip(names, replies, strict=True) for item in reply.json()["items"]
    ]
    found.sort(key=lambda entry: (entry[0], entry[1], entry[2]["id"]), reverse=True)
    taken = found[:limit]
    for _, name, item in taken:
        before[name] = min(before.get(name, item["id"]), item["id"])
    more = len(found) > limit or any(len(reply.json()["items"]) == limit for reply in replies)
    items = [{**item, "id": f"{name}:{item['id']}"} for _, name, item in taken]
    return json_reply({"items": items, "next": _cursor(before) if more and taken else None})


async def settle(call: Call, action: str) -> Reply:
    service, _, number = call.params["id"].rpartition(":")
    if service not in call.proxy.services or not number.isascii() or not number.isdigit():
        raise ProblemError(not_found("dead letter", call.params["id"][:100]))
    reply = await call.ask(service, "POST", f"/v1/dead-letters/{number}/{action}", call.body)
    if reply.good:
        return json_reply({**reply.json(), "id": call.params["id"]})
    return reply


async def replay(call: Call) -> Reply:
    return await settle(call, "replay")


async def discard(call: Call) -> Reply:
    return await settle(call, "discard")


def _limit(text: str | None) -> int:
    if text is None:
        return 50
    if not text.isascii() or not text.isdigit() or len(text) > 3 or not 1 <= int(text) <= 500:
        raise ProblemError(invalid("limit must be a whole number from 1 to 500."))
    return int(text)


def _cursor(before: Mapping[str, int]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(before)).decode().rstrip("=")


def _position(cursor: str | None) -> dict[str, int]:
    if not cursor:
        return {}
    try:
        value: Any = orjson.loads(base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error):
        value = None
    if not isinstance(value, dict) or not all(isinstance(number, int) for number in value.values()):
        raise ProblemError(invalid("The cursor is not one of ours. Take `next` of the answer before."))
    return value


EXAMPLE = {
    "id": "process-svc:12",
    "topic": "process-commands",
    "partition": 1,
    "offset": 4402,
    "key": "4711",
    "headers": {"ce_type": "kernel.process.complete.v1", "ce_id": "c-1", "ce_source": "/portal"},
    "value": '{"pid": "4711a"}',
    "state": "dead",
    "reason": "/pid: Input should be a valid integer",
    "attempts": 0,
    "at": "2026-11-25T09:00:00Z",
}
_SETTLED = {
    "type": "object",
    "required": ["id", "state"],
    "properties": {"id": {"type": "string"}, "state": {"type": "string"}},
}

OPERATIONS = (
    Operation(
        "GET",
        "/v1/dead-letters",
        "Messages that were given up on",
        TAG,
        {200: Answer("Newest first.", Page[DeadLetter], {"items": [EXAMPLE], "next": None})},
        handler=listed,
        query=(
            Query(
                "state",
                "dead, parked, replayed, discarded; several by commas.",
                {"type": "string", "default": "dead,parked"},
            ),
            LIMIT,
            CURSOR,
        ),
    ),
    Operation(
        "POST",
        "/v1/dead-letters/{id}/replay",
        "Send it again, edited or as it was",
        TAG,
        {200: Answer("It is on its way.", _SETTLED, {"id": "process-svc:12", "state": "replayed"})},
        handler=replay,
        body=Body(Replay, {"edited": {"value": {"pid": 4711}}}, required=False, limit=MIB),
        refuses=(404, 409),
    ),
    Operation(
        "POST",
        "/v1/dead-letters/{id}/discard",
        "Give it up for good",
        TAG,
        {
            200: Answer(
                "It is gone; what was parked behind it goes on.",
                _SETTLED,
                {"id": "process-svc:12", "state": "discarded"},
            )
        },
        handler=discard,
        refuses=(404, 409),
    ),
)
