"""The inner HTTP of resource-svc: one door to the same handlers that Kafka has."""

from kernel_runtime.database import Database
from kernel_runtime.pipeline import Pipeline
from starlette.routing import BaseRoute

from resource_svc.http import allocations, availability, calendars, checks, design, operators, resources


def routes(database: Database, pipeline: Pipeline) -> list[BaseRoute]:
    return [
        *design.routes(database, pipeline),
        *resources.routes(database, pipeline),
        *operators.routes(database, pipeline),
        *calendars.routes(database, pipeline),
        *allocations.routes(database),
        *availability.routes(database),
        *checks.routes(database),
    ]
