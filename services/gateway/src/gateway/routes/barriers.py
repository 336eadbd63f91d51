"""Barriers: processes of an entity, or without one, that wait for each other."""

from typing import Any

from kernel_contracts.process import ArriveAtBarrier
from pydantic import create_model

from gateway.models.processes import Barrier, Process
from gateway.operation import Answer, Body, Operation, Query
from gateway.routes.answers import one
from gateway.routes.processes import EXAMPLE, OWNER

TAG = "Barriers"
_FIELDS: dict[str, Any] = {
    name: (info.annotation, info)
    for name, info in ArriveAtBarrier.model_fields.items()
    if name not in ("name", "expected_version")
}
Arrive = create_model(
    "ArriveBody", __doc__="Who arrives, and how many have to.", __config__=ArriveAtBarrier.model_config, **_FIELDS
)
"""The address names the barrier, so the body as documented does not."""

SHOWN = {
    "name": "papers-complete",
    "entity": {"type": "permit", "id": "2026-0815"},
    "parties": 3,
    "round": 1,
    "arrived": [{"pid": 4711, "at": "2026-11-25T09:00:00Z"}],
}

OPERATIONS = (
    Operation(
        "POST",
        "/v1/barriers/{name}/arrive",
        "Arrive; all go on when the last does",
        TAG,
        one(Process, EXAMPLE, "The process as it is now: WAITING, or READY where it came last."),
        owner=OWNER,
        body=Body(Arrive, {"usual": {"pid": 4711, "parties": 3}}),
        refuses=(404, 409),
        description="It belongs to the entity of its processes, or to the tenant where they have none. When all parties have"
        " arrived its next round begins. Who is cancelled, fails, is woken or rolled back is no party any more.",
    ),
    Operation(
        "GET",
        "/v1/barriers/{name}",
        "Who has arrived",
        TAG,
        {200: Answer("The round that is on.", Barrier, SHOWN)},
        owner=OWNER,
        query=(
            Query("entity_type", "Of this entity: its type."),
            Query("entity_id", "And its id."),
        ),
        refuses=(404,),
    ),
)
