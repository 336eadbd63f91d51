"""Service definitions."""

import base64
import binascii
from datetime import UTC, datetime
from typing import Any

from kernel_contracts.base import Name
from kernel_contracts.process import ServiceDefinition
from kernel_runtime.database import Database
from kernel_runtime.http import caller, command, json_response, path_int, read, respond
from kernel_runtime.pipeline import Pipeline
from kernel_runtime.problem import ProblemError, not_found, validation_problem
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from process_svc.catalog import fingerprint
from process_svc.domain.life import Life, state
from process_svc.handlers.bodies import Definitions, ServiceChange
from process_svc.handlers.services import difference, life_told, refusal, told
from process_svc.http import query
from process_svc.store import lives
from process_svc.store import services as store

OF_SERVICES = ("retire", "unretire", "canary", "promote", "abort")
OF_VERSIONS = ("deprecate", "undeprecate", "publish")
CHANGES = 50
"""Of a life, shown with its versions."""
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
        staged = request.query_params.get("staged") == "true"
        body = Definitions({name: content}, single=True, if_match=who.if_match, staged=staged)
        target = f"{name}|{who.if_match}" + ("|staged" if staged else "")
        return respond(await pipeline.submit(command(who, "define_services", body, raw, target=target)))

    async def change(request: Request) -> Response:
        """The address says what is to be done, the body how."""
        fixed: dict[str, Any] = {
            "name": query.named(request, "name", "service"),
            "action": request.path_params["action"],
        }
        if fixed["action"] not in (OF_VERSIONS if "version" in request.path_params else OF_SERVICES):
            raise ProblemError(not_found("action", fixed["action"]))
        if "version" in request.path_params:
            fixed["version"] = path_int(request, "version", "version")
        content, raw = await read(request, ServiceChange, **fixed)
        target = "|".join(str(value) for value in fixed.values())
        return respond(await pipeline.submit(command(caller(request), "change_service", content, raw, target=target)))

    async def versions(request: Request) -> Response:
        """Its life, and each version with its state, newest first."""
        name, limit, tenant = query.named(request, "name", "service"), query.limit(request), caller(request).tenant
        cursor = request.query_params.get("cursor")
        before = 2**31 - 1 if cursor is None else min(query.number("cursor", cursor), 2**31 - 1)
        counted = request.query_params.get("alive") == "true"
        async with database.connection() as connection:
            life = (await lives.found(connection, [(tenant, name)])).get((tenant, name))
            if life is None:
                raise ProblemError(not_found("service", name))
            found = await lives.versions(connection, tenant, name, before, limit + 1, counted=counted)
            changes = await lives.changes(connection, tenant, name, CHANGES)
        now = datetime.now(UTC)
        items = [{**each, **_version(life, each["version"], now)} for each in found[:limit]]
        following = str(found[limit - 1]["version"]) if len(found) > limit else None
        total = life.latest if query.counted(request) else None
        whole = {"name": name, **life_told(life), "changes": changes, "items": items, "next": following}
        return query.reply(whole if total is None else {**whole, "total": total})

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
        Route("/v1/services/{name}/versions", versions, methods=["GET"]),
        Route("/v1/services/{name}/versions/{version}/{action:str}", change, methods=["POST"]),
        Route("/v1/services/{name}/{action:str}", change, methods=["POST"]),
    ]


def _version(life: Life, version: int, now: datetime) -> dict[str, Any]:
    found = life.deprecated.get(version)
    said = None if found is None else {"at": found.at, "sunset": found.sunset, "reason": found.reason}
    return {"state": state(life, version, now), "deprecated": said}


def _after(cursor: str | None) -> str:
    if cursor is None:
        return ""
    try:
        return base64.urlsafe_b64decode(cursor).decode().replace("\x00", "")
    except (ValueError, binascii.Error):
        raise query.wrong("cursor", "is not one of this list; take it from `next` of the page before") from None
