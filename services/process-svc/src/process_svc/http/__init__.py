"""The HTTP door: the addresses of process-svc, as the public face spells them."""

from kernel_runtime.database import Database
from kernel_runtime.pipeline import Pipeline
from starlette.routing import BaseRoute

from process_svc.http import commands, incidents, operators, reads, services
from process_svc.http.checks import routes as check_routes


def routes(database: Database, pipeline: Pipeline) -> list[BaseRoute]:
    return [
        *services.routes(database, pipeline),
        *commands.routes(pipeline),
        *reads.routes(database),
        *incidents.routes(database, pipeline),
        *operators.routes(database),
        *check_routes(database),
    ]
