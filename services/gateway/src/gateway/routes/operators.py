"""Operators: those who run processes, and their task lists."""

from urllib.parse import urlencode

from kernel_contracts.resource import OperatorDefinition, SetPresence
from kernel_contracts.vocabulary import Presence

from gateway.models.resources import Operator, Service, Tasks
from gateway.operation import Answer, Body, Call, Operation, Query, quoted
from gateway.reply import Reply
from gateway.routes import processes, services
from gateway.routes.answers import defined, deleted, one, part
from gateway.routes.queries import LIMIT, PAGE

OWNER, TAG = "resource-svc", "Operators"
DEFINITION = {"name": "Anna de Vries", "roles": ["clerk"], "skills": ["zoning"], "capacity": 1}
STORED = {"id": "anna", "version": 1, "presence": "available", **DEFINITION}


async def tasks(call: Call) -> Reply:
    """resource-svc knows the operator's roles, process-svc what they allow."""
    return await _by_roles(call, "tasks")


async def allowed(call: Call) -> Reply:
    return await _by_roles(call, "services")


async def _by_roles(call: Call, what: str) -> Reply:
    path = f"/v1/operators/{quoted(call.params['id'])}"
    found = await call.ask(OWNER, "GET", path)
    if not found.good:
        return found
    query = urlencode({"roles": ",".join(found.json().get("roles") or [])})
    if call.query:
        query += f"&{call.query}"
    return await call.ask("process-svc", "GET", f"{path}/{what}?{query}")


OPERATIONS = (
    Operation(
        "GET",
        "/v1/operators",
        "Find operators",
        TAG,
        part(Operator, STORED),
        owner=OWNER,
        query=(
            Query("role", "With this role."),
            Query("presence", "Whether it is there.", {"type": "string", "enum": list(Presence)}),
            *PAGE,
        ),
    ),
    Operation(
        "GET",
        "/v1/operators/{id}",
        "One operator",
        TAG,
        one(Operator, STORED),
        owner=OWNER,
        refuses=(404,),
    ),
    Operation(
        "PUT",
        "/v1/operators/{id}",
        "Define an operator",
        "Design",
        defined(Operator, STORED),
        owner=OWNER,
        body=Body(OperatorDefinition, {"anna": DEFINITION}),
        refuses=(409, 412),
    ),
    deleted("/v1/operators/{id}", "Delete an operator", OWNER),
    Operation(
        "GET",
        "/v1/operators/{id}/tasks",
        "Its task list",
        TAG,
        {
            200: Answer(
                "What it runs, then what it may run next, in the order of the queue.",
                Tasks,
                {"items": [processes.EXAMPLE], "next": None},
            )
        },
        handler=tasks,
        query=(
            Query("state", "READY, RUNNING or both (by a comma).", {"type": "string", "default": "READY,RUNNING"}),
            LIMIT,
        ),
        refuses=(404,),
    ),
    Operation(
        "GET",
        "/v1/operators/{id}/services",
        "Services that its roles allow",
        TAG,
        part(Service, services.STORED),
        handler=allowed,
        refuses=(404,),
    ),
    Operation(
        "POST",
        "/v1/operators/{id}/presence",
        "Say whether it is there",
        TAG,
        {200: Answer("As it is now.", Operator, {**STORED, "presence": "away"})},
        owner=OWNER,
        body=Body(SetPresence, {"lunch": {"status": "break", "until": "2026-11-25T13:00:00Z"}}),
        refuses=(404,),
    ),
)
