"""Commands to one process, alone or up to a thousand at once; each with the decision that it asks."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

import orjson
from kernel_contracts import process as bodies
from kernel_contracts.vocabulary import CommandName, ProcessState
from kernel_runtime.command import Answer, Command, Result
from kernel_runtime.problem import Problem, conflict, invalid, not_found

from process_svc import wire
from process_svc.catalog import check_output
from process_svc.domain import decisions
from process_svc.domain.decisions import Decision, Error
from process_svc.domain.merge import merge
from process_svc.domain.permissions import may_command
from process_svc.domain.process import Process, Refusal, Waiting
from process_svc.handlers.answers import forbidden, problem
from process_svc.handlers.bodies import Batch, ResolveIncident
from process_svc.handlers.create import MAX_CONTEXT
from process_svc.handlers.work import Work

Decide = Callable[[Work, Process, Any, datetime], Decision | Problem]

NAMED: Final[Mapping[CommandName, type[bodies.ProcessCommand]]] = {
    CommandName.SUSPEND: bodies.SuspendProcess,
    CommandName.RESUME: bodies.ResumeProcess,
    CommandName.CANCEL: bodies.CancelProcess,
    CommandName.COMPLETE: bodies.CompleteProcess,
    CommandName.FAIL: bodies.FailProcess,
    CommandName.WAIT: bodies.WaitProcess,
    CommandName.WAKE: bodies.WakeProcess,
    CommandName.RELEASE: bodies.ReleaseProcess,
    CommandName.PREEMPT: bodies.PreemptProcess,
    CommandName.PRIORITIZE: bodies.PrioritizeProcess,
    CommandName.ASSIGN: bodies.AssignProcess,
    CommandName.ROLLBACK: bodies.RollbackProcess,
    CommandName.RETRY: bodies.RetryProcess,
    CommandName.SET_CONTEXT: bodies.PatchContext,
}
"""What can be asked of a process over both doors, and the body of each."""


def handle(work: Work, command: Command, now: datetime) -> Result:
    done = _carry_out(work, command, CommandName(command.name), command.body, now)
    if isinstance(done, Problem):
        return done
    if command.envelope is not None:
        return Answer()
    return Answer(200, wire.pcb_json(done), {"etag": f'"{done.version}"'})


def batch(work: Work, command: Command, now: datetime) -> Result:
    """An item each, in order; one that is refused spoils no other."""
    body: Batch = command.body
    items: list[dict[str, Any]] = []
    for name, item in body.items:
        done = item if isinstance(item, Problem) else _carry_out(work, command, CommandName(name), item, now)
        if isinstance(done, Problem):
            items.append({"status": done.status, "problem": done.as_dict()})
        else:
            items.append({"status": 200, "process": wire.pcb(done)})
    return Answer(200, orjson.dumps({"items": items}, option=orjson.OPT_UTC_Z))


def _carry_out(
    work: Work, command: Command, name: CommandName, body: bodies.ProcessCommand, now: datetime
) -> Process | Problem:
    process = work.processes.get(body.pid)
    if process is None or process.tenant != command.tenant:
        return not_found("process", body.pid)
    if command.envelope is None and not may_command(
        name, command.roles, command.operator, process.operator, process.assigned
    ):
        return forbidden(f"{name} process {body.pid}")
    if body.expected_version is not None and body.expected_version != process.version:
        return Problem(
            412,
            "Version has moved on",
            f"Process {process.pid} is at version {process.version}, not {body.expected_version}. Read it again.",
            extra={"version": process.version},
        )
    decided = _DECIDE[name](work, process, body, now)
    if isinstance(decided, Problem):
        return decided
    if isinstance(decided, Refusal):
        return problem(decided)
    done = work.apply(decided, command, now)
    if getattr(body, "cascade", False) and process.has_children:
        work.cascade(f"cascade_{name}", done, command.cause)
    return done


def resolve_incident(work: Work, command: Command, now: datetime) -> Result:
    body: ResolveIncident = command.body
    row = work.incidents.get(body.id)
    if row is None or row["tenant"] != command.tenant:
        return not_found("incident", body.id)
    process = work.processes[row["pid"]]
    if row["state"] != "open" or process.incident != body.id:
        return conflict("Incident is resolved", f"Incident {body.id} is {row['state']}.", state=row["state"])
    if not may_command(CommandName.RETRY, command.roles, command.operator):
        return forbidden("resolve incidents")
    decided: Decision | Problem
    match body.action:
        case "retry":
            again = bodies.RetryProcess(pid=process.pid, reason=body.reason, context=body.context)
            decided = _retry(work, process, again, now)
        case "skip":
            output = body.output or {}
            wrong = check_output(work.entry(process), output)
            decided = wrong or decisions.skip(process, wire.canonical(output), now, body.reason)
        case "rollback":
            if body.version is None:
                return invalid("A rollback needs the version to go back to.", [("/version", "is required")])
            back = bodies.RollbackProcess(pid=process.pid, version=body.version, reason=body.reason)
            decided = _rollback(work, process, back, now)
        case "terminate":
            decided = decisions.cancel(process, now, body.reason or "its incident was resolved so")
    if isinstance(decided, Problem):
        return decided
    if isinstance(decided, Refusal):
        return problem(decided)
    done = work.apply(decided, command, now)
    return Answer(
        200,
        orjson.dumps(
            {"id": body.id, "state": "resolved", "action": body.action, "process": wire.pcb(done)},
            option=orjson.OPT_UTC_Z,
        ),
    )


def _suspend(_: Work, process: Process, body: bodies.SuspendProcess, __: datetime) -> Decision:
    return decisions.suspend(process, body.reason, hold=body.hold)


def _resume(work: Work, process: Process, body: bodies.ResumeProcess, now: datetime) -> Decision:
    return decisions.resume(process, work.outcomes, now, body.reason)


def _cancel(_: Work, process: Process, body: bodies.CancelProcess, now: datetime) -> Decision:
    return decisions.cancel(process, now, body.reason)


def _complete(work: Work, process: Process, body: bodies.CompleteProcess, now: datetime) -> Decision | Problem:
    if process.state is ProcessState.RUNNING:
        if (wrong := check_output(work.entry(process), body.output)) is not None:
            return wrong
        text = _text(body.output, "output")
        if isinstance(text, Problem):
            return text
        return decisions.complete(process, text, now, body.reason)
    return decisions.complete(process, "{}", now, body.reason)


def _fail(work: Work, process: Process, body: bodies.FailProcess, now: datetime) -> Decision:
    error = Error(body.error.class_, body.error.code, body.error.message)
    return decisions.fail(process, work.entry(process).service, error, now, body.reason)


def _wait(work: Work, process: Process, body: bodies.WaitProcess, now: datetime) -> Decision | Problem:
    target = body.for_
    timeout = None if body.timeout is None else now + body.timeout
    until = None
    if target.timer is not None:
        until = target.timer.until
        if target.timer.after is not None:
            until = now + target.timer.after
    waiting = Waiting(
        event_type=None if target.event is None else target.event.type,
        event_key=None if target.event is None else target.event.key,
        until=until,
        children_mode=None if target.children is None else target.children.mode,
        children_count=None if target.children is None else target.children.count,
        timeout=timeout,
        on_timeout=body.on_timeout.value,
    )
    if waiting.children_mode is not None:
        if not work.children.get(process.pid):
            return conflict("No children", f"Process {process.pid} has no children to wait for.")
        ended, total = work.children_counts.get(process.pid, (0, 0))
        if decisions.children_done(waiting, ended, total):
            return conflict(
                "Children have ended", f"{ended} of {total} children of process {process.pid} have ended already."
            )
    return decisions.wait(process, waiting, body.reason)


def _wake(_: Work, process: Process, body: bodies.WakeProcess, now: datetime) -> Decision | Problem:
    context = _merged(process, body.context)
    if isinstance(context, Problem):
        return context
    return decisions.wake(process, now, body.reason, context)


def _release(_: Work, process: Process, body: bodies.ReleaseProcess, now: datetime) -> Decision:
    return decisions.give_back(process, CommandName.RELEASE, now, body.reason)


def _preempt(_: Work, process: Process, body: bodies.PreemptProcess, now: datetime) -> Decision:
    return decisions.give_back(process, CommandName.PREEMPT, now, body.reason)


def _prioritize(_: Work, process: Process, body: bodies.PrioritizeProcess, __: datetime) -> Decision:
    return decisions.prioritize(process, body.priority, body.reason)


def _assign(_: Work, process: Process, body: bodies.AssignProcess, now: datetime) -> Decision:
    return decisions.assign(process, body.operator, now, body.reason)


def _rollback(work: Work, process: Process, body: bodies.RollbackProcess, now: datetime) -> Decision | Problem:
    snapshot = work.snapshots.get((process.pid, body.version))
    if snapshot is None or body.version > process.version:
        return not_found("snapshot", f"of process {process.pid} at version {body.version}")
    return decisions.rollback(process, snapshot.context, now, body.reason, resume=body.resume)


def _retry(_: Work, process: Process, body: bodies.RetryProcess, now: datetime) -> Decision | Problem:
    context = _merged(process, body.context)
    if isinstance(context, Problem):
        return context
    return decisions.retry(process, now, body.reason, context)


def _set_context(_: Work, process: Process, body: bodies.PatchContext, __: datetime) -> Decision | Problem:
    context = _merged(process, body.patch)
    if isinstance(context, Problem):
        return context
    return decisions.set_context(process, context or process.context, body.patch, body.reason)


_DECIDE: Final[Mapping[CommandName, Decide]] = {
    CommandName.SUSPEND: _suspend,
    CommandName.RESUME: _resume,
    CommandName.CANCEL: _cancel,
    CommandName.COMPLETE: _complete,
    CommandName.FAIL: _fail,
    CommandName.WAIT: _wait,
    CommandName.WAKE: _wake,
    CommandName.RELEASE: _release,
    CommandName.PREEMPT: _preempt,
    CommandName.PRIORITIZE: _prioritize,
    CommandName.ASSIGN: _assign,
    CommandName.ROLLBACK: _rollback,
    CommandName.RETRY: _retry,
    CommandName.SET_CONTEXT: _set_context,
}


def _merged(process: Process, patch: Any) -> str | Problem | None:
    if patch is None:
        return None
    return _text(merge(orjson.loads(process.context), patch), "context")


def _text(value: Any, what: str) -> str | Problem:
    try:
        text = wire.canonical(value)
    except TypeError as error:
        return invalid(f"{what} can't be stored: {error}", [(f"/{what}", str(error))])
    if len(text) > MAX_CONTEXT:
        return Problem(
            413, f"{what.capitalize()} too large", f"It may have {MAX_CONTEXT:,} bytes; this has {len(text):,}."
        )
    return text
