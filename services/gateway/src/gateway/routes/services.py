"""Service definitions: what processes execute."""

from typing import Any

from kernel_contracts.process import ServiceDefinition
from pydantic import BaseModel

from gateway.models.resources import Service
from gateway.models.services import Deprecate, Reason, ServiceLife, ServiceVersions, StartCanary
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

LIFE = {
    "name": "assess-application",
    "latest": 2,
    "current": 1,
    "retired_at": None,
    "canary": {"version": 2, "share": 0.1},
}
VERSIONS = {
    **LIFE,
    "items": [
        {
            "version": 2,
            "state": "canary",
            "at": "2026-11-25T09:00:00Z",
            "by": "dora",
            "hash": "9b1d",
            "kind": "human",
            "deprecated": None,
        }
    ],
    "changes": [
        {
            "number": 1,
            "at": "2026-11-25T09:05:00Z",
            "by": "dora",
            "action": "canary",
            "body": {"version": 2, "share": 0.1},
        }
    ],
    "next": None,
}


def _change(
    path: str, summary: str, body: type[BaseModel], example: dict[str, Any], description: str = ""
) -> Operation:
    return Operation(
        "POST",
        f"/v1/services/{{name}}/{path}",
        summary,
        TAG,
        {200: Answer("What becomes of new processes from now on.", ServiceLife, LIFE)},
        owner=OWNER,
        body=Body(body, {"usual": example}, required=False),
        refuses=(404, 409),
        description=description,
    )


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
        query=(Query("staged", "`true`: a new version is not for new processes yet.", {"type": "boolean"}),),
        body=Body(ServiceDefinition, {"assess": DEFINITION, "smallest": {"roles": ["clerk"]}}),
        refuses=(412,),
    ),
    Operation(
        "GET",
        "/v1/services/{name}/versions",
        "Its versions and what becomes of them",
        TAG,
        {200: Answer("Newest first.", ServiceVersions, VERSIONS)},
        owner=OWNER,
        query=(
            Query("alive", "`true`: with how many processes of each have not ended.", {"type": "boolean"}),
            *PAGE,
        ),
        refuses=(404,),
    ),
    _change(
        "retire",
        "No new processes of it; running ones go on",
        Reason,
        {"reason": "done by the portal from now on"},
    ),
    _change("unretire", "New processes of it again", Reason, {"reason": "the portal is not ready"}),
    _change(
        "canary",
        "A share of new processes gets another version",
        StartCanary,
        {"version": 2, "share": 0.1},
        "Which ones, the hash of their key (or pid) says: the same request has the same version. New versions meanwhile"
        " are staged.",
    ),
    _change("promote", "The canary becomes the current version", Reason, {"reason": "no incident in a week"}),
    _change("abort", "The canary ends, the current version stays", Reason, {"reason": "operators are confused"}),
    _change(
        "versions/{version}/deprecate",
        "Warn of a version, and end it from a time on",
        Deprecate,
        {"sunset": "2027-01-01T00:00:00Z", "reason": "use version 2"},
        "Creating a process of it answers with the headers `Deprecation` and `Sunset` and a member `deprecated`.",
    ),
    _change("versions/{version}/undeprecate", "Don't warn of it any more", Reason, {}),
    _change(
        "versions/{version}/publish",
        "New processes get this version from now on",
        Reason,
        {"reason": "back to what worked"},
    ),
)
