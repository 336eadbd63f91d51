"""Incidents: failures that need somebody."""

from gateway.models.processes import Incident, ResolveIncident
from gateway.operation import Answer, Body, Operation, Query
from gateway.routes.answers import part
from gateway.routes.queries import PAGE

OWNER, TAG = "process-svc", "Incidents"
EXAMPLE = {
    "id": 17,
    "pid": 4711,
    "type": "attempts_exhausted",
    "error": {"class": "transient", "code": "register-away", "message": "The land register does not answer"},
    "state": "open",
    "assignee": None,
}

OPERATIONS = (
    Operation(
        "GET",
        "/v1/incidents",
        "Find incidents",
        TAG,
        part(Incident, EXAMPLE),
        owner=OWNER,
        query=(
            Query("state", "`open` or `resolved`.", {"type": "string", "enum": ["open", "resolved"]}),
            Query("pid", "Of this process."),
            *PAGE,
        ),
    ),
    Operation(
        "POST",
        "/v1/incidents/{id}/resolve",
        "Resolve it",
        TAG,
        {200: Answer("It is resolved.", Incident, {**EXAMPLE, "state": "resolved"})},
        owner=OWNER,
        body=Body(ResolveIncident, {"again": {"action": "retry", "reason": "the register answers again"}}),
        refuses=(404, 409),
    ),
)
