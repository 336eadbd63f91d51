"""What is to come: the plan ahead, and forecasts."""

from kernel_contracts.scheduler import Simulation

from gateway.models.forecast import Forecast, Plan, Simulated
from gateway.operation import Answer, Body, Operation, Query

_POINT = {"at": "2026-11-25T09:00:00Z", "mean": 4.2, "low": 1.0, "high": 8.1}
_EXAMPLE = {
    "of": "arrivals",
    "by": "service",
    "from": "2026-11-25T09:00:00Z",
    "step": "PT1H",
    "band": 0.9,
    "items": [
        {"service": "check", "error": {"days": 28, "wape": 0.21, "within_band": 0.92}, "points": [_POINT]},
    ],
}

_PLAN = {
    "from": "2026-11-25T09:00:00Z",
    "until": "2026-11-25T17:00:00Z",
    "complete": True,
    "assumes": ["who is present stays and nobody else comes"],
    "waiting": 1,
    "not_before_until": 0,
    "items": [
        {
            "pid": 4711,
            "service": "check",
            "queue": "default",
            "state": "planned",
            "begin": "2026-11-25T09:20:00Z",
            "end": "2026-11-25T09:35:00Z",
            "resources": [{"type": "operator", "id": "anna"}],
        }
    ],
}

_OUTCOME = {
    "begun": 40,
    "waiting": 12,
    "wait": {"mean": 1410.0, "p50": 900.0, "p95": 5200.0},
    "with_due": 9,
    "late": 2,
    "utilisation": {"operator": 0.91},
    "busiest": [{"id": "anna", "utilisation": 0.98}],
}
_SIMULATED = {
    "from": "2026-11-25T09:00:00Z",
    "until": "2026-11-25T17:00:00Z",
    "complete": True,
    "assumes": ["who is present stays and nobody else comes"],
    "as_it_is": _OUTCOME,
    "changed": {**_OUTCOME, "begun": 52, "waiting": 0, "late": 0},
}

OPERATIONS = (
    Operation(
        "POST",
        "/v1/simulations",
        "How it would be with changes",
        "Queues",
        {200: Answer("As it is and as it would be; nothing is changed.", Simulated, _SIMULATED)},
        owner="scheduler-svc",
        body=Body(Simulation, {"two more clerks": {"add": [{"count": 2, "roles": ["clerk"]}], "horizon": "PT8H"}}),
        description="The planner's own code on the live state with more or fewer resources, other queues or priorities.",
    ),
    Operation(
        "GET",
        "/v1/plan",
        "Who is expected to run what, when",
        "Queues",
        {200: Answer("By begin; what runs already comes first.", Plan, _PLAN)},
        owner="scheduler-svc",
        query=(Query("horizon", "How far ahead, a minute to 31 days.", {"type": "string", "default": "PT8H"}),),
        description="The planner's own code on the state as it is, with a clock of its own; `assumes` says what it relies on.",
    ),
    Operation(
        "GET",
        "/v1/forecast",
        "What is to come",
        "Queues",
        {200: Answer("By the hour, with a band and its error in the last weeks.", Forecast, _EXAMPLE)},
        owner="scheduler-svc",
        query=(
            Query(
                "of", "Arrivals, or the hours of work that they make.", {"type": "string", "enum": ["arrivals", "load"]}
            ),
            Query("by", "What the answer is split by.", {"type": "string", "enum": ["service"]}),
            Query("service", "Only this one."),
            Query("horizon", "How far ahead, an hour to seven days.", {"type": "string", "default": "P1D"}),
        ),
    ),
)
