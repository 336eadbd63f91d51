"""Service definitions."""

import base64
import binascii

from kernel_contracts.base import Name
from kernel_contracts.process import ServiceDefinition
from kernel_runtime.database import Database
from kernel_runtime.http import caller, command, json_response, read, respond
from kernel_runtime.pipeline import Pipeline
from kernel_runtime.problem import ProblemError, not_found, validation_problem
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from process_svc.catalog import fingerprint
from process_svc.handlers.bodies import Definitions
from process_svc.handlers.services import difference, refusal, told
from process_svc.http import query
from process_svc.store import services as store

_NAME: TypeAdapter[str] = TypeAdapter(Name)


class ServicesDocument(BaseModel):
    model_config = ConfigDict(extra="forbid")
    services: dict[Name, ServiceDefinition] = {}


def routes(database: Database, pipeline: Pipeline) -> list[BaseRoute]:
    async def put(request: Request) -> Response:
        name = request.path_params["name"]
        try:
            _NAME.validate_python(name)
        except ValidationError as error:
            raise ProblemError(validation_problem(error)) from None
        content, raw = await read(request, ServiceDefinition)
        who = caller(request)
        body = Definitions({name: content}, single=True, if_match=who.if_match)
        return respond(
            await pipeline.submit(command(who, "define_services", body, raw, target=f"{name}|{who.if_match}"))
        )

    async def check(request: Request) -> Response:
        """What applying would do; nothing is done."""
        who = caller(request)
        content, _ = await read(request, ServicesDocument)
        if (wrong := refusal(who.roles, content.services)) is not None:
            raise ProblemError(wrong)
        async with database.connection() as connection:
            known = await store.newest(connection, [(who.tenant, name) for name in content.services])
        wanted = {name: fingerprint(definition) for name, definition in content.services.items()}
        return json_response(difference(wanted, {name: known.get((who.tenant, name)) for name in wanted}))

    async def apply(request: Request) -> Response:
        content, raw = await read(request, ServicesDocument)
        body = Definitions(content.services)
        return respond(await pipeline.submit(command(caller(request), "define_services", body, raw, target=":apply")))

    async def one(request: Request) -> Response:
        name = query.named(request, "name", "service")
        text = request.query_params.get("version")
        version = None if text is None else query.number("version", text)
        async with database.connection() as connection:
            stored = await store.one(connection, caller(request).tenant, name, version)
        if stored is None:
            raise ProblemError(not_found("service", name if text is None else f"{name} in version {text}"))
        return json_response(told(stored), headers={"etag": f'"{stored.version}"'})

    async def listed(request: Request) -> Response:
        limit = query.limit(request)
        tenant = caller(request).tenant
        after = _after(request.query_params.get("cursor"))
        async with database.connection() as connection:
            found = await store.page(connection, tenant, after, limit + 1)
            total = await store.count(connection, tenant) if query.counted(request) else None
        more = base64.urlsafe_b64encode(found[limit - 1].name.encode()).decode() if len(found) > limit else None
        return query.part([told(each) for each in found[:limit]], more, total)

    return [
        Route("/v1/services", listed, methods=["GET"]),
        Route("/v1/services:check", check, methods=["POST"]),
        Route("/v1/services:apply", apply, methods=["POST"]),
        Route("/v1/services/{name}", one, methods=["GET"]),
        Route("/v1/services/{name}", put, methods=["PUT"]),
    ]


def _after(cursor: str | None) -> str:
    if cursor is None:
        return ""
    try:
        return base64.urlsafe_b64decode(cursor).decode().replace("\x00", "")
    except (ValueError, binascii.Error):
        raise query.wrong("cursor", "is not one of this list; take it from `next` of the page before") from None
