"""The calls of a process: other services that it waits for, and what came of each item."""

from gateway.models.processes import CallItem, CallState
from gateway.operation import Operation
from gateway.routes.answers import part
from gateway.routes.processes import OWNER, TAG
from gateway.routes.queries import PAGE

STATE = {
    "id": 12,
    "kind": "map",
    "service": "hear-neighbour",
    "into": "hear-neighbour",
    "total": 40,
    "need": 40,
    "pid": 4711,
    "service_version": 1,
    "max_running": 5,
    "on_child_failure": "fail",
    "rest": "cancel",
    "started": 25,
    "ended": 20,
    "completed": 20,
    "to_start": 0,
    "open": True,
    "at": "2026-11-25T09:00:00Z",
}
ITEM = {
    "index": 0,
    "item": {"name": "Berg"},
    "pid": 4712,
    "state": "TERMINATED",
    "outcome": "completed",
    "output": {"objects": False},
    "error": None,
}

OPERATIONS = (
    Operation(
        "GET",
        "/v1/processes/{pid}/calls",
        "What it has called, and how far that is; newest first",
        TAG,
        part(CallState, STATE),
        owner=OWNER,
        query=PAGE,
        refuses=(404,),
    ),
    Operation(
        "GET",
        "/v1/calls/{id}/items",
        "What became of each item of a call, in their order",
        TAG,
        part(CallItem, ITEM),
        owner=OWNER,
        query=PAGE,
        refuses=(404,),
    ),
)
