"""Legal holds and retention."""

from typing import Any

from kernel_contracts.base import iso_duration
from kernel_contracts.holds import NewHold
from kernel_runtime.database import Database
from kernel_runtime.http import caller, command, path_int, read, respond
from kernel_runtime.pipeline import Pipeline
from kernel_runtime.problem import ProblemError, not_found
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from process_svc.handlers.bodies import ReleaseHold
from process_svc.http import query
from process_svc.settings import Settings
from process_svc.store import filters, partitions
from process_svc.store import holds as store


def routes(database: Database, pipeline: Pipeline, settings: Settings) -> list[BaseRoute]:
    keep = settings.retention

    async def hold(request: Request) -> Response:
        content, raw = await read(request, NewHold)
        who = caller(request)
        if content.filter is not None:
            filters.parsed(filters.pairs(content.filter), who.tenant, "/filter")
        return respond(await pipeline.submit(command(who, "hold", content, raw)))

    async def release(request: Request) -> Response:
        id = path_int(request, "id", "hold")
        return respond(await pipeline.submit(command(caller(request), "release_hold", ReleaseHold(id), b"", target=id)))

    async def listed(request: Request) -> Response:
        limit, tenant = query.limit(request), caller(request).tenant
        after = query.number("cursor", request.query_params.get("cursor", "0"))
        given = request.query_params.get("active")
        active = None if given is None else query.boolean("active", given)
        async with database.connection() as connection:
            found = await store.page(connection, tenant, active, after, limit + 1)
        following = str(found[limit - 1].id) if len(found) > limit else None
        return query.part([each.as_dict() for each in found[:limit]], following, None)

    async def one(request: Request) -> Response:
        id = path_int(request, "id", "hold")
        async with database.connection() as connection:
            found = await store.page(connection, caller(request).tenant, None, id - 1, 1)
        if not found or found[0].id != id:
            raise ProblemError(not_found("hold", id))
        return query.reply(found[0].as_dict())

    async def retention(request: Request) -> Response:
        """How much there was of all tenants is for the first of them alone."""
        counted = caller(request).tenant == settings.default_tenant
        async with database.connection() as connection:
            parts = await partitions.all_parts(connection)
        return query.reply(
            {
                "keep": None if keep is None else iso_duration(keep),
                "partitions": [_part(each, counted) for each in parts],
            }
        )

    return [
        Route("/v1/holds", listed, methods=["GET"]),
        Route("/v1/holds", hold, methods=["POST"]),
        Route("/v1/holds/{id}", one, methods=["GET"]),
        Route("/v1/holds/{id}", release, methods=["DELETE"]),
        Route("/v1/retention", retention, methods=["GET"]),
    ]


def _part(row: Any, counted: bool) -> dict[str, Any]:
    found = {name: row[name] for name in ("lower", "upper", "dropped_at", "cleared")}
    for name in ("processes", "rows", "first_pid", "last_pid"):
        found[name] = row[name] if counted else None
    digest = None if row["digest"] is None else row["digest"].hex()
    return {**found, "digest": digest, "signed": row["signature"] is not None}
