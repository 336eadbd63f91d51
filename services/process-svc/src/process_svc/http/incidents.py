"""Incidents: failures that need someone."""

from kernel_runtime.database import Database
from kernel_runtime.http import caller, command, path_int, read, respond
from kernel_runtime.pipeline import Pipeline
from kernel_runtime.problem import ProblemError, not_found
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from process_svc.handlers.bodies import AssignIncident, ResolveIncident
from process_svc.http import query
from process_svc.store import incidents as store
from process_svc.store.incidents import Wanted


def routes(database: Database, pipeline: Pipeline) -> list[BaseRoute]:
    async def listed(request: Request) -> Response:
        limit, tenant = query.limit(request), caller(request).tenant
        state, pid, cursor, group, type, assignee = (
            request.query_params.get(name) for name in ("state", "pid", "cursor", "group", "type", "assignee")
        )
        if state not in (None, "open", "resolved"):
            raise query.wrong("state", "must be open or resolved")
        if group not in (None, "type"):
            raise query.wrong("group", "must be type")
        if group is not None:
            async with database.connection() as connection:
                alike = await store.groups(connection, tenant, state or "open")
            return query.part(alike, None, len(alike) if query.counted(request) else None)
        for name, value in (("type", type), ("assignee", assignee)):
            if value is not None and "\x00" in value:
                raise query.wrong(name, "has the character U+0000")
        of = None if pid is None else query.number("pid", pid)
        before = None if cursor is None else query.number("cursor", cursor)
        wanted = Wanted(tenant, state, of, type, assignee)
        async with database.connection() as connection:
            found = await store.page(connection, wanted, before, limit + 1)
            total = await store.count(connection, wanted) if query.counted(request) else None
        following = str(found[limit - 1].id) if len(found) > limit else None
        return query.part([each.as_dict() for each in found[:limit]], following, total)

    async def one(request: Request) -> Response:
        id = path_int(request, "id", "incident")
        async with database.connection() as connection:
            found = await store.one(connection, caller(request).tenant, id)
        if found is None:
            raise ProblemError(not_found("incident", id))
        shown = query.reply(found.as_dict())
        shown.headers["etag"] = f'"{found.version}"'
        return shown

    async def resolve(request: Request) -> Response:
        id, who = path_int(request, "id", "incident"), caller(request)
        content, raw = await read(request, ResolveIncident, id=id, if_match=who.if_match)
        sent = command(who, "resolve_incident", content, raw, target=f"{id}|{who.if_match}")
        return respond(await pipeline.submit(sent))

    async def assign(request: Request) -> Response:
        id, who = path_int(request, "id", "incident"), caller(request)
        content, raw = await read(request, AssignIncident, id=id, if_match=who.if_match)
        sent = command(who, "assign_incident", content, raw, target=f"{id}|{who.if_match}|assign")
        return respond(await pipeline.submit(sent))

    return [
        Route("/v1/incidents", listed, methods=["GET"]),
        Route("/v1/incidents/{id}", one, methods=["GET"]),
        Route("/v1/incidents/{id}/assign", assign, methods=["POST"]),
        Route("/v1/incidents/{id}/resolve", resolve, methods=["POST"]),
    ]
