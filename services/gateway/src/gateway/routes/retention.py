"""Retention and legal hold: what is kept, for how long, and why it is kept longer."""

from kernel_contracts.holds import Hold, NewHold, Retention

from gateway.operation import Answer, Body, Operation, Query
from gateway.routes.answers import part
from gateway.routes.queries import CURSOR, LIMIT

OWNER, TAG = "process-svc", "Ledger"
HOLD = {
    "id": 3,
    "pid": None,
    "filter": {"service": "assess-application", "entity_id": "2026-0815"},
    "reason": "objection 4 of 2026",
    "by": "erin",
    "at": "2026-11-25T09:00:00Z",
    "released_by": None,
    "released_at": None,
}

OPERATIONS = (
    Operation(
        "POST",
        "/v1/holds",
        "Hold: keep the history of processes until it is released",
        TAG,
        {201: Answer("It holds.", Hold, HOLD, {"location": "Its address."})},
        owner=OWNER,
        body=Body(
            NewHold,
            {
                "process": {"pid": 4711, "reason": "objection 4 of 2026"},
                "filter": {"filter": HOLD["filter"], "reason": HOLD["reason"]},
            },
        ),
        refuses=(404,),
        description="A hold keeps all that lies in the same partition, about a million processes. `filter` has the members of the"
        " query of GET /v1/processes; what it finds is looked for whenever something is to be dropped.",
    ),
    Operation(
        "GET",
        "/v1/holds",
        "Legal holds, also those that were released",
        TAG,
        part(Hold, HOLD),
        owner=OWNER,
        query=(Query("active", "Only those that hold, or only released ones.", {"type": "boolean"}), LIMIT, CURSOR),
    ),
    Operation("GET", "/v1/holds/{id}", "One hold", TAG, {200: Answer("It.", Hold, HOLD)}, owner=OWNER, refuses=(404,)),
    Operation(
        "DELETE",
        "/v1/holds/{id}",
        "Release it",
        TAG,
        {
            200: Answer(
                "It is kept, as released.", Hold, {**HOLD, "released_by": "erin", "released_at": "2026-11-26T09:00:00Z"}
            )
        },
        owner=OWNER,
        refuses=(404, 409),
    ),
    Operation(
        "GET",
        "/v1/retention",
        "How long histories are kept, and what is left of those that were dropped",
        TAG,
        {
            200: Answer(
                "By partition.",
                Retention,
                {
                    "keep": "P3650D",
                    "partitions": [
                        {
                            "lower": 0,
                            "upper": 1000000,
                            "dropped_at": "2026-11-25T09:00:00Z",
                            "processes": 999_998,
                            "rows": 4_700_123,
                            "first_pid": 1,
                            "last_pid": 999_999,
                            "digest": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                            "signed": True,
                            "cleared": 1_000_000,
                        }
                    ],
                },
            )
        },
        owner=OWNER,
    ),
)
