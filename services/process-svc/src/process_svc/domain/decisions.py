"""The decisions: `(process, what is asked, now) -> Change | Refusal`. Each takes one move of the table in `states`."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from kernel_contracts.vocabulary import AfterMode, CommandName, ErrorClass, Give, Outcome, SuspendedEvents

from process_svc.domain.gate import Gate, predecessors, window
from process_svc.domain.process import Change, Decision, Entry, Process, Refusal, Waiting
from process_svc.domain.service import Service
from process_svc.domain.states import NEW, READY, RUNNING, SUSPENDED, TERMINATED, WAITING, allowed, legal
from process_svc.domain.steps import (
    Error,
    Outcomes,
    admitted,
    ended,
    failed,
    followed,
    illegal,
    in_its_way,
    left,
    never,
    raised,
    ready,
    step,
    with_context,
)


def create(process: Process, outcomes: Outcomes, now: datetime) -> Decision:
    """`process` is NEW at version 1; admitted at once where its gates are open."""
    if window(process, now) is Gate.NEVER:
        at = process.not_after
        return Refusal("Window has passed", f"not_after {at} lies in the past.", 422, pointer="/not_after")
    if predecessors(process, outcomes) is Gate.NEVER:
        return Refusal("Can never be satisfied", never(process, outcomes), 422, pointer="/after")
    created = Change([Entry(CommandName.CREATE, "created", process, None)], snapshot=True)
    return followed(created, admitted(process, outcomes, now))


def unable(process: Process, code: str, message: str, now: datetime) -> Change:
    """`process` is NEW at version 1, and can't start: created, and SUSPENDED with an incident at once."""
    created = Change([Entry(CommandName.CREATE, "created", process, None)], snapshot=True)
    error = Error(ErrorClass.BUSINESS, code, message)
    return followed(created, raised(process, CommandName.SUSPEND, error, message, now))


def admit(process: Process, outcomes: Outcomes, now: datetime) -> Change | None:
    """NEW -> READY where predecessors and window allow it, to where it ends where they never will; else None."""
    return admitted(process, outcomes, now) if process.state is NEW else None


def dispatch(
    process: Process, dispatch_id: str, version: int, operator: str | None, timeout: float | None, now: datetime
) -> Decision | None:
    """READY -> RUNNING by a grant; None where this very dispatch runs or ran, a refusal where it came too late."""
    if process.dispatch_id == dispatch_id:
        return None
    if process.state is not READY or process.version != version:
        return illegal(process, CommandName.DISPATCH)
    until = None if timeout is None else now + timedelta(seconds=timeout)
    running = step(process, RUNNING, operator=operator, dispatch_id=dispatch_id, started_at=now, run_until=until)
    changes = None if operator == process.operator else {"operator": [process.operator, operator]}
    return Change([Entry(CommandName.DISPATCH, "running", running, READY, None, dispatch_id, None, changes)])


def wait(process: Process, target: Waiting, reason: str | None) -> Decision:
    if process.state is not RUNNING:
        return illegal(process, CommandName.WAIT)
    return Change([left(process, CommandName.WAIT, WAITING, "waiting", reason, waiting=target)])


def wake(process: Process, now: datetime, reason: str | None, context: str | None = None) -> Decision:
    """WAITING -> READY; `context`: the whole new context, where the event brought something.

    A process that was suspended while it waited takes it, and goes on when it is resumed.
    """
    if process.still_waits:
        assert process.waiting is not None
        kept = step(process, SUSPENDED, waiting=replace(process.waiting, met=True))
        return with_context(Change([Entry(CommandName.WAKE, "suspended", kept, SUSPENDED, reason)]), process, context)
    if process.state is not WAITING:
        return illegal(process, CommandName.WAKE)
    woken = ready(process, now, waiting=None)
    return with_context(Change([Entry(CommandName.WAKE, "ready", woken, WAITING, reason)]), process, context)


def give_back(process: Process, command: CommandName, now: datetime, reason: str | None) -> Decision:
    """RUNNING -> READY: `preempt` or `release`."""
    if not legal(command, process.state):
        return illegal(process, command)
    return Change([left(process, command, READY, "ready", reason, ready_at=now)])


def suspend(process: Process, now: datetime, reason: str | None, *, hold: bool = False) -> Decision:
    """What it runs with is given back, unless `hold`."""
    if not legal(CommandName.SUSPEND, process.state):
        return illegal(process, CommandName.SUSPEND)
    origin = process.state
    suspended = step(
        process,
        SUSPENDED,
        suspended_from=origin,
        suspended_at=now,
        run_until=None,
        held=hold and origin is RUNNING,
    )
    entry = Entry(CommandName.SUSPEND, "suspended", suspended, origin, reason)
    if origin is RUNNING:
        entry.dispatch_id, entry.give = process.dispatch_id, None if hold else Give.RUNNING
    return Change([entry])


def resume(
    process: Process, service: Service, outcomes: Outcomes, now: datetime, reason: str | None, *, over: bool = False
) -> Decision:
    """Back to READY; to NEW or WAITING where what it waited for is still missing. `over`: its children or its barrier are."""
    if process.state is not SUSPENDED:
        return illegal(process, CommandName.RESUME)
    if process.incident is not None:
        return Refusal(
            "Incident is open",
            f"Process {process.pid} is SUSPENDED by incident {process.incident}: resolve that, or retry.",
            state=process.state,
            allowed=tuple(allowed(process.state, None, process.incident)),
        )
    command, origin = CommandName.RESUME, process.suspended_from
    if origin is WAITING and process.waiting is not None:
        waiting = _caught_up(process, process.waiting, service, now)
        if not over and not _is_over(waiting, now):
            entry = left(process, command, WAITING, "waiting", reason, suspended_from=None, waiting=waiting)
            return Change([entry])
    if origin is NEW:
        entry = left(process, command, NEW, "created", reason, suspended_from=None)
        change = admitted(entry.process, outcomes, now)
        if change is None or change.process.state is not READY:
            return followed(Change([entry]), change)
    entry = left(process, command, READY, "ready", reason, suspended_from=None, waiting=None, ready_at=now)
    return Change([entry])


def _caught_up(process: Process, waiting: Waiting, service: Service, now: datetime) -> Waiting:
    """What it waits for after its suspension: timers that stopped go on where they were."""
    if service.events is not SuspendedEvents.STOP or process.suspended_at is None:
        return waiting
    stood = now - process.suspended_at
    return replace(waiting, until=_later(waiting.until, stood), timeout=_later(waiting.timeout, stood))


def _later(at: datetime | None, by: timedelta) -> datetime | None:
    """No later than the calendar goes."""
    if at is None:
        return None
    last = datetime.max.replace(tzinfo=at.tzinfo)
    return at + by if by <= last - at else last


def _is_over(waiting: Waiting, now: datetime) -> bool:
    if waiting.met:
        return True
    return waiting.until is not None and waiting.until <= now


def complete(process: Process, output: str, now: datetime, reason: str | None, context: str | None = None) -> Decision:
    """`context`: what it is with the output in it, where the definition says so."""
    if process.state is not RUNNING:
        return illegal(process, CommandName.COMPLETE)
    change = ended(process, CommandName.COMPLETE, Outcome.COMPLETED, now, reason, output=output)
    return with_context(change, process, context)


def cancel(process: Process, now: datetime, reason: str | None) -> Decision:
    if not legal(CommandName.CANCEL, process.state):
        return illegal(process, CommandName.CANCEL)
    change = ended(process, CommandName.CANCEL, Outcome.CANCELLED, now, reason)
    change.resolved = None if process.incident is None else "terminate"
    return change


def fail(process: Process, service: Service, error: Error, now: datetime, reason: str | None) -> Decision:
    """A further attempt after its back-off, an incident, or the end as failed."""
    if process.state is not RUNNING:
        return illegal(process, CommandName.FAIL)
    return failed(process, CommandName.FAIL, service, error, now, reason)


def rollback(
    process: Process, context: str, now: datetime, reason: str | None, *, resume: bool, undo: bool = False
) -> Decision:
    """To READY or SUSPENDED with an older context, as a new version; everything that it holds is given back.

    `undo`: what was done since is undone first; it is SUSPENDED until then.
    """
    if not legal(CommandName.ROLLBACK, process.state, process.outcome):
        return illegal(process, CommandName.ROLLBACK)
    if process.ahead is not None:
        return in_its_way(process, CommandName.ROLLBACK)
    then = "resume" if resume else "stay"
    resume = resume and not undo
    back = step(
        process,
        READY if resume else SUSPENDED,
        compensating=then if undo else None,
        outcome=None,
        operator=process.assigned,
        waiting=None,
        incident=None,
        output=None,
        ended_at=None,
        run_until=None,
        held=False,
        attempt=1,
        tried_at=None,
        suspended_from=None if resume else READY,
        suspended_at=None if resume else now,
        ready_at=now if resume else process.ready_at,
    )
    entry = Entry(CommandName.ROLLBACK, "ready" if resume else "suspended", back, process.state, reason)
    if process.dispatch_id is not None and process.state is not TERMINATED:
        entry.dispatch_id, entry.give = process.dispatch_id, Give.ALL
    change = Change(
        [entry], resolved=None if process.incident is None else "rollback", kind=undo or process.tried_at is not None
    )
    return with_context(change, process, context)


def retry(
    process: Process, outcomes: Outcomes, now: datetime, reason: str | None, context: str | None = None
) -> Decision:
    """A failed process once more: SUSPENDED with an incident -> READY as a further attempt; NEW where it never was that."""
    if process.state is not SUSPENDED:
        return illegal(process, CommandName.RETRY)
    if process.incident is None:
        return Refusal(
            "Nothing to retry",
            f"Process {process.pid} is SUSPENDED, but not by a failure. Use resume.",
            state=process.state,
            allowed=tuple(allowed(process.state)),
        )
    changes: dict[str, Any] = {"incident": None, "suspended_from": None, "waiting": None}
    if process.suspended_from is NEW:
        done = predecessors(process, outcomes)
        if done is Gate.NEVER:
            return Refusal("Can never be satisfied", never(process, outcomes), state=process.state)
        if done is Gate.CLOSED or window(process, now) is not Gate.OPEN or process.ahead is not None:
            entry = left(process, CommandName.RETRY, NEW, "created", reason, **changes)
            return with_context(Change([entry], resolved="retry"), process, context)
    else:
        changes["attempt"] = process.attempt + 1
    entry = left(process, CommandName.RETRY, READY, "ready", reason, ready_at=now, **changes)
    if "attempt" in changes:
        entry.changes = {"attempt": [process.attempt, changes["attempt"]]}
    return with_context(Change([entry], resolved="retry"), process, context)


def skip(process: Process, output: str, now: datetime, reason: str | None, context: str | None = None) -> Decision:
    """An incident settled by hand: the process counts as completed with `output`."""
    if process.state is not SUSPENDED or process.incident is None:
        return illegal(process, CommandName.SKIP)
    change = ended(process, CommandName.SKIP, Outcome.COMPLETED, now, reason, output=output)
    change.resolved = "skip"
    return with_context(change, process, context)


def prioritize(process: Process, priority: int, reason: str | None) -> Decision:
    if not legal(CommandName.PRIORITIZE, process.state):
        return illegal(process, CommandName.PRIORITIZE)
    changed = step(process, process.state, priority=priority)
    return _attribute(
        CommandName.PRIORITIZE, "prioritized", changed, reason, {"priority": [process.priority, priority]}
    )


def assign(process: Process, operator: str | None, now: datetime, reason: str | None) -> Decision:
    """Only `operator` may run it. Where another runs it now, that one gives it back."""
    if not legal(CommandName.ASSIGN, process.state):
        return illegal(process, CommandName.ASSIGN)
    changes = {"assigned": [process.assigned, operator]}
    if process.state is RUNNING and operator is not None and process.operator != operator:
        entry = left(
            process, CommandName.ASSIGN, READY, "ready", reason, assigned=operator, operator=operator, ready_at=now
        )
        entry.changes = changes
        return Change([entry])
    shown = process.operator if process.state is RUNNING else operator
    changed = step(process, process.state, assigned=operator, operator=shown)
    return _attribute(CommandName.ASSIGN, "assigned", changed, reason, changes)


def set_context(process: Process, context: str, patch: Any, reason: str | None) -> Decision:
    """`patch` is told in the history, where it is not too large."""
    if not legal(CommandName.SET_CONTEXT, process.state):
        return illegal(process, CommandName.SET_CONTEXT)
    changed = step(process, process.state)
    change = _attribute(
        CommandName.SET_CONTEXT, "context_changed", changed, reason, {} if patch is None else {"patch": patch}
    )
    return with_context(change, process, context)


def _attribute(
    command: CommandName, kind: str, changed: Process, reason: str | None, changes: dict[str, Any]
) -> Change:
    return Change([Entry(command, kind, changed, changed.state, reason, changes=changes)])


def children_done(waiting: Waiting, ended: int, total: int) -> bool:
    """Whether a wait for children is over: all of them, any, or at least `children_count`."""
    if waiting.children_mode is None:
        return False
    if waiting.children_count is not None:
        return ended >= min(waiting.children_count, total)
    return ended >= 1 if waiting.children_mode is AfterMode.ANY else ended >= total
