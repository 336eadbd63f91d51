"""Incidents: failures that need someone."""

from kernel_runtime.database import Database
from kernel_runtime.http import caller, command, path_int, read, respond
from kernel_runtime.pipeline import Pipeline
from kernel_runtime.problem import ProblemError, not_found
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from process_svc.handlers.bodies import ResolveIncident
from process_svc.http import query
from process_svc.store import incidents as store


def routes(database: Database, pipeline: Pipeline) -> list[BaseRoute]:
    async def listed(request: Request) -> Response:
        limit, tenant = query.limit(request), caller(request).tenant
        state, pid, cursor = (request.query_params.get(name) for name in ("state", "pid", "cursor"))
        if state not in (None, "open", "resolved"):
            raise query.wrong("state", "must be open or resolved")
        of = None if pid is None else query.number("pid", pid)
        before = None if cursor is None else query.number("cursor", cursor)
        async with database.connection() as connection:
            found = await store.page(connection, tenant, state, of, before, limit + 1)
            total = await store.count(connection, tenant, state, of) if query.counted(request) else None
        following = str(found[limit - 1].id) if len(found) > limit else None
        return query.part([each.as_dict() for each in found[:limit]], following, total)

    async def one(request: Request) -> Response:
        id = path_int(request, "id", "incident")
        async with database.connection() as connection:
            found = await store.one(connection, caller(request).tenant, id)
        if found is None:
            raise ProblemError(not_found("incident", id))
        return query.reply(found.as_dict())

    async def resolve(request: Request) -> Response:
        id = path_int(request, "id", "incident")
        content, raw = await read(request, ResolveIncident, id=id)
        return respond(await pipeline.submit(command(caller(request), "resolve_incident", content, raw, target=id)))

    return [
        Route("/v1/incidents", listed, methods=["GET"]),
        Route("/v1/incidents/{id}", one, methods=["GET"]),
        Route("/v1/incidents/{id}/resolve", resolve, methods=["POST"]),
    ]
