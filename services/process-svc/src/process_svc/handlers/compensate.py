"""Asking for compensation, and carrying it out step by step."""

from collections.abc import Sequence
from datetime import datetime

from kernel_contracts.vocabulary import CommandName
from kernel_runtime.command import Command
from kernel_runtime.problem import Problem, conflict

from process_svc.domain.process import Change, Process, Refusal, Undo
from process_svc.domain.states import READY, SUSPENDED, TERMINATED, allowed
from process_svc.domain.steps import left
from process_svc.handlers.create import start_step
from process_svc.handlers.work import Work
from process_svc.store.follow_ups import COMPENSATE


def under_way(process: Process, command: CommandName) -> Refusal | None:
    """What is being undone is not disturbed."""
    if process.compensating is None:
        return None
    return Refusal(
        "Compensation is under way",
        f"What process {process.pid} did is being undone: {command} has to wait until that is done. See its tree.",
        state=process.state,
        allowed=tuple(allowed(process.state, process.outcome, process.incident)),
    )


def to_undo(work: Work, process: Process) -> list[Undo] | Problem:
    """What is to be undone of it; a problem where nothing is known of what would do it."""
    found = work.undoing.planned(process, work.entry(process).service)
    missing = sorted({each.service for each in found if (process.tenant, each.service) not in work.lives})
    if missing:
        return conflict(
            "Compensation is not defined",
            f"Process {process.pid} can't be undone: there is no service {', '.join(missing)}. Define it first.",
            state=process.state.value,
        )
    return found


def undone(change: Change, undo: Sequence[Undo]) -> Change:
    """The same change, with compensation. An end says so by `compensating`, a rollback has said so itself."""
    if undo:
        entry = change.entries[-1]
        if entry.process.state is TERMINATED:
            entry.process = entry.process.but(compensating="ended")
        entry.changes = {**(entry.changes or {}), "compensates": [each.target for each in undo]}
        change.kind, change.undo = True, undo
    return change


def proceed(work: Work, command: Command, owner: Process, now: datetime) -> None:
    """Starts the next step where none runs; where there is none left the process goes on."""
    if owner.compensating is None:
        return
    steps = work.undoing.open.get(owner.pid, [])
    if steps and steps[0].state == "running":
        if steps[0].child_outcome is None:
            return
        work.undoing.ended(steps[0])
    if steps:
        work.undoing.begun(steps[0], start_step(work, command, owner, steps[0], now).pid)
        return
    late = work.undoing.planned(owner, work.entry(owner).service, below=True)
    if late:
        work.undoing.add(owner, late, now)
        work.follow(COMPENSATE, owner.pid, command.cause)
        return
    if owner.state is SUSPENDED and owner.compensating == "resume":
        entry = left(
            owner,
            CommandName.RESUME,
            READY,
            "ready",
            "what it did is undone",
            suspended_from=None,
            compensating=None,
            ready_at=now,
        )
        work.apply(Change([entry], kind=True), command, now)
    else:
        work.remake(owner.pid, compensating=None)
