"""Processes: starting, reading, driving them. All of it is process-svc's; only `why` is put together here."""

from typing import Any

from kernel_contracts.process import CreateProcess
from kernel_contracts.vocabulary import Outcome, ProcessState

from gateway.models.base import BatchAnswer, Page
from gateway.models.processes import CommandBatch, CreateBatch, History, Process, Snapshot, Tree
from gateway.operation import MIB, Answer, Body, Operation, Query
from gateway.routes.answers import one, part
from gateway.routes.queries import INTEGER, PAGE, TIME

OWNER = "process-svc"
TAG = "Processes"

EXAMPLE: dict[str, Any] = {
    "pid": 4711,
    "tenant": "main",
    "service": "assess-application",
    "service_version": 1,
    "entity": {"type": "permit", "id": "2026-0815"},
    "entities": [
        {"type": "permit", "id": "2026-0815", "role": "subject"},
        {"type": "citizen", "id": "c-19", "role": "applicant", "access": "shared"},
    ],
    "operator": "anna",
    "priority": 50,
    "state": "RUNNING",
    "outcome": None,
    "version": 3,
    "context": {"district": "north", "fee": 120},
    "output": None,
    "parent": None,
    "after": [],
    "queue": "default",
    "dispatch_id": "d-4711-1",
    "attempt": 1,
    "created_at": "2026-11-25T09:00:00Z",
    "ready_at": "2026-11-25T09:00:00Z",
    "started_at": "2026-11-25T09:00:01Z",
    "ended_at": None,
    "due": "2026-11-27T17:00:00Z",
    "not_before": None,
    "not_after": None,
    "incident": None,
    "waiting_for": None,
    "can": ["complete", "fail", "wait", "suspend", "cancel", "release"],
}
CREATE = {
    "service": "assess-application",
    "entity": {"type": "permit", "id": "2026-0815"},
    "entities": [{"type": "citizen", "id": "c-19", "role": "applicant"}],
    "context": {"district": "north", "fee": 120},
    "due": "2026-11-27T17:00:00Z",
    "key": "permit-2026-0815-assess",
}
BATCH_ANSWER = {
    "items": [
        {"status": 201, "process": EXAMPLE},
        {
            "status": 422,
            "problem": {
                "type": "about:blank",
                "title": "Invalid input",
                "status": 422,
                "detail": "There is no service assess.",
            },
        },
    ]
}

FIELDS = Query("fields", "Only these members, separated by commas: `pid,state`.")
MIN_VERSION = Query(
    "min_version", "Answers once the process has this version; 412 where it has not after two seconds.", INTEGER
)

HOT = (
    Operation(
        "POST",
        "/v1/processes",
        "Start a process",
        TAG,
        {
            201: Answer(
                "It was started.",
                Process,
                {**EXAMPLE, "state": "READY", "operator": None, "started_at": None},
                {"location": "Its address.", "etag": "Its version."},
            ),
            200: Answer(
                "A process with this `key` is there already: that one.", Process, EXAMPLE, {"etag": "Its version."}
            ),
        },
        owner=OWNER,
        body=Body(CreateProcess, {"permit": CREATE, "smallest": {"service": "assess-application"}}),
        refuses=(404,),
    ),
    Operation(
        "GET",
        "/v1/processes/{pid}",
        "One process",
        TAG,
        one(Process, EXAMPLE),
        owner=OWNER,
        query=(MIN_VERSION, FIELDS),
        refuses=(404, 412),
    ),
    Operation(
        "POST",
        "/v1/processes:batch",
        "Start up to 1,000 processes",
        TAG,
        {200: Answer("One answer each, in order; one bad item spoils no other.", BatchAnswer, BATCH_ANSWER)},
        owner=OWNER,
        body=Body(CreateBatch, {"two": {"items": [CREATE, {"service": "assess"}]}}, limit=4 * MIB),
    ),
    Operation(
        "POST",
        "/v1/processes:commands",
        "Up to 1,000 commands",
        TAG,
        {200: Answer("One answer each, in order.", BatchAnswer, {"items": BATCH_ANSWER["items"][:1]})},
        owner=OWNER,
        body=Body(
            CommandBatch,
            {
                "two": {
                    "items": [
                        {"pid": 4711, "command": "complete", "output": {"granted": True}},
                        {"pid": 4712, "command": "cancel", "reason": "withdrawn"},
                    ]
                }
            },
            limit=4 * MIB,
        ),
    ),
)

_FILTERS = (
    Query(
        "state",
        "One or several, separated by commas.",
        {
            "type": "string",
            "examples": ["READY,RUNNING"],
            "pattern": f"^({'|'.join(ProcessState)})(,({'|'.join(ProcessState)}))*$",
        },
    ),
    Query("not_state", "In none of these states."),
    Query("outcome", "Ended so.", {"type": "string", "enum": list(Outcome)}),
    Query("service", "Of this service; several times: of any of them."),
    Query("service_version", "Of this version of it.", INTEGER),
    Query("operator", "Run by, or assigned to, this operator."),
    Query("assigned", "Only this operator may run it."),
    Query("queue", "In this queue."),
    Query("pid", "With this pid; several times: any of them.", INTEGER),
    Query("entity_type", "About an entity of this type, as its subject or in another role."),
    Query("entity_id", "About the entity with this id."),
    Query("parent", "Children of this process.", INTEGER),
    Query("root", "The family of this process.", INTEGER),
    Query("key", "The one with this key of its creator."),
    Query("created_after", "Made after this time.", TIME),
    Query("created_before", "Made before this time.", TIME),
    Query("ended_after", "Ended after this time.", TIME),
    Query("ended_before", "Ended before this time.", TIME),
    Query("due_after", "Due after this time.", TIME),
    Query("due_before", "Due before this time.", TIME),
    Query("has_incident", "Whether somebody is needed.", {"type": "boolean"}),
    Query("incident_type", "With an open incident of this type."),
    Query("assignee", "With an open incident that this one looks after."),
    Query(
        "q",
        "Text in the name or title of the service, in key or entity id; under three letters: at the beginning of those.",
    ),
    Query(
        "sort",
        "Ascending, or with `-` descending; those without a due time come last, `ended_at` lists what has ended.",
        {"type": "string", "pattern": "^-?(pid|created_at|priority|due|ended_at)$", "default": "pid"},
    ),
    FIELDS,
    *PAGE,
)

OPERATIONS = (
    Operation(
        "GET",
        "/v1/processes",
        "Find processes",
        TAG,
        part(Process, EXAMPLE),
        owner=OWNER,
        query=_FILTERS,
        description="`context.PATH=value` filters by a member of the context: fast where `service` names one that declares it in"
        " `indexed`; else only where the other filters leave 20,000 processes at most (422 beyond that). `total` is exact up to"
        " 100,000; beyond it `total_capped` is true.",
    ),
    Operation(
        "GET",
        "/v1/processes/{pid}/history",
        "What happened to it, oldest first",
        TAG,
        {
            200: Answer(
                "Each step.",
                History,
                {
                    "items": [
                        {
                            "version": 1,
                            "type": "created",
                            "state": "NEW",
                            "at": "2026-11-25T09:00:00Z",
                            "by": "portal",
                            "reason": None,
                            "cause": None,
                            "operator": None,
                            "changes": {},
                        }
                    ],
                    "next": None,
                },
            )
        },
        owner=OWNER,
        query=(
            Query("command", "Only what this command led to."),
            Query("type", "Only rows of this type: created, ready, running, context_changed, ..."),
            Query("by", "Only what this one did."),
            Query("operator", "Only what this operator ran."),
            Query("from", "Only what happened from this time on.", TIME),
            Query("to", "Only what happened before this time.", TIME),
            *PAGE,
        ),
        refuses=(404, 410),
    ),
    Operation(
        "GET",
        "/v1/processes/{pid}/tree",
        "Its family",
        TAG,
        {
            200: Answer(
                "From the root down, or from the process itself where it lies too deep; 100 generations at most."
                " `truncated`: the family has more processes.",
                Tree,
                {
                    "pid": 4700,
                    "service": "permit",
                    "state": "WAITING",
                    "children": [{"pid": 4711, "service": "assess-application", "state": "RUNNING", "children": []}],
                },
            )
        },
        owner=OWNER,
        refuses=(404,),
    ),
    Operation(
        "GET",
        "/v1/processes/{pid}/snapshots",
        "The versions of its context",
        TAG,
        {
            200: Answer(
                "Each with its place in the chain of hashes.",
                Page[Snapshot],
                {
                    "items": [
                        {
                            "version": 1,
                            "at": "2026-11-25T09:00:00Z",
                            "context": {"fee": 120},
                            "hash": "9b1d",
                            "previous_hash": None,
                            "verified": True,
                        }
                    ],
                    "next": None,
                },
            )
        },
        owner=OWNER,
        query=(Query("at", "Only the one that was valid at this time.", TIME), *PAGE),
        refuses=(404,),
    ),
    Operation(
        "GET",
        "/v1/processes/{pid}/snapshots/{version}",
        "Its context at one version",
        TAG,
        {
            200: Answer(
                "With `against`, the difference as a JSON patch.",
                Snapshot,
                {
                    "version": 1,
                    "at": "2026-11-25T09:00:00Z",
                    "context": {"fee": 120},
                    "hash": "9b1d",
                    "previous_hash": None,
                    "verified": True,
                },
            )
        },
        owner=OWNER,
        query=(Query("against", "Another version to compare with.", INTEGER),),
        refuses=(404,),
    ),
)
