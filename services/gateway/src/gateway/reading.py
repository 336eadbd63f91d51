"""Reading what a client sends, within limits: refused before it fills memory."""

import re
from collections.abc import Mapping

from kernel_runtime.http import Receive, check_json
from kernel_runtime.problem import Problem, ProblemError, invalid
from starlette.requests import ClientDisconnect

from gateway.operation import Body

_KEY = re.compile(rb"[\x21-\x7e]{1,255}")


async def read_body(body: Body, headers: Mapping[bytes, bytes], receive: Receive) -> tuple[bytes, str]:
    """The raw body and its media type; raises ProblemError: 413, 415, 422."""
    announced = headers.get(b"content-length")
    if announced is not None and int(announced) > body.limit:
        raise ProblemError(_too_large(body.limit))
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise ProblemError(Problem(415, "Unsupported media type", "Send the body without Content-Encoding."))
    raw = await _read(receive, body.limit)
    given = headers.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")
    if not raw and not body.required:
        return raw, given
    if given and given not in body.media:
        raise ProblemError(
            Problem(
                415,
                "Unsupported media type",
                f"{given[:100]} is not understood here. Send `Content-Type: {' or '.join(body.media)}`.",
                headers={"accept": ", ".join(body.media)},
            )
        )
    kind = given or body.media[0]
    if kind.endswith("json"):
        check_json(raw)
    return raw, kind


async def _read(receive: Receive, limit: int) -> bytes:
    event = await receive()
    if event["type"] == "http.disconnect":
        raise ClientDisconnect
    if not event.get("more_body"):
        raw: bytes = event.get("body", b"")
        if len(raw) > limit:
            raise ProblemError(_too_large(limit))
        return raw
    chunks = [event["body"]]
    size = len(event["body"])
    while event.get("more_body"):
        event = await receive()
        if event["type"] == "http.disconnect":
            raise ClientDisconnect
        size += len(event.get("body", b""))
        if size > limit:
            raise ProblemError(_too_large(limit))
        chunks.append(event.get("body", b""))
    return b"".join(chunks)


def check_idempotency_key(key: bytes) -> None:
    if not _KEY.fullmatch(key):
        raise ProblemError(invalid("An Idempotency-Key has 1 to 255 visible ASCII characters."))


def _too_large(limit: int) -> Problem:
    return Problem(413, "Content too large", f"The body of this operation may have {limit:,} bytes at most.")
