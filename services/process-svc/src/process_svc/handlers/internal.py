"""What the kernel tells itself: grants, time, and what the change of one process means for its relatives."""

from collections.abc import Sequence
from datetime import datetime

from kernel_contracts.vocabulary import OnParentClose, ProcessState
from kernel_runtime.command import Answer, Command, Result

from process_svc import wire
from process_svc.domain import barriers, decisions
from process_svc.domain.due import tick as due
from process_svc.domain.limits import begun, finish_by
from process_svc.domain.process import Change, Process, Refusal
from process_svc.handlers import calling
from process_svc.handlers.barriers import opened_at
from process_svc.handlers.bodies import FollowUp, Grant, Tick
from process_svc.handlers.commands import children_done, resumed
from process_svc.handlers.compensate import proceed
from process_svc.handlers.work import Work
from process_svc.store.follow_ups import (
    ADMIT,
    CLOSE,
    COMPENSATE,
    JOIN,
    OPEN,
    PART,
    REPLACE,
    REST,
    RESUME,
    SPAWN,
    SUSPEND,
    TURN,
)

DONE = Answer()


def dispatch(work: Work, command: Command, now: datetime) -> Result:
    """A grant: RUNNING, or DispatchRefused where the process has moved on; the same grant again does nothing."""
    grant: Grant = command.body
    process = work.processes.get(grant.pid)
    if process is None or process.tenant != command.tenant:
        _refuse(work, command, grant, None, "there is no such process", now)
        return DONE
    service = work.entry(process).service
    decided = decisions.dispatch(
        process, grant.dispatch_id, grant.process_version, grant.operator, service.timeout, now
    )
    if isinstance(decided, Refusal):
        _refuse(work, command, grant, process, f"it is {process.state} at version {process.version}", now)
    elif decided is not None:
        if service.start_in is not None or service.retry.budget is not None:
            decided = begun(decided, service)
        work.apply(decided, command, now)
    return DONE


def _refuse(work: Work, command: Command, grant: Grant, process: Process | None, reason: str, now: datetime) -> None:
    work.messages.append(
        wire.dispatch_refused(
            grant.pid, grant.dispatch_id, process, reason, tenant=command.tenant, at=now, cause=command.cause
        )
    )


def tick(work: Work, command: Command, now: datetime) -> Result:
    """Whatever time has made due for one process."""
    body: Tick = command.body
    process = work.processes.get(body.pid)
    if process is None:
        return DONE
    waiting = process.waiting
    if waiting is not None and waiting.call is not None and waiting.timeout is not None and waiting.timeout <= now:
        calling.join(work, command, process, now, late=True)
        return DONE
    if work.barriers.passed(waiting):
        work.apply(barriers.opened(process, now), command, now)
        return DONE
    service = work.entry(process).service
    lease = work.leases.locked.get(process.pid)
    change = due(process, service, work.outcomes, now, claimed=lease is None or lease.worker is not None)
    if change is None:
        work.mark(process.pid)
        if service.start_in is not None and process.state is ProcessState.RUNNING:
            work.processes[process.pid] = work.processes[process.pid].but(run_until=finish_by(process, service))
    else:
        work.apply(change, command, now)
    return DONE


def follow_up(work: Work, command: Command, now: datetime) -> Result:
    """Carried out by whoever takes its row: once, however often it is sent."""
    body: FollowUp = command.body
    if body.id not in work.taken or (process := work.processes.get(body.pid)) is None:
        return DONE
    if body.kind == JOIN:
        _join(work, command, process, now)
        return DONE
    if body.kind == COMPENSATE:
        proceed(work, command, process, now)
        return DONE
    if body.kind == TURN:
        _admit(work, command, process, now)
        return DONE
    if body.kind == SPAWN:
        calling.spawn(work, command, process, now)
        return DONE
    relatives = work.relatives[body.id]
    if body.kind == OPEN:
        _open(work, command, body, relatives, now)
        return DONE
    for pid in relatives:
        relative = work.processes[pid]
        if relative.state is not ProcessState.TERMINATED:
            if (reason := _CANCELS.get(body.kind)) is not None:
                _apply(work, command, decisions.cancel(relative, now, reason.format(body.pid)), now)
            else:
                _RELATIVE[body.kind](work, command, relative, now)
    if len(relatives) == PART:
        work.follow(body.kind, body.pid, command.cause, body.position if body.kind == REST else relatives[-1])
    return DONE


def _open(work: Work, command: Command, body: FollowUp, members: Sequence[int], now: datetime) -> None:
    """All have arrived; who is suspended goes on when it is resumed."""
    place = opened_at(body)
    for pid in members:
        member = work.processes.get(pid)
        if member is None or member.state is not ProcessState.WAITING or member.waiting is None:
            continue
        if (member.waiting.barrier, member.waiting.round) == place:
            work.apply(barriers.opened(member, now), command, now)
    work.barriers.told(body, members)
    if len(members) == PART:
        work.follow(OPEN, body.pid, command.cause, body.position, data=body.data)


_CANCELS = {REPLACE: "replaced by process {}", REST: "the call of process {} is over"}


def _join(work: Work, command: Command, parent: Process, now: datetime) -> None:
    """Children have ended: the parent goes on where it waited for them."""
    family, waiting = work.families.of.get(parent.pid), parent.waiting
    if waiting is not None and waiting.call is not None:
        calling.join(work, command, parent, now)
        return
    if parent.state is not ProcessState.WAITING or waiting is None or family is None:
        return
    if children_done(waiting, family):
        reason = f"{family.ended} of {family.total} children have ended"
        _apply(work, command, decisions.wake(parent, now, reason), now)


def _close(work: Work, command: Command, child: Process, now: datetime) -> None:
    """Its parent has ended. What is detached, what a parent should have waited for, and what undoes something lives on."""
    if child.compensates is None and work.entry(child).service.on_parent_close is OnParentClose.CANCEL:
        _apply(work, command, decisions.cancel(child, now, f"its parent {child.parent} has ended"), now)


def _admit(work: Work, command: Command, successor: Process, now: datetime) -> None:
    _apply(work, command, decisions.admit(successor, work.outcomes, now), now)


def _suspend(work: Work, command: Command, child: Process, now: datetime) -> None:
    if child.state is not ProcessState.SUSPENDED:
        _apply(work, command, decisions.suspend(child, now, f"its parent {child.parent} was suspended"), now)
    if child.has_children:
        work.follow(SUSPEND, child.pid, command.cause)


def _resume(work: Work, command: Command, child: Process, now: datetime) -> None:
    """What needs someone stays as it is."""
    if child.state is ProcessState.SUSPENDED and child.incident is None:
        _apply(work, command, resumed(work, child, now, f"its parent {child.parent} was resumed"), now)
    if child.has_children:
        work.follow(RESUME, child.pid, command.cause)


_RELATIVE = {CLOSE: _close, ADMIT: _admit, SUSPEND: _suspend, RESUME: _resume}


def _apply(work: Work, command: Command, decided: Change | Refusal | None, now: datetime) -> None:
    if isinstance(decided, Change):
        work.apply(decided, command, now)
