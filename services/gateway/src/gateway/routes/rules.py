"""Rules and event types: what follows from an event."""

from kernel_contracts.rules import EventTypeDefinition, RuleDefinition

from gateway.models.rules import EventType, Firing, Rule, RuleTest, RuleTestResult
from gateway.operation import Answer, Body, Operation, Query
from gateway.routes.answers import defined, deleted, one, part
from gateway.routes.queries import PAGE

OWNER, TAG, DESIGN = "rules-svc", "Rules", "Design"
DEFINITION = {
    "event": {"type": "kernel.process.terminated.v1"},
    "when": "process.service == 'assess-application' && process.outcome == 'completed'",
    "instructions": [
        {"do": "start", "service": "decide", "entity": "=entity", "context": {"granted": "=process.output.granted"}}
    ],
}
STORED = {"name": "then-decide", "version": 1, **DEFINITION}
TYPE = {
    "schema": {"type": "object", "required": ["application"], "properties": {"application": {"type": "string"}}},
    "owner": "portal",
}
EVENT = {
    "specversion": "1.0",
    "id": "a-1",
    "source": "/portal",
    "type": "application.submitted",
    "subject": "2026-0815",
    "data": {"application": "2026-0815"},
}
FIRING = {
    "rule": "then-decide",
    "rule_version": 1,
    "tenant": "main",
    "event_id": "4711.4",
    "event_source": "/kernel/process-svc",
    "event_type": "kernel.process.terminated.v1",
    "pid": 4711,
    "at": "2026-11-25T09:21:00Z",
    "result": "fired",
    "instructions": [{"do": "start", "sent": "kernel.process.create.v1"}],
}

SUBMITTED = {"type": "application.submitted", "version": 1, **TYPE}

OPERATIONS = (
    Operation("GET", "/v1/rules", "All rules", TAG, part(Rule, STORED), owner=OWNER, query=PAGE),
    Operation("GET", "/v1/rules/{name}", "One rule", TAG, one(Rule, STORED), owner=OWNER, refuses=(404,)),
    Operation(
        "PUT",
        "/v1/rules/{name}",
        "Define a rule",
        DESIGN,
        defined(Rule, STORED),
        owner=OWNER,
        body=Body(RuleDefinition, {"next": DEFINITION}),
        refuses=(412,),
        description="A condition that does not compile is 422 with the position.",
    ),
    deleted("/v1/rules/{name}", "Delete a rule", OWNER),
    Operation(
        "GET",
        "/v1/rules/{name}/firings",
        "When it fired and what it did",
        TAG,
        part(Firing, FIRING),
        owner=OWNER,
        query=(Query("result", "fired, failed or stopped."), *PAGE),
        refuses=(404,),
    ),
    Operation(
        "POST",
        "/v1/rules:test",
        "Try a rule on an event, with nothing done",
        TAG,
        {200: Answer("What would fire and what it would do.", RuleTestResult, {"fired": True, "instructions": []})},
        owner=OWNER,
        body=Body(RuleTest, {"by name": {"event": EVENT, "name": "then-decide"}}),
        refuses=(404,),
    ),
    Operation("GET", "/v1/event-types", "All event types", TAG, part(EventType, SUBMITTED), owner=OWNER, query=PAGE),
    Operation(
        "GET",
        "/v1/event-types/{type}",
        "One event type",
        TAG,
        one(EventType, SUBMITTED),
        owner=OWNER,
        refuses=(404,),
    ),
    Operation(
        "PUT",
        "/v1/event-types/{type}",
        "Define an event type",
        DESIGN,
        defined(EventType, SUBMITTED),
        owner=OWNER,
        body=Body(EventTypeDefinition, {"submitted": TYPE}),
        refuses=(412,),
    ),
    deleted("/v1/event-types/{type}", "Delete an event type", OWNER),
)
