"""Bulk: one command to all that a filter finds, as a job that process-svc carries out."""

from typing import Any

from kernel_contracts.jobs import BulkCommand, BulkMigrate, BulkResolve, Job, JobItem
from kernel_contracts.vocabulary import JobState

from gateway.operation import Answer, Body, Operation, Query
from gateway.routes.answers import part
from gateway.routes.queries import PAGE

OWNER, TAG = "process-svc", "Bulk"

EXAMPLE: dict[str, Any] = {
    "id": 12,
    "kind": "processes",
    "command": "cancel",
    "filter": {"service": "assess-application", "state": "RUNNING"},
    "body": {"reason": "the scheme has ended"},
    "dry_run": False,
    "state": "running",
    "total": 1200,
    "done": 400,
    "failed": 2,
    "by": "erin",
    "created_at": "2026-11-25T09:00:00Z",
    "started_at": "2026-11-25T09:00:01Z",
    "ended_at": None,
    "error": None,
}
RESOLVE = {**EXAMPLE, "kind": "incidents", "command": "resolve_incident", "body": {"action": "retry"}, "filter": {}}
ITEM = {
    "pid": 4711,
    "status": "failed",
    "problem": {
        "type": "about:blank",
        "title": "Illegal state change",
        "status": 409,
        "detail": "Process 4711 is TERMINATED (completed); cancel is not allowed then. Allowed: nothing.",
    },
}
_AT = {"location": "Its address."}


def started(example: dict[str, Any]) -> dict[int, Answer]:
    """Of what makes a job."""
    return {202: Answer("The job; it goes on by itself.", Job, {**example, "state": "collecting", "done": 0}, _AT)}


def _control(action: str, summary: str, state: str) -> Operation:
    return Operation(
        "POST",
        f"/v1/jobs/{{id}}/{action}",
        summary,
        TAG,
        {200: Answer("The job.", Job, {**EXAMPLE, "state": state})},
        owner=OWNER,
        refuses=(404, 409),
    )


OPERATIONS = (
    Operation(
        "POST",
        "/v1/processes:bulk",
        "Give a command to all that a filter finds",
        TAG,
        started(EXAMPLE),
        owner=OWNER,
        body=Body(
            BulkCommand,
            {
                "cancel": {
                    "filter": {"service": "assess-application", "state": "RUNNING"},
                    "command": "cancel",
                    "body": {"reason": "the scheme has ended"},
                    "dry_run": True,
                }
            },
        ),
        description="`filter` has the members of the query of GET /v1/processes; a list is any of its values. Which processes"
        " it is for is fixed before the first is touched. Each is carried out once, with the rights of who asked here. With"
        " `dry_run` the items say what would become of each, and nothing is done.",
    ),
    Operation(
        "POST",
        "/v1/processes:migrate",
        "Take running processes to another version of their service",
        TAG,
        started({**EXAMPLE, "command": "migrate", "body": {"to": 3}}),
        owner=OWNER,
        body=Body(
            BulkMigrate,
            {
                "plan": {
                    "service": "assess-application",
                    "from": 2,
                    "to": 3,
                    "filter": {"state": ["NEW", "READY"]},
                    "context_patch": {"scheme": "2027"},
                    "dry_run": True,
                }
            },
        ),
        description="`from` is a version or a list of them, and may be left out. With `dry_run` the items say what would change"
        " for each; otherwise each process keeps its state and gets the version `to` and the patch.",
        refuses=(404,),
    ),
    Operation(
        "POST",
        "/v1/incidents:resolve",
        "Resolve all incidents that a filter finds",
        TAG,
        started(RESOLVE),
        owner=OWNER,
        body=Body(BulkResolve, {"again": {"filter": {"incident_type": "register-away"}, "action": "retry"}}),
        description="`filter` finds processes, as in POST /v1/processes:bulk; `incident_type` and `assignee` besides.",
    ),
    Operation(
        "GET",
        "/v1/jobs",
        "Bulk jobs, newest first",
        TAG,
        part(Job, EXAMPLE),
        owner=OWNER,
        query=(Query("state", "In this state.", {"type": "string", "enum": list(JobState)}), *PAGE),
    ),
    Operation(
        "GET", "/v1/jobs/{id}", "One bulk job", TAG, {200: Answer("It.", Job, EXAMPLE)}, owner=OWNER, refuses=(404,)
    ),
    Operation(
        "GET",
        "/v1/jobs/{id}/items",
        "What becomes of each",
        TAG,
        part(JobItem, ITEM),
        owner=OWNER,
        query=(
            Query("status", "Of this status.", {"type": "string", "enum": ["pending", "done", "failed", "cancelled"]}),
            *PAGE,
        ),
        refuses=(404,),
    ),
    _control("pause", "Pause it", "paused"),
    _control("resume", "Go on with a paused one", "running"),
    _control("cancel", "End it; what is done stays done", "cancelled"),
)
