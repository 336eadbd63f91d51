"""Reading events from HTTP: structured, batch and binary mode."""

from typing import Any

import orjson
from kernel_runtime.http import Caller
from kernel_runtime.problem import ProblemError, invalid
from starlette.requests import Request

from rules_svc import cloudevents
from rules_svc.cloudevents import InvalidEventError
from rules_svc.received import Received

MAX_BATCH = 1_000


def read_events(request: Request, raw: bytes, who: Caller) -> list[Received]:
    """The events of a request in whichever of the three modes; raises ProblemError with pointers."""
    try:
        content = _content(request, raw)
        if isinstance(content, list):
            return _batch(content, who)
        return [_event(content, who)]
    except InvalidEventError as error:
        raise ProblemError(invalid(f"Not a CloudEvent that can be taken: {error}", error.errors)) from None


def _content(request: Request, raw: bytes) -> Any:
    """An event's attributes and data, or an array of such."""
    media = request.headers.get("content-type", "").split(";")[0].strip().lower()
    binary = "ce-specversion" in request.headers or "ce-id" in request.headers
    if binary and media not in (cloudevents.STRUCTURED, cloudevents.BATCH):
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw]
        return cloudevents.from_binary(headers, raw)
    content = cloudevents.parse_json(raw)
    if media == cloudevents.BATCH and not isinstance(content, list):
        raise InvalidEventError([("", "a batch is an array of events")])
    return content


def _batch(content: list[Any], who: Caller) -> list[Received]:
    if not 1 <= len(content) <= MAX_BATCH:
        raise InvalidEventError([("", f"a batch has 1 to {MAX_BATCH:,} events")])
    events, errors = [], []
    for index, item in enumerate(content):
        try:
            events.append(_event(item, who))
        except InvalidEventError as error:
            errors += [(f"/{index}{pointer}", text) for pointer, text in error.errors]
    if errors:
        raise InvalidEventError(errors[:50])
    return events


def _event(content: Any, who: Caller) -> Received:
    if not isinstance(content, dict):
        raise InvalidEventError([("", "an event is a JSON object")])
    errors = cloudevents.find_errors(content) + cloudevents.reserved(content)
    if len(orjson.dumps(content.get("data"))) > cloudevents.MAX_DATA:
        errors.append(("/data", f"an event's data may have {cloudevents.MAX_DATA:,} bytes at most"))
    if errors:
        raise InvalidEventError(errors)
    return cloudevents.from_outside(content, who.tenant, who.cause)
