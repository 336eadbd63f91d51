"""Bulk: a command to all that a filter finds, as a job; its progress, its items, and steering it."""

import contextlib
from typing import Any

from kernel_contracts.jobs import BulkCommand, BulkMigrate, BulkResolve
from kernel_contracts.vocabulary import CommandName, JobState
from kernel_runtime.database import Database
from kernel_runtime.http import caller, command, path_int, read, respond
from kernel_runtime.pipeline import Pipeline
from kernel_runtime.problem import ProblemError, invalid, not_found, validation_problem
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from process_svc.domain.jobs import ACTIONS
from process_svc.domain.states import sources
from process_svc.handlers.bodies import JobControl, NewJob, ResolveIncident
from process_svc.handlers.commands import NAMED
from process_svc.handlers.jobs import RESOLVE
from process_svc.http import query
from process_svc.store import filters, job_items, jobs, search, services

MIGRATE = "migrate"
PREVIEW = 1_000
"""Milliseconds that counting may take before a job is made."""
_STATUSES = ("pending", "done", "failed", "cancelled")


def routes(database: Database, pipeline: Pipeline) -> list[BaseRoute]:
    async def start(request: Request, raw: bytes, body: NewJob) -> Response:
        """202 with the job, its total counted as far as that is quick."""
        who = caller(request)
        found = filters.parsed(filters.pairs(body.filter), who.tenant, "/filter")
        if body.kind == "incidents":
            found.clauses.append("incident IS NOT NULL")
        with contextlib.suppress(ProblemError):  # it is only not known then
            async with search.searching(database, PREVIEW) as connection:
                await search.resolve(connection, found, thorough=True)
                body.expected, _ = await search.count(connection, found)
        return respond(await pipeline.submit(command(who, "job_create", body, raw, target=request.url.path)))

    async def bulk(request: Request) -> Response:
        content, raw = await read(request, BulkCommand)
        name = _checked(content.command, content.body)
        return await start(
            request, raw, NewJob("processes", name, _within(content.filter, name), content.body, content.dry_run)
        )

    async def resolve(request: Request) -> Response:
        content, raw = await read(request, BulkResolve)
        names = ("action", "context", "output", "version", "reason")
        body = {name: value for name in names if (value := getattr(content, name)) is not None}
        ResolveIncident.model_validate({**body, "id": 1})
        return await start(request, raw, NewJob("incidents", RESOLVE, content.filter, body, content.dry_run))

    async def migrate(request: Request) -> Response:
        content, raw = await read(request, BulkMigrate)
        body: dict[str, Any] = {"to": content.to}
        if content.context_patch is not None:
            body["context_patch"] = content.context_patch
        if content.reason is not None:
            body["reason"] = content.reason
        for name in ("service", "service_version"):
            if name in content.filter:
                raise ProblemError(
                    invalid(f"{name} is given beside the filter.", [(f"/filter/{name}", "is given beside it")])
                )
        found = {**content.filter, "service": content.service}
        if content.from_ is not None:
            found["service_version"] = content.from_
        async with database.connection() as connection:
            if await services.one(connection, caller(request).tenant, content.service, content.to) is None:
                raise ProblemError(not_found("service", f"{content.service} in version {content.to}"))
        name = _checked(MIGRATE, body)
        return await start(request, raw, NewJob("processes", name, _within(found, name), body, content.dry_run))

    async def listed(request: Request) -> Response:
        limit, tenant = query.limit(request), caller(request).tenant
        state, cursor = request.query_params.get("state"), request.query_params.get("cursor")
        if state is not None and state not in set(JobState):
            raise query.wrong("state", f"must be of {', '.join(JobState)}")
        before = None if cursor is None else query.number("cursor", cursor)
        async with database.connection() as connection:
            found = await jobs.page(connection, tenant, state, before, limit + 1)
            total = await jobs.count(connection, tenant, state) if query.counted(request) else None
        following = str(found[limit - 1].id) if len(found) > limit else None
        return query.part([each.as_dict() for each in found[:limit]], following, total)

    async def one(request: Request) -> Response:
        async with database.connection() as connection:
            return query.reply((await _known(connection, request)).as_dict())

    async def items(request: Request) -> Response:
        """By pid; what a job that has ended did not get to is `cancelled`."""
        limit, cursor = query.limit(request), request.query_params.get("cursor")
        after = 0 if cursor is None else query.number("cursor", cursor)
        status = request.query_params.get("status")
        if status is not None and status not in _STATUSES:
            raise query.wrong("status", f"must be of {', '.join(_STATUSES)}")
        async with database.connection() as connection:
            job = await _known(connection, request)
            wanted = {"cancelled": "pending"}.get(status or "", status)
            none = job.ended_at is not None if status == "pending" else status == "cancelled" and job.ended_at is None
            found = [] if none else await job_items.page(connection, job.id, wanted, after, limit + 1)
        following = str(found[limit - 1]["item"]) if len(found) > limit else None
        shown = [_item(job, each) for each in found[:limit]]
        return query.part(shown, following, job.total if query.counted(request) and status is None else None)

    async def control(request: Request) -> Response:
        action = request.path_params["action"]
        if action not in ACTIONS:
            raise ProblemError(not_found("action", f"{action}; there are {', '.join(ACTIONS)}"))
        id = path_int(request, "id", "job")
        body = JobControl(id, action)
        return respond(
            await pipeline.submit(command(caller(request), "job_control", body, b"", target=f"{id}|{action}"))
        )

    return [
        Route("/v1/processes:bulk", bulk, methods=["POST"]),
        Route("/v1/processes:migrate", migrate, methods=["POST"]),
        Route("/v1/incidents:resolve", resolve, methods=["POST"]),
        Route("/v1/jobs", listed, methods=["GET"]),
        Route("/v1/jobs/{id}", one, methods=["GET"]),
        Route("/v1/jobs/{id}/items", items, methods=["GET"]),
        Route("/v1/jobs/{id}/{action}", control, methods=["POST"]),
    ]


async def _known(connection: Any, request: Request) -> jobs.Job:
    id = path_int(request, "id", "job")
    found = await jobs.one(connection, caller(request).tenant, id)
    if found is None:
        raise ProblemError(not_found("job", id))
    return found


def _item(job: jobs.Job, found: dict[str, Any]) -> dict[str, Any]:
    item = found.pop("item")
    if job.kind == "incidents":
        found["incident"] = item
    if found["status"] == "pending" and job.ended_at is not None:
        found["status"] = "cancelled"
    return found


def _checked(name: str, body: dict[str, Any]) -> str:
    """The command's name, where it is one and the body fits it; 422 with pointers where not."""
    known = {each.value: model for each, model in NAMED.items()}
    if name not in known:
        raise ProblemError(
            invalid(f"There is no command {name!r}. Known: {', '.join(known)}.", [("/command", "is unknown")])
        )
    for of_one in ("pid", "expected_version"):
        if of_one in body:
            raise ProblemError(
                invalid(f"{of_one} is for one process.", [(f"/body/{of_one}", "can't be in a bulk job")])
            )
    try:
        known[name].model_validate({**body, "pid": 1})
    except ValidationError as error:
        problem = validation_problem(error, body)
        errors = [("/body" + pointer, text) for pointer, text in problem.errors]
        raise ProblemError(invalid(f"The body does not fit {name}: {problem.detail}", errors)) from None
    return name


def _within(given: dict[str, Any], name: str) -> dict[str, Any]:
    """Those that the command is legal for, where the filter does not name states itself."""
    if "state" in given or "not_state" in given:
        return given
    return {**given, "state": [state.value for state in sources(CommandName(name))]}
