"""The ledger: whether what is stored is what was written, and checkpoints that show where its end was cut off."""

from gateway.models.base import Page
from gateway.models.ledger import Checkpoint, Head, Verified, VerifiedPart
from gateway.operation import Answer, Operation, Query
from gateway.routes.answers import part
from gateway.routes.queries import COUNT, CURSOR, LIMIT, TIME

OWNER, TAG = "process-svc", "Ledger"
_HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
CHECKPOINT = {
    "tenant": "main",
    "number": 1,
    "at": "2026-11-25T09:01:00Z",
    "upto": "2026-11-25T09:00:59Z",
    "count": 2,
    "digest": _HASH,
    "previous_hash": "00" * 32,
    "hash": _HASH,
    "statement": '{"at":"2026-11-25T09:01:00+00:00","count":2}',
    "signature": _HASH * 2,
    "public_key": _HASH,
}

OPERATIONS = (
    Operation(
        "GET",
        "/v1/processes/{pid}/verify",
        "Whether its past is what was written",
        TAG,
        {
            200: Answer(
                "All of it, recomputed from stored bytes; the first broken link where there is one.",
                Verified,
                {
                    "pid": 4711,
                    "ok": False,
                    "broken": {"pid": 4711, "version": 3, "what": "hash"},
                    "head": _HASH,
                    "rows": 5,
                    "snapshots": 2,
                    "chained_from": 1,
                    "checkpoint": 12,
                },
            )
        },
        owner=OWNER,
        refuses=(404,),
    ),
    Operation(
        "POST",
        "/v1/verify",
        "Verify all processes, a part at a time",
        TAG,
        {
            200: Answer(
                "The first broken link of each process of this part that has one. Ask again with `next` as the cursor.",
                VerifiedPart,
                {"ok": True, "checked": 50, "broken": [], "next": "4761"},
            )
        },
        owner=OWNER,
        query=(LIMIT, CURSOR),
    ),
    Operation(
        "GET",
        "/v1/checkpoints",
        "Signed checkpoints, by number",
        TAG,
        part(Checkpoint, CHECKPOINT),
        owner=OWNER,
        query=(LIMIT, CURSOR, COUNT),
        description="Keep them outside: whoever sets the database back is found out by those that are missing in it.",
    ),
    Operation(
        "GET",
        "/v1/checkpoints/{number}",
        "One checkpoint, with all that verifying it takes",
        TAG,
        {200: Answer("It.", Checkpoint, CHECKPOINT)},
        owner=OWNER,
        refuses=(404,),
    ),
    Operation(
        "GET",
        "/v1/checkpoints/{number}/heads",
        "What a checkpoint covers",
        TAG,
        {
            200: Answer(
                "The newest journal row of each process that had changed, by pid.",
                Page[Head],
                {"items": [{"pid": 4711, "version": 5, "hash": _HASH}], "next": None},
            )
        },
        owner=OWNER,
        query=(LIMIT, CURSOR),
        refuses=(404,),
    ),
    Operation(
        "GET",
        "/v1/export",
        "The history as an event log",
        TAG,
        {
            200: Answer(
                "A file as large as it gets, as a stream.",
                {"type": "string"},
                "case:concept:name,concept:name,time:timestamp\n4711,assess-application,2026-11-25T09:00:00+00:00\n",
                {"content-disposition": "A name for the file."},
                "text/csv",
            )
        },
        owner=OWNER,
        query=(
            Query(
                "format",
                "CSV, XES 1.0 (application/xml) or OCEL 2.0 (application/json).",
                {"type": "string", "enum": ["csv", "xes", "ocel"], "default": "csv"},
            ),
            Query("service", "Only processes of this service."),
            Query("from", "Only what happened from this time on.", TIME),
            Query("to", "Only what happened before this time.", TIME),
            Query(
                "case",
                "What a case is: a process, a family, or all that was done for an entity. Not for OCEL.",
                {"type": "string", "enum": ["process", "root", "entity"], "default": "process"},
            ),
            Query("lifecycle", "Only these transitions, separated by commas: `start,resume,complete`."),
        ),
        description="Process-mining tools read it (pm4py without further arguments). An export that ends without its last"
        " chunk broke off: fetch it again.",
        streams=True,
    ),
)
