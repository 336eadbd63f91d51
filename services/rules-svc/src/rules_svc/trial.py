"""`POST /v1/rules:test`: what a rule would do with an event, with nothing done."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson
from kernel_contracts import message_types as types
from kernel_contracts.envelope import MAX_DEPTH, Envelope
from kernel_runtime.command import Cause
from kernel_runtime.problem import ProblemError, invalid

from rules_svc import cloudevents, wire
from rules_svc.book import Definition
from rules_svc.domain.evaluation import evaluate
from rules_svc.domain.index import applies
from rules_svc.domain.model import FiringResult, Rule
from rules_svc.received import Received


def run(
    definition: Definition, event: Mapping[str, Any], process: Mapping[str, Any] | None, tenant: str, now: datetime
) -> dict[str, Any]:
    """`matched`: the rule is for such an event; `fired`: its condition held too. What an event lacks is filled in."""
    rule = definition.compiled
    assert isinstance(rule, Rule)
    filled = {"specversion": "1.0", "id": "test", "source": "/test", "time": now.isoformat(), **event}
    received = _received(filled, process, tenant)
    answer: dict[str, Any] = {
        "rule": rule.name,
        "matched": applies(rule, received.event),
        "fired": False,
        "result": "not_matched",
        "detail": None,
        "instructions": [],
    }
    if not answer["matched"]:
        return answer
    firings = evaluate([rule], received.event, received.facts(now).bind, max_depth=MAX_DEPTH)
    if not firings:
        return answer | {"result": "not_fired"}
    firing = firings[0]
    return answer | {
        "fired": firing.result is FiringResult.FIRED,
        "result": firing.result.value,
        "detail": firing.detail,
        "instructions": [{"do": action.do.value, **action.arguments} for action in firing.actions],
    }


def _received(event: Mapping[str, Any], process: Mapping[str, Any] | None, tenant: str) -> Received:
    errors = [(f"/event{pointer}", text) for pointer, text in cloudevents.find_errors(event)]
    if errors:
        raise ProblemError(invalid(f"{errors[0][0]}: {errors[0][1]}", errors))
    if str(event["type"]).startswith(types.PREFIX):
        return _own(event, process, tenant)
    received = cloudevents.from_outside(event, tenant, Cause(None, "test"))
    if process is None:
        return received
    return _own(event, process, tenant)


def _own(event: Mapping[str, Any], process: Mapping[str, Any] | None, tenant: str) -> Received:
    """As an event about a process: the PCB given beside it, else the event's data."""
    data = event.get("data")
    body = {**(process or {}), **(data if isinstance(data, dict) else {})}
    envelope = Envelope(
        event["id"],
        event["type"],
        event["source"],
        str(event.get("time", "")),
        tenant,
        event.get("subject"),
        None,
        "test",
    )
    news = wire.process_news(envelope, orjson.dumps(body), wanted=True, body_needed=True)
    assert news.received is not None
    return news.received
