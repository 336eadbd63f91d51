"""Work by programs: claimed by long poll, held by lease, answered by token."""

import asyncio
from urllib.parse import urlencode

from kernel_contracts import process as contract
from kernel_contracts.vocabulary import Role
from kernel_contracts.work import ClaimWork, Heartbeat
from kernel_runtime.problem import Problem, ProblemError
from pydantic import BaseModel, create_model

from gateway.models.base import BatchAnswer, Page
from gateway.models.processes import Process
from gateway.models.work import Claimed, Heartbeats, Held, HeldItems, WorkAnswers, WorkLease
from gateway.operation import MIB, Answer, Body, Call, Operation, Query, quoted
from gateway.reply import Reply, json_reply
from gateway.routes.answers import one
from gateway.routes.processes import BATCH_ANSWER, EXAMPLE
from gateway.routes.queries import CURSOR, LIMIT

OWNER, TAG = "process-svc", "Work by programs"
LONGEST_POLL = 75.0
"""Seconds until a claim is given up on: the longest wait, and what an answer may take."""

TOKEN = 196_609
ITEM = {
    "pid": 4712,
    "token": TOKEN,
    "service": "invoice.create",
    "service_version": 1,
    "entity": {"type": "permit", "id": "2026-0815"},
    "context": {"fee": 120},
    "attempt": 1,
    "priority": 50,
    "operator": None,
    "due": None,
    "lease": 60.0,
    "lease_until": "2026-11-25T09:01:00Z",
}
HELD = {"pid": 4712, "token": TOKEN, "lease_until": "2026-11-25T09:02:00Z"}
LEASE = {
    "pid": 4712,
    "service": "invoice.create",
    "priority": 50,
    "offered_at": "2026-11-25T09:00:00Z",
    "worker": "billing-1",
    "claimed_by": "billing",
    "token": TOKEN,
    "lease_until": "2026-11-25T09:01:00Z",
    "progress": {"pages": 3},
}


async def claim(call: Call) -> Reply:
    """A program whose token names an operator takes what that operator's roles allow; empty when the gateway stops."""
    operator, path = call.principal.operator, "/v1/work:claim"
    if operator is not None and Role.ADMIN not in call.principal.roles:
        found = await call.ask("resource-svc", "GET", f"/v1/operators/{quoted(operator)}")
        if found.status == 404:
            raise ProblemError(
                Problem(403, "Forbidden", f"The token names the operator {operator}, who does not exist.")
            )
        if not found.good:
            return found
        path += "?" + urlencode({"roles": ",".join(found.json().get("roles") or [])})
    asking = asyncio.ensure_future(call.ask(OWNER, "POST", path, call.body, timeout=LONGEST_POLL))
    stopping = asyncio.ensure_future(call.proxy.stopping.wait())
    try:
        await asyncio.wait((asking, stopping), return_when=asyncio.FIRST_COMPLETED)
        return await asking if asking.done() else json_reply({"items": []})
    finally:
        asking.cancel()
        stopping.cancel()


def _body(model: type[BaseModel]) -> type[BaseModel]:
    """The address names the pid; the token is needed here."""
    fields = {
        name: (int if name == "token" else info.annotation, ... if name == "token" else info)
        for name, info in model.model_fields.items()
        if name not in ("pid", "expected_version")
    }
    made: type[BaseModel] = create_model(  # type: ignore[call-overload]
        f"{model.__name__.removesuffix('Process')}WorkBody",
        __doc__=model.__doc__,
        __config__=model.model_config,
        **fields,
    )
    return made


def _answer(name: str, summary: str, model: type[BaseModel], example: dict[str, object]) -> Operation:
    return Operation(
        "POST",
        f"/v1/work/{{pid}}/{name}",
        summary,
        TAG,
        one(Process, EXAMPLE, "The process as it is now. The same token and answer again gives the same."),
        owner=OWNER,
        body=Body(_body(model), {"usual": {"token": TOKEN, **example}}),
        refuses=(404, 409),
    )


OPERATIONS = (
    Operation(
        "POST",
        "/v1/work:claim",
        "Take processes to carry out",
        TAG,
        {
            200: Answer(
                "What is held for this worker now; empty where nothing came in time.", Claimed, {"items": [ITEM]}
            )
        },
        handler=claim,
        body=Body(
            ClaimWork,
            {
                "long poll": {
                    "services": ["invoice.create"],
                    "worker": "billing-1",
                    "max": 8,
                    "wait": "PT30S",
                    "lease": "PT1M",
                }
            },
        ),
        lasting=True,
        description=(
            "The highest priority first, then the services in turn, then the oldest. Exactly one worker holds a process. A lease"
            " that lapses fails the attempt. Durations are seconds or ISO 8601. Without an Idempotency-Key, what an answer that"
            " was lost has taken comes back when its lease lapses."
        ),
    ),
    Operation(
        "POST",
        "/v1/work:complete",
        "Answer up to 1,000 processes",
        TAG,
        {200: Answer("One answer each, in order.", BatchAnswer, {"items": BATCH_ANSWER["items"][:1]})},
        owner=OWNER,
        body=Body(
            WorkAnswers,
            {
                "three": {
                    "items": [
                        {"pid": 4712, "token": TOKEN, "output": {"invoice": "R-77"}},
                        {"pid": 4713, "token": TOKEN, "error": {"class": "transient", "code": "ledger-away"}},
                        {"pid": 4714, "token": TOKEN, "release": True, "reason": "the worker stops"},
                    ]
                }
            },
            limit=4 * MIB,
        ),
    ),
    Operation(
        "POST",
        "/v1/work:heartbeat",
        "Extend up to 1,000 leases",
        TAG,
        {200: Answer("One answer each, in order.", HeldItems, {"items": [{"status": 200, **HELD}]})},
        owner=OWNER,
        body=Body(Heartbeats, {"one": {"items": [{"pid": 4712, "token": TOKEN}]}}, limit=4 * MIB),
    ),
    Operation(
        "POST",
        "/v1/work/{pid}/heartbeat",
        "Extend a lease, tell progress, hear whether to stop",
        TAG,
        {200: Answer("It is held.", Held, HELD)},
        owner=OWNER,
        body=Body(_body(Heartbeat), {"progress": {"token": TOKEN, "progress": {"pages": 3}}}),
        refuses=(404, 409),
        description="409: it was completed, cancelled, suspended or taken back meanwhile, or the lease has lapsed. Stop then.",
    ),
    _answer("complete", "Say what came of it", contract.CompleteProcess, {"output": {"invoice": "R-77"}}),
    _answer(
        "fail",
        "Say that it failed",
        contract.FailProcess,
        {"error": {"class": "transient", "code": "ledger-away", "message": "The ledger does not answer"}},
    ),
    _answer("release", "Give it back unfinished", contract.ReleaseProcess, {"reason": "the worker stops"}),
    Operation(
        "GET",
        "/v1/work",
        "What programs carry out, and what waits for one",
        TAG,
        {200: Answer("A part of the list, by pid.", Page[WorkLease], {"items": [LEASE], "next": None})},
        owner=OWNER,
        query=(Query("service", "Of this service."), Query("worker", "Held by this worker."), LIMIT, CURSOR),
    ),
    Operation(
        "GET",
        "/v1/work/{pid}",
        "Who carries out a process, until when, and how far it is",
        TAG,
        {200: Answer("Its lease.", WorkLease, LEASE)},
        owner=OWNER,
        refuses=(404,),
    ),
)
