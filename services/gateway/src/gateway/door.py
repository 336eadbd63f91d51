"""What every request passes: ids, the bound on what is under way, one form for every error, measurement. Pure ASGI."""

import os
import re
import time
from collections.abc import MutableMapping
from typing import Any

import structlog
from kernel_runtime import metrics
from kernel_runtime.database import is_away
from kernel_runtime.http import Receive, Scope, Send
from kernel_runtime.problem import Problem, ProblemError, unavailable
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

from gateway.endpoint import REQUEST_ID, ROUTE, TRACEPARENT
from gateway.reply import problem_reply, send_reply

log = structlog.get_logger()

_LASTING = frozenset({"/v1/stream", "/v1/work:claim"})
_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_TRACE = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class Door:
    """Around everything else. `busy`: requests under way; the stream and claims, which last, have bounds of their own."""

    def __init__(self, app: ASGIApp, max_in_flight: int) -> None:
        self._app = app
        self._limit = max_in_flight
        self.busy = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            _identify(scope)
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        _identify(scope)
        request_id = scope[REQUEST_ID].encode()
        status = 0

        async def sending(event: MutableMapping[str, Any]) -> None:
            nonlocal status
            if event["type"] == "http.response.start":
                status = event["status"]
                event["headers"] = [*event["headers"], (b"x-request-id", request_id)]
            await send(event)

        lasting = scope["path"] in _LASTING
        self.busy += not lasting
        try:
            if self.busy > self._limit and not scope["path"].startswith("/health/"):
                raise ProblemError(unavailable("Too much is under way. Try again in a moment."))
            await self._app(scope, receive, sending)
        except ProblemError as error:
            await _refuse(error.problem, status, sending)
        except ClientDisconnect:
            status = 499
        except Exception as error:
            if is_away(error):
                problem = unavailable("The gateway's database is away. Try again in a moment.")
            else:
                log.exception("http.defect", path=scope["path"], request=scope[REQUEST_ID])
                problem = Problem(500, "Internal error", "This is a defect of ours; it was logged.")
            await _refuse(problem, status, sending)
        finally:
            self.busy -= not lasting
            took = time.perf_counter() - started
            metrics.HTTP_SECONDS.labels(scope.get(ROUTE, "unmatched"), scope["method"], str(status)).observe(took)


async def _refuse(problem: Problem, status: int, send: Send) -> None:
    """Unless the response has begun: then it ends where it is, and the server closes the connection."""
    if not status:
        await send_reply(problem_reply(problem), send)


def _identify(scope: Scope) -> None:
    """The request's id and trace: the client's where they are well-formed, else new ones."""
    request_id = trace = None
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            request_id = value
        elif name == b"traceparent":
            trace = value
    scope[REQUEST_ID] = request_id.decode() if request_id and _ID.fullmatch(request_id) else os.urandom(16).hex()
    if trace and _TRACE.fullmatch(trace):
        scope[TRACEPARENT] = trace.decode()
    else:
        scope[TRACEPARENT] = f"00-{os.urandom(16).hex()}-{os.urandom(8).hex()}-01"
