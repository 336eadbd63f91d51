"""Calendars: define and read."""

from kernel_contracts.resource import CalendarDefinition
from kernel_runtime.database import Database
from kernel_runtime.http import caller, command, json_response, read, respond
from kernel_runtime.pipeline import Pipeline
from kernel_runtime.problem import ProblemError, not_found
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from resource_svc import wire
from resource_svc.handlers.calendars import PutCalendar
from resource_svc.http.paging import answer, id_of, new_id_of, page
from resource_svc.store import reads


def routes(database: Database, pipeline: Pipeline) -> list[BaseRoute]:
    async def put(request: Request) -> Response:
        who, id = caller(request), new_id_of(request)
        content, raw = await read(request, CalendarDefinition)
        body = PutCalendar(id, wire.calendar(content), who.if_match)
        return respond(await pipeline.submit(command(who, "put_calendar", body, raw, target=id)))

    async def get(request: Request) -> Response:
        id = id_of(request, "calendar")
        async with database.connection() as connection:
            one = await reads.calendar(connection, caller(request).tenant, id)
        if one is None:
            raise ProblemError(not_found("calendar", id))
        definition, version = one
        return json_response({"id": id, "version": version, **definition}, headers={"etag": f'"{version}"'})

    async def listed(request: Request) -> Response:
        asked = page(request, "id")
        async with database.connection() as connection:
            items, total = await reads.calendars(
                connection, caller(request).tenant, after=asked.after, limit=asked.read, count=asked.count
            )
        return answer(
            asked,
            items,
            total,
            lambda item: {"id": item[0], "version": item[2], **item[1]},
            lambda item: item[0],
        )

    return [
        Route("/v1/calendars", listed),
        Route("/v1/calendars/{id}", put, methods=["PUT"]),
        Route("/v1/calendars/{id}", get),
    ]
