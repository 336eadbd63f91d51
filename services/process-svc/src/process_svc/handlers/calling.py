"""Calling other services: a process waits for children that are made for it, and goes on with what they bring."""

from datetime import datetime
from typing import Any

import orjson
from kernel_contracts.process import CallProcess, CreateProcess, IterateProcess, MapProcess
from kernel_contracts.vocabulary import CommandName, OnChildFailure, OnTimeout, Outcome, ProcessState
from kernel_runtime.command import Command
from kernel_runtime.expressions import template
from kernel_runtime.expressions.errors import ExpressionError
from kernel_runtime.problem import Problem, invalid

from process_svc import expr, wire
from process_svc.domain import calls as decisions
from process_svc.domain.calls import Call, Verdict, startable, verdict
from process_svc.domain.process import Change, Decision, Process, Waiting
from process_svc.domain.steps import illegal
from process_svc.handlers.answers import stored, too_far
from process_svc.handlers.calls import seen
from process_svc.handlers.create import make, service_of
from process_svc.handlers.work import Work
from process_svc.store.calls import Item

MAX_ITEMS = 100_000


def begin(work: Work, process: Process, body: CallProcess, now: datetime) -> Decision | Problem:
    """`call`, `map` or `iterate`: WAITING; the children are made by follow-ups."""
    kind = _KINDS[type(body)]
    if process.state is not ProcessState.RUNNING:
        return illegal(process, kind)
    service = service_of(work, process.tenant, CreateProcess(service=body.service), now)
    if isinstance(service, Problem):
        return service
    entity = body.entity
    if entity is None and process.entity_type is not None and service.entity_type in (None, process.entity_type):
        entity = {"type": process.entity_type, "id": process.entity_id}
    if entity is None and service.entity_type is not None:
        text = f"is required: {service.name} works on an entity of type {service.entity_type!r}"
        return invalid(f"entity {text}.", [("/entity", text)])
    computed = [
        *template.errors(expr.LANGUAGE, body.context, "/context"),
        *template.errors(expr.LANGUAGE, body.entity, "/entity"),
    ]
    if computed:
        return invalid(str(computed[0]), [(each.pointer, str(each)) for each in computed])
    items = _items(process, body, now)
    if isinstance(items, Problem):
        return items
    need = _need(body, len(items))
    if isinstance(need, Problem):
        return need
    given = {"context": body.context, "entity": entity, "priority": max(service.priority, process.priority)}
    stencil = stored(given, "context")
    if isinstance(stencil, Problem):
        return stencil
    try:
        timeout = None if body.timeout is None else now + body.timeout
    except OverflowError:
        return too_far("/timeout")
    limit = {CommandName.MAP: getattr(body, "max_running", None) or len(items)}.get(kind, 1)
    call = Call(
        id=work.memory.calls.next(),
        pid=process.pid,
        kind=kind,
        service=service.name,
        version=service.version,
        into=body.into or service.name,
        total=len(items),
        need=need,
        limit=limit,
        on_child_failure=body.on_child_failure,
        rest=body.rest,
        template=stencil,
    )
    work.calls.begin(call, process.tenant, items, now)
    waiting = Waiting(timeout=timeout, on_timeout=body.on_timeout, call=call.id, told=_told(call))
    return decisions.called(process, kind, waiting, body.reason)


_KINDS = {CallProcess: CommandName.CALL, MapProcess: CommandName.MAP, IterateProcess: CommandName.ITERATE}


def _told(call: Call) -> dict[str, Any]:
    return {
        "id": call.id,
        "kind": call.kind.value,
        "service": call.service,
        "into": call.into,
        "total": call.total,
        "need": call.need,
    }


def _items(process: Process, body: CallProcess, now: datetime) -> list[str] | Problem:
    """JSON of each item that it is for."""
    if not isinstance(body, IterateProcess):
        return ["null"]
    over: Any = body.over
    if isinstance(over, str):
        if not over.startswith("="):
            text = 'must be a list, or an expression that gives one: begin it with "=", as in "=context.lines"'
            return invalid(f"over {text}.", [("/over", text)])
        context, pcb = seen(process)
        try:
            over = expr.computed(over)(expr.LANGUAGE.scope(now, context=context, process=pcb))
        except ExpressionError as error:
            return invalid(f"over can't be computed: {error}", [("/over", str(error))])
        if not isinstance(over, list):
            text = f"must give a list, this gives {type(over).__name__}"
            return invalid(f"over {text}.", [("/over", text)])
    if len(over) > MAX_ITEMS:
        return invalid(f"over may have {MAX_ITEMS:,} items, this has {len(over):,}.", [("/over", "is too long")])
    try:
        return [wire.canonical(each) for each in over]
    except TypeError as error:
        return invalid(f"over can't be stored: {error}", [("/over", str(error))])


def _need(body: CallProcess, total: int) -> int | Problem:
    join = body.join if isinstance(body, MapProcess) else "all"
    if join == "all":
        return total
    need = 1 if join == "any" else join
    assert isinstance(need, int)
    if need > total:
        text = f"asks for {need}, but there are only {total} items"
        return invalid(f"join {text}.", [("/join", text)])
    return need


def spawn(work: Work, command: Command, caller: Process, now: datetime) -> None:
    """Begins the items that this batch has prepared, where the caller still waits for them."""
    call = work.calls.waited_for(caller)
    if call is None or caller.state is not ProcessState.WAITING:
        return
    for index, start in work.calls.starts.pop(call.id, ()):
        made = start
        if isinstance(start, CreateProcess):
            child = make(work, command, start, now, caller.tenant, call=call.id)
            if not isinstance(child, Problem):
                work.calls.started(call, index, child[0].pid, None)
                continue
            made = child
        assert isinstance(made, Problem)
        work.calls.started(call, index, None, {"class": "business", "code": "not_started", "message": made.detail})
    work.go_on(work.calls.of[call.id], command.cause)


def join(work: Work, command: Command, caller: Process, now: datetime, *, late: bool = False) -> None:
    """Children have ended, or (`late`) their time is up: the caller goes on, or further items begin."""
    call = work.calls.waited_for(caller)
    if call is None or caller.state is not ProcessState.WAITING:
        return
    found = verdict(call)
    if found is Verdict.OPEN and not late:
        work.go_on(call, command.cause)
        return
    items = work.calls.results.get(call.id)
    if items is None:  # it has come to this in this very batch
        work.go_on(call, command.cause)
        return
    work.apply(_outcome(work, caller, call, found, items, now), command, now)


def _outcome(work: Work, caller: Process, call: Call, found: Verdict, items: list[Item], now: datetime) -> Change:
    service, waiting = work.entry(caller).service, caller.waiting
    assert waiting is not None
    if found is Verdict.NEVER:
        return decisions.lost(caller, service, _first_error(call, items), now)
    late = found is Verdict.OPEN
    if late and waiting.on_timeout is OnTimeout.FAIL:
        text = f"{call.service} did not end in time: {call.completed} of {call.total} have completed"
        return decisions.lost(caller, service, {"code": "timeout", "message": text}, now, late=True)
    context = _with_results(caller, call, items)
    if isinstance(context, Problem):
        return decisions.lost(caller, service, {"code": "result_too_large", "message": context.detail}, now, late=late)
    reason = f"{call.completed} of {call.total} have completed" if call.total > 1 else f"{call.service} has ended"
    return decisions.returned(caller, context, now, reason, late=late)


def _with_results(caller: Process, call: Call, items: list[Item]) -> str | Problem:
    """The caller's context with what has come; a reference to it where that is too large."""
    assert caller.context is not None
    context = orjson.loads(caller.context)
    settled = call.on_child_failure is OnChildFailure.WAKE
    found = [
        decisions.result(
            each.outcome,
            orjson.loads(each.output) if each.output is not None and each.outcome is Outcome.COMPLETED else None,
            each.child,
            error(each),
            settled=settled,
        )
        for each in items
    ]
    whole = stored({**context, call.into: found[0] if call.kind is CommandName.CALL else found}, "context")
    if not isinstance(whole, Problem):
        return whole
    reference = {"ref": f"/v1/calls/{call.id}/items", "total": call.total, "completed": call.completed}
    return stored({**context, call.into: reference}, "context")


def error(item: Item) -> dict[str, Any] | None:
    """Why an item has not completed, where it is over."""
    if item.error is not None:
        found: dict[str, Any] = orjson.loads(item.error)
        return found
    if item.outcome is None or item.outcome is Outcome.COMPLETED:
        return None
    told = None if item.changes is None else orjson.loads(item.changes).get("error")
    return told or {"class": "business", "code": item.outcome.value, "message": item.reason or ""}


def _first_error(call: Call, items: list[Item]) -> dict[str, Any]:
    """Of the first item that failed; for its caller it is a failure of the business."""
    for item in items:
        if (found := error(item)) is not None:
            who = f"{call.service}" if item.child is None else f"process {item.child} ({call.service})"
            return {"code": found.get("code"), "message": f"{who}: {found.get('message')}"[:2000]}
    return {"code": "child_failed", "message": f"{call.service} failed"}


def progress(call: Call) -> dict[str, Any]:
    """A call as it is shown."""
    return {
        **_told(call),
        "pid": call.pid,
        "service_version": call.version,
        "max_running": call.limit,
        "on_child_failure": call.on_child_failure,
        "rest": call.rest,
        "started": call.started,
        "ended": call.ended,
        "completed": call.completed,
        "to_start": startable(call),
    }
