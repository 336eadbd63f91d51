"""Operators: define, read, say who is there, delete."""

from kernel_contracts.resource import OperatorDefinition, SetPresence
from kernel_contracts.vocabulary import Presence
from kernel_runtime.database import Database
from kernel_runtime.http import caller, command, read, respond
from kernel_runtime.pipeline import Pipeline
from kernel_runtime.problem import ProblemError, invalid, not_found
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from resource_svc import wire
from resource_svc.domain.resource import OPERATOR
from resource_svc.handlers.definitions import DeleteResource, PutResource
from resource_svc.handlers.presence import PresenceChange
from resource_svc.http.paging import answer, id_of, new_id_of, page
from resource_svc.http.resources import found, shown
from resource_svc.store import reads


def routes(database: Database, pipeline: Pipeline) -> list[BaseRoute]:
    async def put(request: Request) -> Response:
        who, id = caller(request), new_id_of(request)
        content, raw = await read(request, OperatorDefinition)
        body = PutResource(id, wire.operator(id, content), who.if_match)
        return respond(await pipeline.submit(command(who, "put_resource", body, raw, target=f"operator {id}")))

    async def get(request: Request) -> Response:
        state, revision = await found(database, request, "operator")
        if state.resource.type != OPERATOR:
            raise ProblemError(not_found("operator", state.resource.id))
        return shown(state, revision)

    async def listed(request: Request) -> Response:
        query, asked = request.query_params, page(request, "id")
        presence = query.get("presence")
        if presence is not None and presence not in list(Presence):
            raise ProblemError(invalid(f"presence must be one of {', '.join(Presence)}."))
        async with database.connection() as connection:
            items, total = await reads.many(
                connection,
                caller(request).tenant,
                type=OPERATOR,
                presence=presence,
                role=query.get("role"),
                after=asked.after,
                limit=asked.read,
                count=asked.count,
            )
        return answer(asked, items, total, lambda item: wire.shown(*item), lambda item: item[0].resource.id)

    async def delete(request: Request) -> Response:
        who = caller(request)
        body = DeleteResource(id_of(request, "operator"), True, who.if_match)
        return respond(await pipeline.submit(command(who, "delete_resource", body, b"", target=f"operator {body.id}")))

    async def presence(request: Request) -> Response:
        who, id = caller(request), id_of(request, "operator")
        content, raw = await read(request, SetPresence)
        body = PresenceChange(id, content.status, content.until, content.release)
        return respond(await pipeline.submit(command(who, "set_presence", body, raw, target=id)))

    return [
        Route("/v1/operators", listed),
        Route("/v1/operators/{id}", put, methods=["PUT"]),
        Route("/v1/operators/{id}", get),
        Route("/v1/operators/{id}", delete, methods=["DELETE"]),
        Route("/v1/operators/{id}/presence", presence, methods=["POST"]),
    ]
