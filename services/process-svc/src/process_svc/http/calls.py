"""The calls of a process, and what has become of their items."""

import orjson
from kernel_runtime.database import Database
from kernel_runtime.http import caller, path_int
from kernel_runtime.problem import ProblemError, not_found
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from process_svc.handlers.calling import error, progress
from process_svc.http import query
from process_svc.store import calls as store
from process_svc.store import queries


def routes(database: Database) -> list[BaseRoute]:
    async def of_a_process(request: Request) -> Response:
        """Newest first."""
        limit, tenant = query.limit(request), caller(request).tenant
        pid = path_int(request, "pid", "process")
        before = query.position(request) or None
        async with database.connection() as connection:
            if await queries.one(connection, tenant, pid) is None:
                raise ProblemError(not_found("process", pid))
            rows = await store.of(connection, tenant, pid, before, limit + 1)
        items = [
            progress(store.call({**row})) | {"open": row["open"], "at": row["at"].isoformat()} for row in rows[:limit]
        ]
        return query.part(items, str(items[-1]["id"]) if len(rows) > limit else None, None)

    async def items(request: Request) -> Response:
        """In the order of their index."""
        limit, id = query.limit(request), path_int(request, "id", "call")
        cursor = request.query_params.get("cursor")
        after = -1 if cursor is None else query.position(request)
        async with database.connection() as connection:
            call = await store.one(connection, caller(request).tenant, id)
            if call is None:
                raise ProblemError(not_found("call", id))
            found = await store.page(connection, id, after, limit + 1)
        told = [
            {
                "index": item.position,
                "item": orjson.Fragment(given),
                "pid": item.child,
                "state": item.state,
                "outcome": item.outcome,
                "output": None if item.output is None else orjson.Fragment(item.output),
                "error": error(item),
            }
            for item, given in found[:limit]
        ]
        following = str(found[limit - 1][0].position) if len(found) > limit else None
        return query.part(told, following, call.total if query.counted(request) else None)

    return [
        Route("/v1/processes/{pid}/calls", of_a_process, methods=["GET"]),
        Route("/v1/calls/{id}/items", items, methods=["GET"]),
    ]
