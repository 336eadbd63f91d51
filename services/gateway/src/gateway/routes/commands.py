"""What can be asked of one process. process-svc's state table says when."""

from typing import Any

from kernel_contracts import process as contract
from kernel_contracts.base import JsonObject
from pydantic import BaseModel, RootModel, create_model

from gateway.models.processes import Process
from gateway.models.services import Migration
from gateway.operation import MERGE_PATCH, Answer, Body, Operation, Query
from gateway.routes.answers import one
from gateway.routes.processes import EXAMPLE, OWNER, TAG

_SHOWN = one(Process, EXAMPLE, "The process as it is now.")


class Migrated(RootModel[Process | Migration]):
    """The process, or what would change."""


class ContextPatch(RootModel[JsonObject]):
    """JSON merge patch (RFC 7396): null removes a member."""


def _command(name: str, summary: str, model: type[BaseModel], example: dict[str, Any]) -> Operation:
    return Operation(
        "POST",
        f"/v1/processes/{{pid}}/{name}",
        summary,
        TAG,
        _SHOWN,
        owner=OWNER,
        body=Body(_without_pid(model), {"usual": example}, required=False),
        refuses=(404, 409, 412),
    )


def _without_pid(model: type[BaseModel]) -> type[BaseModel]:
    """The address names the pid, so the body as documented has none."""
    fields: dict[str, Any] = {
        name: (info.annotation, info)
        for name, info in model.model_fields.items()
        if name not in ("pid", "expected_version")
    }
    return create_model(model.__name__ + "Body", __doc__=model.__doc__, __config__=model.model_config, **fields)


OPERATIONS = (
    _command(
        "complete",
        "Finish with an output that fits the service's form",
        contract.CompleteProcess,
        {"output": {"granted": True}, "reason": "complete and correct"},
    ),
    _command(
        "fail",
        "Say that it failed; it is tried again, or becomes an incident",
        contract.FailProcess,
        {"error": {"class": "transient", "code": "register-away", "message": "The land register does not answer"}},
    ),
    _command("release", "Give it back to the queue", contract.ReleaseProcess, {"reason": "end of shift"}),
    _command(
        "wait",
        "Wait for an event, a time or its children",
        contract.WaitProcess,
        {"for": {"event": {"type": "documents.received", "key": "2026-0815"}}, "timeout": "P14D", "on_timeout": "fail"},
    ),
    _command(
        "call",
        "Wait for another service, and take its output into the context",
        contract.CallProcess,
        {"service": "check-register", "context": {"parcel": "=context.parcel"}, "into": "register", "timeout": "P2D"},
    ),
    _command(
        "map",
        "The same for each item of a list, several at a time",
        contract.MapProcess,
        {
            "service": "hear-neighbour",
            "over": "=context.neighbours",
            "context": {"name": "=item.name"},
            "max_running": 5,
            "join": "all",
            "timeout": "P30D",
            "on_timeout": "wake",
        },
    ),
    _command(
        "iterate",
        "The same for each item of a list, one after the other",
        contract.IterateProcess,
        {"service": "sign", "over": ["legal", "head"], "into": "signatures"},
    ),
    _command(
        "arrive",
        "Wait at a barrier until all have arrived",
        contract.ArriveAtBarrier,
        {"name": "papers-complete", "parties": 3, "timeout": "P7D", "on_timeout": "fail"},
    ),
    _command("wake", "End its waiting by hand", contract.WakeProcess, {"context": {"documents": 3}}),
    _command(
        "suspend", "Set it aside", contract.SuspendProcess, {"reason": "the applicant is abroad", "cascade": False}
    ),
    _command("resume", "Go on with a suspended one", contract.ResumeProcess, {"reason": "the applicant is back"}),
    _command("cancel", "End it without a result", contract.CancelProcess, {"reason": "the application was withdrawn"}),
    _command(
        "prioritize",
        "Give it another priority",
        contract.PrioritizeProcess,
        {"priority": 90, "reason": "promised for today"},
    ),
    _command("assign", "Let one operator run it, or (null) any again", contract.AssignProcess, {"operator": "anna"}),
    _command(
        "rollback",
        "Go back to the context of an earlier version",
        contract.RollbackProcess,
        {"version": 2, "resume": True, "reason": "wrong form"},
    ),
    _command("retry", "Try a failed one again", contract.RetryProcess, {"context": {"register": "backup"}}),
    Operation(
        "POST",
        "/v1/processes/{pid}/migrate",
        "Go on with another version of its service",
        TAG,
        {
            200: Answer(
                "The process as it is now; with `dry_run`, what would change.",
                Migrated,
                {
                    "pid": 4711,
                    "service": "assess-application",
                    "state": "READY",
                    "from": 1,
                    "to": 2,
                    "changes": {"service_version": [1, 2], "priority": [50, 60]},
                    "problems": [],
                    "possible": True,
                },
            )
        },
        owner=OWNER,
        query=(Query("dry_run", "`true`: tell what would change, do nothing.", {"type": "boolean"}),),
        body=Body(_without_pid(contract.MigrateProcess), {"usual": {"to": 2, "context_patch": {"district": "north"}}}),
        refuses=(404, 409, 412),
        description="A running process only where form, roles and requirements are the same in both versions.",
    ),
    Operation(
        "PATCH",
        "/v1/processes/{pid}/context",
        "Change its context",
        TAG,
        _SHOWN,
        owner=OWNER,
        body=Body(ContextPatch, {"fee": {"fee": 140, "discount": None}}, media=MERGE_PATCH),
        refuses=(404, 409, 412),
    ),
)
