"""Resources: define, read, deliver, delete."""

from kernel_contracts.resource import ChangeStock, ResourceDefinition
from kernel_contracts.vocabulary import ResourceStatus
from kernel_runtime.database import Database
from kernel_runtime.http import caller, command, json_response, read, respond
from kernel_runtime.pipeline import Pipeline
from kernel_runtime.problem import ProblemError, invalid, not_found
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from resource_svc import wire
from resource_svc.domain.resource import State
from resource_svc.handlers.definitions import DeleteResource, PutResource, StockChange
from resource_svc.http.paging import answer, id_of, new_id_of, page
from resource_svc.store import reads


def routes(database: Database, pipeline: Pipeline) -> list[BaseRoute]:
    async def put(request: Request) -> Response:
        who, id = caller(request), new_id_of(request)
        content, raw = await read(request, ResourceDefinition)
        body = PutResource(id, wire.resource(id, content), who.if_match)
        return respond(await pipeline.submit(command(who, "put_resource", body, raw, target=id)))

    async def get(request: Request) -> Response:
        return shown(*await found(database, request, "resource"))

    async def listed(request: Request) -> Response:
        query, asked = request.query_params, page(request, "id")
        status = query.get("status")
        if status is not None and status not in list(ResourceStatus):
            raise ProblemError(invalid(f"status must be one of {', '.join(ResourceStatus)}."))
        label = query.get("label")
        name, separator, value = (label or "").partition(":")
        if label is not None and not separator:
            raise ProblemError(invalid("label must be NAME:VALUE."))
        async with database.connection() as connection:
            items, total = await reads.many(
                connection,
                caller(request).tenant,
                type=query.get("type") or None,
                status=status,
                label=(name, value) if label is not None else None,
                after=asked.after,
                limit=asked.read,
                count=asked.count,
            )
        return answer(asked, items, total, lambda item: wire.shown(*item), lambda item: item[0].resource.id)

    async def delete(request: Request) -> Response:
        who = caller(request)
        body = DeleteResource(id_of(request, "resource"), False, who.if_match)
        return respond(await pipeline.submit(command(who, "delete_resource", body, b"", target=body.id)))

    async def stock(request: Request) -> Response:
        who, id = caller(request), id_of(request, "resource")
        content, raw = await read(request, ChangeStock)
        body = StockChange(id, content.delta, content.reason)
        return respond(await pipeline.submit(command(who, "change_stock", body, raw, target=id)))

    return [
        Route("/v1/resources", listed),
        Route("/v1/resources/{id}", put, methods=["PUT"]),
        Route("/v1/resources/{id}", get),
        Route("/v1/resources/{id}", delete, methods=["DELETE"]),
        Route("/v1/resources/{id}/stock", stock, methods=["POST"]),
    ]


async def found(database: Database, request: Request, what: str) -> tuple[State, int]:
    """State and revision of the one in the address; raises ProblemError 404."""
    id = id_of(request, what)
    async with database.connection() as connection:
        one = await reads.one(connection, caller(request).tenant, id)
    if one is None:
        raise ProblemError(not_found(what, id))
    return one


def shown(state: State, revision: int) -> Response:
    return json_response(wire.shown(state, revision), headers={"etag": f'"{revision}"'})
