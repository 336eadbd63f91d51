"""Entities: all processes that are about one, in one view."""

from gateway.models.processes import EntityView
from gateway.operation import Answer, Operation
from gateway.routes.processes import EXAMPLE, OWNER
from gateway.routes.queries import CURSOR, LIMIT

VIEW = {
    "entity": {"type": "permit", "id": "2026-0815"},
    "roles": {"subject": 2, "annex": 1},
    "states": {"NEW": 0, "READY": 0, "RUNNING": 1, "WAITING": 0, "SUSPENDED": 0, "TERMINATED": 2},
    "outcomes": {"completed": 2},
    "services": [{"service": "assess-application", "alive": 1, "ended": 2}],
    "alive": [EXAMPLE],
    "ended": {"items": [], "next": None},
    "relations": [{"pid": 4711, "kind": "after", "of": 4700}],
    "operators": [{"operator": "anna", "running": [4711]}],
}

OPERATIONS = (
    Operation(
        "GET",
        "/v1/entities/{type}/{id}",
        "All processes of an entity",
        "Entities",
        {200: Answer("How many in each state; those alive; a page of those that have ended.", EntityView, VIEW)},
        owner=OWNER,
        query=(LIMIT, CURSOR),
        refuses=(404,),
        description="Whoever refers to it counts, as its subject or in another role. `limit` and `cursor` are those of `ended`.",
    ),
)
