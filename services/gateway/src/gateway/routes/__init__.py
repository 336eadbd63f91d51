"""What the public face offers, by noun."""

from kernel_runtime.database import Database

from gateway.operation import Operation
from gateway.routes import (
    barriers,
    calls,
    commands,
    dead_letters,
    design,
    entities,
    events,
    forecast,
    incidents,
    jobs,
    ledger,
    me,
    operators,
    processes,
    queues,
    resources,
    retention,
    rules,
    services,
    stream,
    why,
    work,
)


def operations(database: Database) -> list[Operation]:
    """All of them; those that are asked for most come first, for paths are tried in this order."""
    return [
        *processes.HOT,
        *commands.OPERATIONS,
        *operators.OPERATIONS,
        *work.OPERATIONS,
        *processes.OPERATIONS,
        *why.OPERATIONS,
        *entities.OPERATIONS,
        *calls.OPERATIONS,
        *barriers.OPERATIONS,
        *events.OPERATIONS,
        *incidents.OPERATIONS,
        *jobs.OPERATIONS,
        *ledger.OPERATIONS,
        *retention.OPERATIONS,
        *services.OPERATIONS,
        *resources.OPERATIONS,
        *queues.OPERATIONS,
        *forecast.OPERATIONS,
        *rules.OPERATIONS,
        *design.OPERATIONS,
        *dead_letters.OPERATIONS,
        *stream.operations(database),
        *me.OPERATIONS,
    ]
