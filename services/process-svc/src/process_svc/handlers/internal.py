"""What the kernel tells itself: grants, time, and what the end of one process means for its relatives."""

from datetime import datetime

import orjson
from kernel_contracts import message_types as types
from kernel_contracts.resource import ResourcesGranted
from kernel_contracts.topics import PROCESS_EVENTS
from kernel_contracts.vocabulary import Give, OnParentClose, ProcessState
from kernel_runtime.command import Answer, Command, Result, message

from process_svc import wire
from process_svc.domain import decisions
from process_svc.domain.process import Change, Process, Refusal
from process_svc.handlers.bodies import FollowUp, Tick
from process_svc.handlers.work import Work

DONE = Answer()


def dispatch(work: Work, command: Command, now: datetime) -> Result:
    """A grant: RUNNING, or DispatchRefused where the process has moved on; the same grant again does nothing."""
    grant: ResourcesGranted = command.body
    process = work.processes.get(grant.pid)
    if process is None:
        _refuse_dispatch(work, command, grant, None, "there is no such process", now)
        return DONE
    decided = decisions.dispatch(process, grant.dispatch_id, grant.process_version, grant.operator, now)
    if isinstance(decided, Refusal):
        if process.dispatch_id == grant.dispatch_id:
            return DONE
        reason = f"it is {process.state} at version {process.version}"
        _refuse_dispatch(work, command, grant, process, reason, now)
    elif decided is not None:
        work.apply(decided, command, now)
    return DONE


def tick(work: Work, command: Command, now: datetime) -> Result:
    body: Tick = command.body
    process = work.processes.get(body.pid)
    if process is not None:
        change = decisions.tick(process, work.entry(process).service, work.outcomes, now)
        if isinstance(change, Change):
            work.apply(change, command, now)
    return DONE


def follow_up(work: Work, command: Command, now: datetime) -> Result:
    body: FollowUp = command.body
    if body.id not in work.pending_follow_ups:
        return DONE
    process = work.processes.get(body.pid)
    if process is None:
        return DONE
    match body.kind:
        case "child_ended":
            _child_ended(work, command, process, now)
        case "close_children":
            for child in _alive_children(work, process.pid):
                _close(work, command, child, now)
        case "admit_dependents":
            for pid in work.dependents.get(process.pid, ()):
                change = decisions.admit(work.processes[pid], work.outcomes, now)
                if change is not None:
                    work.apply(change, command, now)
        case "cascade_suspend" | "cascade_resume":
            for child in _alive_children(work, process.pid):
                _cascade(work, command, child, body.kind, now)
    return DONE


def _child_ended(work: Work, command: Command, parent: Process, now: datetime) -> None:
    if parent.state is not ProcessState.WAITING or parent.waiting is None:
        return
    ended, total = work.children_counts.get(parent.pid, (0, 0))
    if decisions.children_done(parent.waiting, ended, total):
        _apply(work, command, decisions.wake(parent, now, f"{ended} of {total} children have ended"), now)


def _close(work: Work, command: Command, child: Process, now: datetime) -> None:
    match work.entry(child).service.on_parent_close:
        case OnParentClose.CANCEL:
            _apply(work, command, decisions.cancel(child, now, f"its parent {child.parent} has ended"), now)
        case OnParentClose.DETACH:
            work.detach(child)
        case OnParentClose.WAIT:
            pass


def _cascade(work: Work, command: Command, child: Process, kind: str, now: datetime) -> None:
    if kind == "cascade_suspend" and child.state is not ProcessState.SUSPENDED:
        _apply(work, command, decisions.suspend(child, "its parent was suspended"), now)
    elif kind == "cascade_resume" and child.state is ProcessState.SUSPENDED and child.incident is None:
        _apply(work, command, decisions.resume(child, work.outcomes, now, "its parent was resumed"), now)
    if child.has_children:
        work.cascade(kind, child, command.cause)


def _alive_children(work: Work, pid: int) -> list[Process]:
    found = (work.processes[child] for child in work.children.get(pid, ()))
    return [child for child in found if child.state is not ProcessState.TERMINATED and child.parent == pid]


def _apply(work: Work, command: Command, decided: Change | Refusal, now: datetime) -> None:
    if isinstance(decided, Change):
        work.apply(decided, command, now)


def _refuse_dispatch(
    work: Work, command: Command, grant: ResourcesGranted, process: Process | None, reason: str, now: datetime
) -> None:
    body = {
        "pid": grant.pid,
        "dispatch_id": grant.dispatch_id,
        "state": None if process is None else process.state.value,
        "reason": reason,
    }
    work.messages.append(
        message(
            PROCESS_EVENTS,
            str(grant.pid),
            orjson.dumps(body),
            id=f"{grant.dispatch_id}.refused",
            type=types.DISPATCH_REFUSED,
            source=wire.SOURCE,
            at=now,
            tenant=command.tenant,
            cause=command.cause,
            dispatch=grant.dispatch_id,
            give=Give.RUNNING.value,
        )
    )
