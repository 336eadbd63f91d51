"""Service definitions: what processes execute."""

from kernel_contracts.process import ServiceDefinition

from gateway.models.resources import Service
from gateway.operation import Answer, Body, Operation, Query
from gateway.routes.answers import part
from gateway.routes.queries import INTEGER, PAGE

OWNER, TAG = "process-svc", "Design"
DEFINITION = {
    "title": "Assess the application",
    "kind": "human",
    "roles": ["clerk"],
    "entity_type": "permit",
    "expected_duration": "PT20M",
    "due_in": "P2D",
    "form": {"type": "object", "properties": {"granted": {"type": "boolean"}}, "required": ["granted"]},
    "requirements": [{"type": "room", "selector": {"floor": "1"}}],
    "retry": {"max_attempts": 3, "backoff": {"initial": "PT10S", "factor": 2.0, "max": "PT10M"}},
}
STORED = {"name": "assess-application", "version": 1, **DEFINITION}

OPERATIONS = (
    Operation(
        "GET",
        "/v1/services",
        "Find services",
        TAG,
        part(Service, STORED),
        owner=OWNER,
        query=PAGE,
    ),
    Operation(
        "GET",
        "/v1/services/{name}",
        "One service",
        TAG,
        {200: Answer("The newest version, or the one asked for.", Service, STORED, {"etag": "Its version."})},
        owner=OWNER,
        query=(Query("version", "An earlier version.", INTEGER),),
        refuses=(404,),
    ),
    Operation(
        "PUT",
        "/v1/services/{name}",
        "Define a service",
        TAG,
        {
            200: Answer(
                "As it is now; a change made a new version, the same again did not.",
                Service,
                STORED,
                {"etag": "Its version."},
            ),
            201: Answer("It is new.", Service, STORED, {"etag": "Its version."}),
        },
        owner=OWNER,
        body=Body(ServiceDefinition, {"assess": DEFINITION, "smallest": {"roles": ["clerk"]}}),
        refuses=(412,),
    ),
)
