"""Incidents: failures that need someone."""

from kernel_runtime.database import Database
from kernel_runtime.http import caller, command, path_int, read, respond
from kernel_runtime.pipeline import Pipeline
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from process_svc.handlers.bodies import ResolveIncident
from process_svc.http import query
from process_svc.http.reads import reply
from process_svc.store import queries


def routes(database: Database, pipeline: Pipeline) -> list[BaseRoute]:
    async def listed(request: Request) -> Response:
        limit = query.limit(request)
        state = request.query_params.get("state")
        if state not in (None, "open", "resolved"):
            raise query.wrong("state", "must be open or resolved")
        pid = request.query_params.get("pid")
        cursor = request.query_params.get("cursor")
        async with database.connection() as connection:
            found = await queries.incidents(
                connection,
                caller(request).tenant,
                state,
                None if pid is None else query.number("pid", pid),
                None if cursor is None else query.number("cursor", cursor),
                limit + 1,
            )
        more = str(found[limit - 1]["id"]) if len(found) > limit else None
        return reply({"items": found[:limit], "next": more})

    async def resolve(request: Request) -> Response:
        id = path_int(request, "id", "incident")
        content, raw = await read(request, ResolveIncident, id=id)
        return respond(await pipeline.submit(command(caller(request), "resolve_incident", content, raw, target=id)))

    return [
        Route("/v1/incidents", listed, methods=["GET"]),
        Route("/v1/incidents/{id}/resolve", resolve, methods=["POST"]),
    ]
