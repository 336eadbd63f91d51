"""Commands to one process, alone or up to a thousand at once; each with the decision that it asks."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

import orjson
from kernel_contracts import process as bodies
from kernel_contracts.vocabulary import CommandName, OnParentClose, Outcome, ProcessState
from kernel_runtime.command import Answer, Command, Result
from kernel_runtime.problem import Problem, conflict, not_found

from process_svc import wire
from process_svc.catalog import check_output
from process_svc.domain import decisions
from process_svc.domain.lease import answered, gone
from process_svc.domain.merge import merge
from process_svc.domain.permissions import may_command
from process_svc.domain.process import Change, Decision, Process, Refusal, Waiting
from process_svc.domain.snapshots import intact
from process_svc.domain.steps import Error
from process_svc.handlers.answers import forbidden, lease_is_gone, problem, stored, too_far, utc
from process_svc.handlers.bodies import Batch
from process_svc.handlers.calling import begin
from process_svc.handlers.compensate import to_undo, under_way, undone
from process_svc.handlers.families import Family
from process_svc.handlers.keys import correlation_key
from process_svc.handlers.mappings import end_context
from process_svc.handlers.migrations import migrated
from process_svc.handlers.work import Work
from process_svc.store.follow_ups import RESUME, SUSPEND

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
    CommandName.MIGRATE: bodies.MigrateProcess,
    CommandName.CALL: bodies.CallProcess,
    CommandName.MAP: bodies.MapProcess,
    CommandName.ITERATE: bodies.IterateProcess,
    CommandName.ARRIVE: bodies.ArriveAtBarrier,
}
"""What can be asked of a process over both doors, and the body of each."""

DONE = Answer()
_NAMES: Final = {name.value: name for name in CommandName}
_SMALL_PATCH = 4_096
"""Characters of a patch that history tells as it is; the snapshots have larger ones."""


def handle(work: Work, command: Command, now: datetime) -> Result:
    done = _carry_out(work, command, _NAMES[command.name], command.body, now)
    if isinstance(done, Problem):
        return done
    if command.envelope is not None:
        return DONE
    return Answer(200, wire.pcb_json(done), {"etag": f'"{done.version}"'})


def batch(work: Work, command: Command, now: datetime) -> Result:
    """An item each, in order; one that is refused spoils no other."""
    body: Batch = command.body
    items: list[dict[str, Any]] = []
    for name, item in body.items:
        done = item if isinstance(item, Problem) else _carry_out(work, command, _NAMES[name], item, now)
        if isinstance(done, Problem):
            items.append({"status": done.status, "problem": done.as_dict()})
        else:
            items.append({"status": 200, "process": wire.pcb(done)})
    return Answer(200, orjson.dumps({"items": items}, option=wire.UTC_Z))


def _carry_out(
    work: Work, command: Command, name: CommandName, body: bodies.ProcessCommand, now: datetime
) -> Process | Problem:
    process = work.processes.get(body.pid)
    if process is None or process.tenant != command.tenant:
        return not_found("process", body.pid)
    if command.envelope is None:
        if not may_command(name, command.roles, command.operator, process.operator, process.assigned):
            return forbidden(f"{name} process {body.pid}")
    elif process.ended_by == command.id:
        return process
    token = getattr(body, "token", None)
    if token is not None:
        if process.ended_by == answered(token, name):
            return process
        if (why := gone(work.leases.locked.get(process.pid), token, now)) is not None:
            return lease_is_gone(process.pid, token, why, process.state.value)
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
    if getattr(body, "compensate", False) and decided.process.outcome in _UNDONE:
        undo = to_undo(work, process)
        if isinstance(undo, Problem):
            return undo
        decided = undone(decided, undo)
    if token is not None:
        decided.entries[-1].process = decided.process.but(ended_by=answered(token, name))
    elif name in _ENDS and command.envelope is not None:
        decided.entries[-1].process = decided.process.but(ended_by=command.id)
    done = work.apply(decided, command, now)
    if name in _STAY and (opened := decisions.admit(done, work.outcomes, now)) is not None:
        done = work.apply(opened, command, now)
    if process.has_children and getattr(body, "cascade", False):
        work.follow(_CASCADES[name], process.pid, command.cause)
    return done


_ENDS: Final = frozenset({CommandName.COMPLETE, CommandName.CANCEL})
"""Known again by the process itself, without the inbox."""
_UNDONE: Final = frozenset({Outcome.CANCELLED, Outcome.FAILED})
_STAY: Final = frozenset({CommandName.PRIORITIZE, CommandName.ASSIGN, CommandName.SET_CONTEXT, CommandName.MIGRATE})
"""They leave the state as it is; but a window may have opened since anybody looked, and only what is still to come is timed."""
_CASCADES: Final = {CommandName.SUSPEND: SUSPEND, CommandName.RESUME: RESUME}


def _suspend(_: Work, process: Process, body: bodies.SuspendProcess, now: datetime) -> Decision:
    return decisions.suspend(process, now, body.reason, hold=body.hold)


def _resume(work: Work, process: Process, body: bodies.ResumeProcess, now: datetime) -> Decision:
    return resumed(work, process, now, body.reason)


def resumed(work: Work, process: Process, now: datetime, reason: str | None) -> Decision:
    family = work.families.of.get(process.pid)
    waiting = process.waiting
    over = waiting is not None and family is not None and children_done(waiting, family)
    over = over or work.barriers.passed(waiting)
    if (busy := under_way(process, CommandName.RESUME)) is not None:
        return busy
    service = work.entry(process).service
    return decisions.resume(process, service, work.outcomes, now, reason, over=over)


def children_done(waiting: Waiting, family: Family) -> bool:
    return decisions.children_done(waiting, family.ended, family.total)


def _cancel(_: Work, process: Process, body: bodies.CancelProcess, now: datetime) -> Decision:
    return decisions.cancel(process, now, body.reason)


def _complete(work: Work, process: Process, body: bodies.CompleteProcess, now: datetime) -> Decision | Problem:
    if process.state is not ProcessState.RUNNING:
        return decisions.complete(process, "{}", now, body.reason)
    if (wrong := check_output(work.entry(process), body.output)) is not None:
        return wrong
    if (family := work.families.of.get(process.pid)) is not None and (open_ones := _awaited(work, process, family)):
        return conflict(
            "Children are not done",
            f"Process {process.pid} can't be completed before its children of {open_ones}: wait for them.",
            state=process.state.value,
        )
    output = stored(body.output, "output")
    if isinstance(output, Problem):
        return output
    context = end_context(work.entry(process), process, body.output, now)
    return context if isinstance(context, Problem) else decisions.complete(process, output, now, body.reason, context)


def _awaited(work: Work, process: Process, family: Family) -> str:
    """Services of its children that a parent has to wait for, in words."""
    found = [
        f"{name} ({number})"
        for (name, version), number in family.alive.items()
        if number > 0 and work.definition(process.tenant, name, version).service.on_parent_close is OnParentClose.WAIT
    ]
    return ", ".join(found)


def _fail(work: Work, process: Process, body: bodies.FailProcess, now: datetime) -> Decision:
    error = Error(body.error.class_, body.error.code, body.error.message)
    return decisions.fail(process, work.entry(process).service, error, now, body.reason)


def _wait(work: Work, process: Process, body: bodies.WaitProcess, now: datetime) -> Decision | Problem:
    target = body.for_
    try:
        until = None
        if target.timer is not None:
            until = utc(target.timer.until) if target.timer.after is None else now + target.timer.after
        timeout = None if body.timeout is None else now + body.timeout
    except OverflowError:
        return too_far("/for")
    if (barrier := target.barrier) is not None:
        limit = (timeout, body.on_timeout)
        return work.barriers.arrive(process, CommandName.WAIT, barrier.name, barrier.parties, limit, now, body.reason)
    key = None if target.event is None else target.event.key
    if key is not None and key.startswith("=") and process.state is ProcessState.RUNNING:
        computed = correlation_key(process, key, now)
        if isinstance(computed, Problem):
            return computed
        key = computed
    waiting = Waiting(
        event_type=None if target.event is None else target.event.type,
        event_key=key,
        until=until,
        children_mode=None if target.children is None else target.children.mode,
        children_count=None if target.children is None else target.children.count,
        timeout=timeout,
        on_timeout=body.on_timeout,
    )
    if target.children is not None and process.state is ProcessState.RUNNING:
        family = work.families.of.get(process.pid)
        if family is None:
            return conflict("No children", f"Process {process.pid} has no children to wait for.")
        if children_done(waiting, family):
            return conflict(
                "Children have ended",
                f"{family.ended} of {family.total} children of process {process.pid} have ended already.",
            )
    return decisions.wait(process, waiting, body.reason)


def _arrive(work: Work, process: Process, body: bodies.ArriveAtBarrier, now: datetime) -> Decision | Problem:
    try:
        limit = (None if body.timeout is None else now + body.timeout, body.on_timeout)
    except OverflowError:
        return too_far("/timeout")
    return work.barriers.arrive(process, CommandName.ARRIVE, body.name, body.parties, limit, now, body.reason)


def _wake(_: Work, process: Process, body: bodies.WakeProcess, now: datetime) -> Decision | Problem:
    """What the event brought replaces members of the same name: two events must not mix."""
    if body.context is None or not (process.state is ProcessState.WAITING or process.still_waits):
        return decisions.wake(process, now, body.reason)
    context = stored({**_context(process), **body.context}, "context")
    return context if isinstance(context, Problem) else decisions.wake(process, now, body.reason, context)


def _release(_: Work, process: Process, body: bodies.ReleaseProcess, now: datetime) -> Decision:
    return decisions.give_back(process, CommandName.RELEASE, now, body.reason)


def _preempt(_: Work, process: Process, body: bodies.PreemptProcess, now: datetime) -> Decision:
    return decisions.give_back(process, CommandName.PREEMPT, now, body.reason)


def _prioritize(_: Work, process: Process, body: bodies.PrioritizeProcess, __: datetime) -> Decision:
    return decisions.prioritize(process, body.priority, body.reason)


def _assign(_: Work, process: Process, body: bodies.AssignProcess, now: datetime) -> Decision:
    return decisions.assign(process, body.operator, now, body.reason)


def rolled_back(
    work: Work, process: Process, version: int, now: datetime, reason: str | None, *, resume: bool
) -> Decision | Problem:
    if (busy := under_way(process, CommandName.ROLLBACK)) is not None:
        return busy
    snapshot = work.snapshots.get((process.pid, version))
    if snapshot is None or version > process.version:
        return not_found("version", f"{version} of process {process.pid}")
    if not intact(snapshot):
        return conflict(
            "Snapshot is damaged", f"The snapshot of version {snapshot.version} does not fit its hash: not restored."
        )
    if work.broken.get(process.pid, version + 1) <= version:
        return conflict(
            "History is damaged",
            f"The chain of process {process.pid} is broken at version {work.broken[process.pid]}: nothing is restored from behind"
            f" it. Go back to an older version; GET /v1/processes/{process.pid}/verify says what is wrong.",
        )
    undo = to_undo(work, process)
    if isinstance(undo, Problem):
        return undo
    decided = decisions.rollback(process, snapshot.context, now, reason, resume=resume, undo=bool(undo))
    if isinstance(decided, Change):
        entry = decided.entries[-1]
        entry.changes = {**(entry.changes or {}), "rolled_back_to": version}
        undone(decided, undo)
    return decided


def _rollback(work: Work, process: Process, body: bodies.RollbackProcess, now: datetime) -> Decision | Problem:
    return rolled_back(work, process, body.version, now, body.reason, resume=body.resume)


def retried(
    work: Work, process: Process, patch: Mapping[str, Any] | None, now: datetime, reason: str | None
) -> Decision | Problem:
    if (busy := under_way(process, CommandName.RETRY)) is not None:
        return busy
    context = None
    if patch is not None and process.state is ProcessState.SUSPENDED:
        merged = stored(merge(_context(process), patch), "context")
        if isinstance(merged, Problem):
            return merged
        context = merged
    return decisions.retry(process, work.outcomes, now, reason, context)


def _retry(work: Work, process: Process, body: bodies.RetryProcess, now: datetime) -> Decision | Problem:
    return retried(work, process, body.context, now, body.reason)


def _set_context(_: Work, process: Process, body: bodies.PatchContext, __: datetime) -> Decision | Problem:
    context = stored(merge(_context(process), body.patch), "context")
    if isinstance(context, Problem):
        return context
    text = wire.canonical(body.patch)
    patch = body.patch if len(text) <= _SMALL_PATCH else None
    return decisions.set_context(process, context, patch, body.reason)


def _context(process: Process) -> dict[str, Any]:
    assert process.context is not None
    found: dict[str, Any] = orjson.loads(process.context)
    return found


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
    CommandName.MIGRATE: migrated,
    CommandName.ARRIVE: _arrive,
    **dict.fromkeys((CommandName.CALL, CommandName.MAP, CommandName.ITERATE), begin),
}
