"""The inner HTTP of a service: who calls, reading bodies, answering, and one format for every error.

Only the gateway calls. It has checked the token; here the shared secret shows that it is the gateway, and its headers say for
whom it speaks.
"""

import functools
import hmac
import json
import math
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson
import structlog
from prometheus_client import Histogram
from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route

from kernel_runtime import metrics
from kernel_runtime.command import Cause, Command, Result, fingerprint
from kernel_runtime.database import AWAY, is_away
from kernel_runtime.problem import MEDIA_TYPE, Problem, ProblemError, invalid, unavailable, validation_problem

log = structlog.get_logger()

M = TypeVar("M", bound=BaseModel)
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MAX_BODY = 4 * 1024 * 1024
MAX_DEPTH = 64
_SUSPECT = re.compile(rb"[0-9]{19}|[0-9][eE]\+?[0-9]{3}|NaN|Infinity|\\u0000")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class Caller:
    """For whom the gateway speaks."""

    tenant: str
    principal: str
    roles: frozenset[str]
    operator: str | None
    key: str | None
    """The Idempotency-Key."""
    if_match: int | None
    cause: Cause


def caller(request: Request) -> Caller:
    """From the gateway's headers; raises ProblemError where If-Match is not a version."""
    headers = {name: _text(value) for name, value in request.scope["headers"] if name in _ABOUT_CALLER}
    id = headers.get(b"x-request-id", "")[:200] or uuid.uuid4().hex
    trace = headers.get(b"traceparent", "")
    return Caller(
        tenant=headers.get(b"x-kernel-tenant") or "main",
        principal=headers.get(b"x-kernel-principal") or "unknown",
        roles=frozenset(filter(None, headers.get(b"x-kernel-roles", "").split(","))),
        operator=headers.get(b"x-kernel-operator") or None,
        key=headers.get(b"idempotency-key") or None,
        if_match=_version(headers.get(b"if-match")),
        cause=Cause(id, id, 0, trace if _TRACEPARENT.fullmatch(trace) else None),
    )


_ABOUT_CALLER = frozenset(
    b"x-request-id x-kernel-tenant x-kernel-principal x-kernel-roles x-kernel-operator"
    b" idempotency-key if-match traceparent".split()
)


def _text(value: bytes) -> str:
    """Names of people and roles are UTF-8 in the gateway's headers."""
    return value.decode("utf-8", "replace")


def command(who: Caller, name: str, body: Any, raw: bytes, *, target: object = "", weight: int = 1) -> Command:
    """A command of `who`; remembered where the caller sent an Idempotency-Key. `target` is what the address names."""
    id = f"{who.tenant}|{who.principal}|{who.key}" if who.key else who.cause.correlation
    return Command(
        id=id,
        name=name,
        tenant=who.tenant,
        body=body,
        by=who.principal,
        cause=who.cause,
        fingerprint=fingerprint(name, f"{target}|".encode() + raw) if who.key else None,
        roles=who.roles,
        operator=who.operator,
        weight=weight,
    )


async def read(request: Request, model: type[M], **fixed: Any) -> tuple[M, bytes]:
    """The body as `model`, with what the address fixes, and the raw bytes; raises ProblemError with pointers."""
    raw = await body(request)
    try:
        raw_or_empty = raw or b"{}"
        content = (
            model.model_validate(_object(raw_or_empty) | fixed) if fixed else model.model_validate_json(raw_or_empty)
        )
    except ValidationError as error:
        raise ProblemError(validation_problem(error, _parsed(raw))) from None
    return content, raw


def _parsed(raw: bytes) -> Any:
    try:
        return orjson.loads(raw or b"{}")
    except orjson.JSONDecodeError:
        return None


async def body(request: Request) -> bytes:
    """The raw body; 413 over 4 MiB, 422 where it holds what can't be stored exactly (NUL, numbers beyond 64 bits)."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > MAX_BODY:
        raise ProblemError(_TOO_LARGE)
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_BODY:
            raise ProblemError(_TOO_LARGE)
        chunks.append(chunk)
    raw = b"".join(chunks)
    check_json(raw)
    return raw


_TOO_LARGE = Problem(413, "Content too large", f"A body may have {MAX_BODY:,} bytes at most.")


def check_json(raw: bytes) -> None:
    """Raises ProblemError where JSON text nests too deep or has what Postgres or a double can't hold."""
    if _too_deep(raw):
        raise ProblemError(invalid(f"The JSON nests deeper than {MAX_DEPTH} levels."))
    if _SUSPECT.search(raw):
        _check_values(raw)


def _too_deep(raw: bytes) -> bool:
    if raw.count(b"[") + raw.count(b"{") <= MAX_DEPTH:
        return False
    depth = 0
    in_string = escaped = False
    for char in raw:
        if in_string:
            if escaped:
                escaped = False
            elif char == 0x5C:
                escaped = True
            elif char == 0x22:
                in_string = False
        elif char == 0x22:
            in_string = True
        elif char in (0x5B, 0x7B):
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif char in (0x5D, 0x7D):
            depth -= 1
    return False


def _check_values(raw: bytes) -> None:
    """Slow and exact, for the few bodies that look suspicious."""
    try:
        value = json.loads(raw, parse_int=_whole, parse_float=_real, parse_constant=_no_number)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ProblemError(Problem(400, "Malformed JSON", f"The body is not JSON that we read: {error}")) from None
    if b"u0000" in raw and _has_nul(value):
        raise ProblemError(invalid("The character U+0000 can't be stored. Remove it from the text."))


def _whole(digits: str) -> int:
    if len(digits) > 20 or not -(2**63) <= int(digits) < 2**63:
        raise ProblemError(invalid("A whole number has more than 64 bits. Send it as a string."))
    return int(digits)


def _real(digits: str) -> float:
    if not math.isfinite(number := float(digits)):
        raise ProblemError(invalid("A number is too large for a double. Send it as a string."))
    return number


def _no_number(name: str) -> None:
    raise ProblemError(Problem(400, "Malformed JSON", f"{name} is not JSON. Leave it out, or send null or a string."))


def _has_nul(value: Any) -> bool:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            if "\x00" in item:
                return True
        elif isinstance(item, dict):
            stack.extend(item)
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
    return False


def _object(raw: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ProblemError(Problem(400, "Malformed JSON", f"The body is not JSON that we read: {error}")) from None
    if not isinstance(value, dict):
        raise ProblemError(invalid("The body must be a JSON object."))
    return value


_ETAG = re.compile(r'(?:W/)?("?)([0-9]{1,18})\1')


def _version(text: str | None) -> int | None:
    if text is None or text == "*":
        return None
    found = _ETAG.fullmatch(text)
    if found is None:
        raise ProblemError(invalid('If-Match must be a version as an ETag, such as "3".'))
    return int(found[2])


def path_int(request: Request, name: str, what: str) -> int:
    """A positive whole number in the address; anything else is 404, for no such thing exists."""
    text = str(request.path_params[name])
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ProblemError(Problem(404, "Not found", f"There is no {what} {text[:60]}."))
    return int(text)


def respond(result: Result) -> Response:
    """An HTTP response of what the pipeline or a read gave."""
    if isinstance(result, Problem):
        return problem_response(result)
    return Response(result.body, result.status, headers=result.headers, media_type="application/json")


def problem_response(problem: Problem) -> Response:
    return Response(problem.as_json(), problem.status, headers=dict(problem.headers), media_type=MEDIA_TYPE)


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps(value), status, headers=headers, media_type="application/json")


def application(
    routes: Sequence[BaseRoute], *, internal_token: str, open_paths: frozenset[str] = frozenset()
) -> "Door":
    """A Starlette application behind the checks that every inner request passes."""
    app = Starlette(
        routes=list(routes),
        exception_handlers={
            ProblemError: _on_problem,
            HTTPException: _on_http,
            **dict.fromkeys((*AWAY, ClientDisconnect, Exception), _on_failure),
        },
    )
    return Door(app, internal_token, open_paths | {"/health/live", "/health/ready", "/metrics"})


class Door:
    """Pure ASGI: the shared secret, no U+0000 (Postgres has no such text), ids bound for the log, time and status measured."""

    def __init__(self, app: Starlette, token: str, open_paths: frozenset[str]) -> None:
        self._app = app
        self._token = token.encode()
        self._open = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = dict(scope["headers"])
        path = scope["path"]
        if path not in self._open and not hmac.compare_digest(headers.get(b"x-kernel-token", b""), self._token):
            await problem_response(_FOR_THE_GATEWAY)(scope, receive, send)
            return
        if "\x00" in path or b"%00" in scope["query_string"]:
            nowhere = "\x00" in path and scope["method"] != "PUT"  # which would make what is there
            await problem_response(_NOWHERE if nowhere else _NUL)(scope, receive, send)
            return
        started = time.perf_counter()
        status, ended = 0, False

        async def sending(event: MutableMapping[str, Any]) -> None:
            nonlocal status, ended
            if event["type"] == "http.response.start":
                status = event["status"]
            else:
                ended = not event.get("more_body")
            await send(event)

        with structlog.contextvars.bound_contextvars(
            request=headers.get(b"x-request-id", b"").decode("latin-1"),
            tenant=_text(headers.get(b"x-kernel-tenant", b"")),
        ):
            try:
                await self._app(scope, receive, sending)
            except Exception:
                if not ended:  # else it was answered and logged; Starlette raises it all the same
                    raise
            finally:
                route = getattr(scope.get("route"), "path", "unmatched")
                method = scope["method"] if scope["method"] in _METHODS else "other"
                _seconds(route, method, status).observe(time.perf_counter() - started)


_NOWHERE = Problem(404, "Not found", "No name has the character U+0000; there is nothing at this address.")
_NUL = invalid("The character U+0000 is in no text that we keep. Remove %00 from the address.")
_FOR_THE_GATEWAY = Problem(403, "Forbidden", "Inner addresses are for the gateway. Call the gateway instead.")


@functools.cache
def _seconds(route: str, method: str, status: int) -> Histogram:
    return metrics.HTTP_SECONDS.labels(route, method, str(status))


_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


async def _on_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return problem_response(error.problem)


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        routes = [route for route in request.app.routes if isinstance(route, Route)]
        fitting = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
        headers = {"allow": ", ".join(sorted({method for route in fitting for method in route.methods or ()}))}
    return problem_response(Problem(error.status_code, str(error.detail), str(error.detail), headers=headers))


async def _on_failure(request: Request, error: Exception) -> Response:
    if isinstance(error, ClientDisconnect):
        return Response(status_code=499)
    if is_away(error):
        return problem_response(unavailable("The database is away. Try again in a moment."))
    log.error("http.defect", path=request.url.path, exc_info=error)
    return problem_response(Problem(500, "Internal error", "This is a defect of ours; it was logged."))
