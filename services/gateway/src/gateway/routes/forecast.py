"""Forecasts of what is to come."""

from gateway.models.forecast import Forecast
from gateway.operation import Answer, Operation, Query

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

OPERATIONS = (
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
