"""The dead letters of one service over HTTP, the same for each; the gateway brings them together."""

from collections.abc import Callable

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from kernel_runtime import dead_letters
from kernel_runtime.database import Database
from kernel_runtime.dead_letters import Tenancy
from kernel_runtime.http import body, caller, json_response, path_int
from kernel_runtime.problem import ProblemError, conflict, invalid, not_found


def routes(database: Database, wake: Callable[[], None], default_tenant: str) -> list[BaseRoute]:
    """GET /v1/dead-letters, POST /v1/dead-letters/{id}/replay and /discard; a tenant sees its own."""

    def tenancy(request: Request) -> Tenancy:
        return Tenancy(caller(request).tenant, default_tenant)

    async def listed(request: Request) -> Response:
        states = request.query_params.get("state", "dead,parked").split(",")
        limit = request.query_params.get("limit", "50")
        before = request.query_params.get("before")
        if not limit.isdigit() or not 1 <= int(limit) <= 500 or not (before is None or before.isdigit()):
            raise ProblemError(invalid("limit must be 1 to 500, before the id of a dead letter."))
        async with database.connection() as connection:
            items = await dead_letters.listed(
                connection, tenancy(request), states, int(limit), int(before) if before else None
            )
        return json_response({"items": items, "next": None})

    async def settle(request: Request) -> Response:
        id = path_int(request, "id", "dead letter")
        replay = request.url.path.endswith("/replay")
        raw = await body(request)
        try:
            content = orjson.loads(raw or b"{}")
        except orjson.JSONDecodeError:
            raise ProblemError(invalid('The body must be JSON: {"value": edited body}, or empty.')) from None
        value = content.get("value") if isinstance(content, dict) else None
        edited = value.encode() if isinstance(value, str) else orjson.dumps(value) if value is not None else None
        async with database.connection() as connection:
            done = await dead_letters.settle(connection, tenancy(request), id, replay=replay, value=edited)
            if not done:
                known = await dead_letters.state_of(connection, tenancy(request), id)
                if known is None:
                    raise ProblemError(not_found("dead letter", id))
                raise ProblemError(conflict("Already settled", f"Dead letter {id} is {known}; only a dead one can be."))
        wake()
        return json_response({"id": id, "state": "replayed" if replay else "discarded"})

    return [
        Route("/v1/dead-letters", listed),
        *(Route(f"/v1/dead-letters/{{id}}/{action}", settle, methods=["POST"]) for action in ("replay", "discard")),
    ]
