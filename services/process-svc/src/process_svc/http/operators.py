"""What an operator runs and may claim, and the services that its roles allow. The gateway names the roles."""

import orjson
from kernel_contracts.process import ServiceDefinition
from kernel_contracts.vocabulary import ProcessState
from kernel_runtime.database import Connection, Database
from kernel_runtime.http import caller
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from process_svc import wire
from process_svc.http import query
from process_svc.http.reads import reply
from process_svc.store import queries
from process_svc.store import services as store

MANY = 500


def routes(database: Database) -> list[BaseRoute]:
    async def tasks(request: Request) -> Response:
        operator = request.path_params["id"]
        tenant, limit = caller(request).tenant, query.limit(request)
        states = request.query_params.get("state", "RUNNING,READY").split(",")
        if unknown := [state for state in states if state not in ProcessState.__members__]:
            raise query.wrong("state", f"{unknown[0]!r} must be of {', '.join(ProcessState)}")
        own = [state for state in states if state != ProcessState.READY]
        found = queries.Filter(tenant)
        found.add("coalesce(operator, assigned) = {}", operator)
        found.add("state = ANY({}::text[])", own)
        async with database.connection() as connection:
            items = await queries.page(connection, found, "pid", False, None, limit) if own else []
            if ProcessState.READY in states and len(items) < limit:
                may = [
                    (each.name, version)
                    for each in await _allowed(connection, tenant, _roles(request))
                    for version in range(1, each.version + 1)
                ]
                items += await queries.claimable(connection, tenant, operator, may, limit - len(items))
        return reply({"items": [wire.pcb(process) for process in items], "next": None})

    async def services(request: Request) -> Response:
        async with database.connection() as connection:
            found = await _allowed(connection, caller(request).tenant, _roles(request))
        items = [{"name": each.name, "version": each.version, **orjson.loads(each.definition)} for each in found]
        return reply({"items": items, "next": None})

    return [
        Route("/v1/operators/{id}/tasks", tasks, methods=["GET"]),
        Route("/v1/operators/{id}/services", services, methods=["GET"]),
    ]


def _roles(request: Request) -> frozenset[str]:
    return frozenset(filter(None, request.query_params.get("roles", "").split(",")))


async def _allowed(connection: Connection, tenant: str, roles: frozenset[str]) -> list[store.StoredService]:
    """The newest versions that ask for no role or for one of these."""
    found: list[store.StoredService] = []
    after = ""
    while page := await store.page(connection, tenant, after, MANY):
        for each in page:
            wanted = ServiceDefinition.model_validate_json(each.definition).roles
            if not wanted or roles & set(wanted):
                found.append(each)
        after = page[-1].name
    return found
