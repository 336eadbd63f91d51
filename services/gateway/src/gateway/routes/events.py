"""Business events: facts from outside, as CloudEvents."""

from gateway.models.rules import Accepted, CloudEvent, EventStatus
from gateway.operation import CLOUD_EVENTS, MIB, Answer, Body, Operation, Query
from gateway.routes.rules import EVENT, OWNER

TAG = "Events"

OPERATIONS = (
    Operation(
        "POST",
        "/v1/events",
        "Tell that something happened",
        TAG,
        {202: Answer("Taken in.", Accepted, {"accepted": 1})},
        owner=OWNER,
        body=Body(
            {"anyOf": [CloudEvent, {"type": "array", "items": CloudEvent}, {}]},
            {"structured": EVENT, "batch": [EVENT]},
            media=CLOUD_EVENTS,
            limit=4 * MIB,
        ),
        description="Structured (`application/cloudevents+json`), a batch (`application/cloudevents-batch+json`), or binary: "
        "`ce-id`, `ce-source`, `ce-type` ... as headers and the data as body. The same source and id count once. "
        "An event that nobody waits for is kept for its `ttl` (an extension attribute, else the type's, else PT1H).",
    ),
    Operation(
        "GET",
        "/v1/events",
        "What became of an event",
        TAG,
        {
            200: Answer(
                "Rules that fired and processes that it woke.",
                EventStatus,
                {"fired": [], "correlated": [], "buffered_until": None, "expired": False, "refused": None},
            )
        },
        owner=OWNER,
        query=(Query("source", "The event's source."), Query("id", "The event's id.")),
        refuses=(404,),
    ),
)
