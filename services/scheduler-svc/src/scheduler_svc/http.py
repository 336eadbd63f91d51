"""The HTTP door: queues and how they stand, why a process waits, the checks."""

import base64
from collections.abc import Sequence
from typing import Any

import orjson
from kernel_contracts.base import Command as Body
from kernel_contracts.base import Name
from kernel_contracts.scheduler import QueueDefinition, Simulation
from kernel_contracts.vocabulary import Role
from kernel_runtime.database import Database
from kernel_runtime.http import Caller, caller, command, json_response, path_int, read, respond
from kernel_runtime.pipeline import Pipeline
from kernel_runtime.problem import Problem, ProblemError, invalid, not_found
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from scheduler_svc import fsck
from scheduler_svc.domain.queues import ItemState
from scheduler_svc.forecasting import forecast
from scheduler_svc.foresight import expected, simulated
from scheduler_svc.handlers import ApplyQueues, DefineQueue, apply_errors, difference
from scheduler_svc.settings import Settings
from scheduler_svc.store import queues, reading

_NAME: TypeAdapter[str] = TypeAdapter(Name)


class QueueSet(Body):
    queues: dict[Name, QueueDefinition] = {}


def routes(database: Database, pipeline: Pipeline, settings: Settings) -> Sequence[BaseRoute]:
    async def define(request: Request) -> Response:
        who = _designer(request)
        name = _name(request)
        definition, raw = await read(request, QueueDefinition)
        wanted = DefineQueue(name, definition, who.if_match)
        return respond(await pipeline.submit(command(who, "define_queue", wanted, raw, target=name)))

    async def get(request: Request) -> Response:
        who, name = caller(request), request.path_params["name"]
        async with database.connection() as connection:
            stored = (await queues.find(connection, who.tenant, [name])).get(name)
            standing = (await reading.standings(connection, who.tenant, [name]))[name]
        if stored is None:
            if name != queues.DEFAULT and not standing["depth"] + standing["running"]:
                raise ProblemError(not_found("queue", name))
            stored = queues.StoredQueue(who.tenant, name, 0, QueueDefinition())
        return json_response({**stored.as_dict(), **standing}, headers={"etag": f'"{stored.version}"'})

    async def listed(request: Request) -> Response:
        who = caller(request)
        limit, after = _page(request)
        async with database.connection() as connection:
            found = await queues.listed(connection, who.tenant, after, limit + 1)
            page = found[:limit]
            standing = await reading.standings(connection, who.tenant, [queue.name for queue in page])
            answer: dict[str, Any] = {
                "items": [{**queue.as_dict(), **standing[queue.name]} for queue in page],
                "next": _cursor(page[-1].name) if len(found) > limit else None,
            }
            if request.query_params.get("count") == "true":
                answer["total"] = await queues.count(connection, who.tenant)
        return json_response(answer)

    async def check(request: Request) -> Response:
        who = _designer(request)
        content, _ = await read(request, QueueSet)
        if errors := apply_errors(content.queues):
            raise ProblemError(invalid(errors[0][1], errors))
        async with database.connection() as connection:
            known = await queues.find(connection, who.tenant, list(content.queues))
        return json_response(difference(content.queues, known))

    async def apply(request: Request) -> Response:
        who = _designer(request)
        content, raw = await read(request, QueueSet)
        return respond(await pipeline.submit(command(who, "apply_queues", ApplyQueues(content.queues), raw)))

    async def why(request: Request) -> Response:
        who, pid = caller(request), path_int(request, "pid", "process")
        async with database.connection() as connection:
            found = await reading.why(connection, who.tenant, pid)
        if found is None:
            raise ProblemError(not_found("process in line", pid))
        return json_response(_why(found))

    async def forecasts(request: Request) -> Response:
        return json_response(await forecast(database, caller(request).tenant, request.query_params))

    async def ahead(request: Request) -> Response:
        return json_response(await expected(database, caller(request).tenant, request.query_params))

    async def simulation(request: Request) -> Response:
        wanted, _ = await read(request, Simulation)
        errors = apply_errors(wanted.queues)
        if errors:
            raise ProblemError(invalid(errors[0][1], errors))
        return json_response(await simulated(database, caller(request).tenant, wanted))

    async def checks(_: Request) -> Response:
        async with database.connection() as connection:
            return json_response({"checks": await fsck.check(connection, settings.stale_after)})

    return [
        Route("/v1/queues", listed),
        Route("/v1/queues:check", check, methods=["POST"]),
        Route("/v1/queues:apply", apply, methods=["POST"]),
        Route("/v1/queues/{name}", get),
        Route("/v1/queues/{name}", define, methods=["PUT"]),
        Route("/v1/processes/{pid}/why", why),
        Route("/v1/plan", ahead),
        Route("/v1/simulations", simulation, methods=["POST"]),
        Route("/v1/forecast", forecasts),
        Route("/v1/fsck", checks),
    ]


def _why(found: reading.Why) -> dict[str, Any]:
    item, explanation = found.item, found.explanation
    running = item.state is ItemState.RUNNING
    return {
        "state": "RUNNING" if running else "READY",
        "reason": explanation.reason,
        "position": found.position,
        "blockers": [
            {
                "requirement": blocker.requirement,
                "total": blocker.total,
                "free": blocker.free,
                "held_by": [{"pid": pid, "until": found.until.get(pid)} for pid in blocker.held_by[:50]],
                "detail": blocker.detail,
            }
            for blocker in explanation.blockers
        ],
        "eta": None if found.eta is None else {"p50": found.eta.p50, "p90": found.eta.p90},
        "expected_duration": item.expected,
        "factors": {factor.name: round(factor.value, 3) for factor in found.factors},
        "would_unblock": list(explanation.would_unblock),
        "queue": item.queue,
        "denials": item.denials,
        "denial": None if item.reason is None else orjson.Fragment(item.reason),
    }


def _designer(request: Request) -> Caller:
    who = caller(request)
    if not who.roles & {Role.DESIGNER, Role.ADMIN}:
        raise ProblemError(Problem(403, "Forbidden", "Queues are defined by designers and administrators."))
    return who


def _name(request: Request) -> str:
    try:
        return _NAME.validate_python(request.path_params["name"])
    except ValidationError as error:
        raise ProblemError(invalid(f"The name of a queue: {error.errors()[0]['msg']}.")) from None


def _page(request: Request) -> tuple[int, str | None]:
    limit = request.query_params.get("limit", "50")
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= 500):
        raise ProblemError(invalid("limit must be a number from 1 to 500.", [("/limit", "must be from 1 to 500")]))
    cursor = request.query_params.get("cursor")
    if cursor is None:
        return int(limit), None
    try:
        return int(limit), base64.b64decode(cursor, b"-_", validate=True).decode()
    except ValueError:
        raise ProblemError(
            invalid("cursor is not one that we gave.", [("/cursor", "is not one that we gave")])
        ) from None


def _cursor(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()
