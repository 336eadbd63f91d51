"""Incidents: failures that need somebody."""

from gateway.models.processes import AssignIncident, FoundIncident, Incident, ResolveIncident
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
        part(FoundIncident, EXAMPLE),
        owner=OWNER,
        query=(
            Query("state", "`open` or `resolved`.", {"type": "string", "enum": ["open", "resolved"]}),
            Query("pid", "Of this process."),
            Query("type", "Of this type."),
            Query("assignee", "Looked after by this one; empty: by nobody."),
            Query(
                "group",
                "`type`: what happened to many processes alike, by type, code and service, with counts and examples.",
                {"type": "string", "enum": ["type"]},
            ),
            *PAGE,
        ),
    ),
    Operation(
        "GET",
        "/v1/incidents/{id}",
        "One incident",
        TAG,
        {200: Answer("As it is now.", Incident, EXAMPLE, {"etag": "Its version."})},
        owner=OWNER,
        refuses=(404,),
    ),
    Operation(
        "POST",
        "/v1/incidents/{id}/assign",
        "Say who looks after it",
        TAG,
        {200: Answer("As it is now.", Incident, {**EXAMPLE, "assignee": "ada"}, {"etag": "Its version."})},
        owner=OWNER,
        body=Body(AssignIncident, {"ada": {"assignee": "ada"}}),
        refuses=(404, 409, 412),
        description="An operator takes what is nobody's, and gives back what is its own.",
    ),
    Operation(
        "POST",
        "/v1/incidents/{id}/resolve",
        "Resolve it",
        TAG,
        {200: Answer("It is resolved.", Incident, {**EXAMPLE, "state": "resolved"})},
        owner=OWNER,
        body=Body(ResolveIncident, {"again": {"action": "retry", "reason": "the register answers again"}}),
        refuses=(404, 409, 412),
    ),
)
