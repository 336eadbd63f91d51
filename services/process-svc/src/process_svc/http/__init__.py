"""The HTTP door: the addresses of process-svc, as the public face spells them."""

from kernel_runtime.database import Database
from kernel_runtime.pipeline import Pipeline
from starlette.routing import BaseRoute

from process_svc.desk import Desk
from process_svc.http import (
    barriers,
    calls,
    checks,
    commands,
    entities,
    export,
    holds,
    incidents,
    jobs,
    ledger,
    migrations,
    operators,
    reads,
    services,
    work,
)
from process_svc.settings import Settings
from process_svc.signing import signer


def routes(database: Database, pipeline: Pipeline, desk: Desk, settings: Settings) -> list[BaseRoute]:
    signs = signer(settings)
    return [
        *services.routes(database, pipeline),
        *migrations.routes(database),
        *commands.routes(pipeline),
        *reads.routes(database, settings.tree_limit),
        *entities.routes(database),
        *calls.routes(database),
        *barriers.routes(database, pipeline),
        *work.routes(database, pipeline, desk),
        *incidents.routes(database, pipeline),
        *jobs.routes(database, pipeline),
        *operators.routes(database),
        *ledger.routes(database),
        *export.routes(database),
        *holds.routes(database, pipeline, settings),
        *checks.routes(database, None if signs is None else signs.public_key),
    ]
