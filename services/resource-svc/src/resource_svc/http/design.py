"""A whole design's part: looked at, or applied."""

from kernel_contracts.resource import ResourceDesign
from kernel_runtime.command import Command
from kernel_runtime.database import Database
from kernel_runtime.http import caller, command, json_response, read, respond
from kernel_runtime.pipeline import Pipeline
from kernel_runtime.problem import Problem, ProblemError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from resource_svc import wire
from resource_svc.handlers import TOUCHES
from resource_svc.handlers.design import Design, plan
from resource_svc.handlers.roles import DESIGN, missing
from resource_svc.store import Work


def routes(database: Database, pipeline: Pipeline) -> list[BaseRoute]:
    async def read_design(request: Request) -> Command:
        content, raw = await read(request, ResourceDesign)
        body = Design(
            {id: wire.calendar(each) for id, each in content.calendars.items()},
            {id: wire.resource(id, each) for id, each in content.resources.items()},
            {id: wire.operator(id, each) for id, each in content.operators.items()},
        )
        return command(caller(request), "apply_design", body, raw)

    async def check(request: Request) -> Response:
        """What applying it would do, or all that is wrong with it; writes nothing."""
        made = await read_design(request)
        if (problem := missing(made, DESIGN)) is not None:
            raise ProblemError(problem)
        work = Work(TOUCHES, {}, lock=False)
        async with database.connection() as connection:
            await work.load(connection, [made])
        planned = plan(work, made.tenant, made.body)
        if isinstance(planned, Problem):
            raise ProblemError(planned)
        return json_response(planned.body)

    async def apply(request: Request) -> Response:
        return respond(await pipeline.submit(await read_design(request)))

    return [
        Route("/v1/resources:check", check, methods=["POST"]),
        Route("/v1/resources:apply", apply, methods=["POST"]),
    ]
