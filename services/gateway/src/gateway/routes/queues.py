"""Queues: scheduling domains."""

from kernel_contracts.scheduler import QueueDefinition

from gateway.models.rules import Queue
from gateway.operation import Body, Operation
from gateway.routes.answers import defined, one, part
from gateway.routes.queries import PAGE

OWNER, TAG = "scheduler-svc", "Queues"
DEFINITION = {"policy": "priority", "limits": {"running": 40}}
STORED = {
    "name": "default",
    "version": 1,
    **DEFINITION,
    "depth": 12,
    "running": 4,
    "oldest": "2026-11-25T08:12:00Z",
    "wait": {"p50": 310.0, "p95": 1900.5},
}

OPERATIONS = (
    Operation(
        "GET",
        "/v1/queues",
        "All queues",
        TAG,
        part(Queue, STORED),
        owner=OWNER,
        query=PAGE,
    ),
    Operation(
        "GET",
        "/v1/queues/{name}",
        "One queue and how it stands",
        TAG,
        one(Queue, STORED),
        owner=OWNER,
        refuses=(404,),
    ),
    Operation(
        "PUT",
        "/v1/queues/{name}",
        "Define a queue",
        "Design",
        defined(Queue, STORED),
        owner=OWNER,
        body=Body(QueueDefinition, {"counter": DEFINITION, "paused": {"paused": True}}),
        refuses=(412,),
    ),
)
