"""The decisions: `(process, what is asked, now) -> Change | Refusal`. Each takes one move of the table in `states`."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from kernel_contracts.vocabulary import (
    CommandName,
    ErrorClass,
    Give,
    OnExhausted,
    Outcome,
    ProcessState,
)

from process_svc.domain import snapshots
from process_svc.domain.gate import Gate, predecessors, window
from process_svc.domain.process import Change, Entry, Process, Refusal, Waiting, step
from process_svc.domain.service import Service, backoff
from process_svc.domain.states import NEW, READY, RUNNING, SUSPENDED, TERMINATED, WAITING, allowed, legal

Decision = Change | Refusal


@dataclass(frozen=True, slots=True)
class Error:
    """Why an attempt failed."""

    kind: ErrorClass
    code: str
    message: str

    def as_dict(self) -> dict[str, Any]:
        return {"class": self.kind.value, "code": self.code, "message": self.message}


def illegal(process: Process, command: CommandName) -> Refusal:
    can = allowed(process.state, process.outcome)
    said = f"{process.state} ({process.outcome})" if process.outcome else process.state.value
    return Refusal(
        "Illegal state change",
        f"Process {process.pid} is {said}; {command} is not allowed then. Allowed: {', '.join(can) or 'nothing'}.",
        state=process.state,
        allowed=tuple(can),
    )


def create(process: Process, outcomes: Mapping[int, Outcome | None], now: datetime) -> Decision:
    """`process` is NEW at version 1; admitted at once where its gates are open."""
    if window(process, now) is Gate.NEVER:
        return Refusal("Window has passed", f"not_after {process.not_after} lies in the past.", 422)
    created = Entry("created", process, None)
    return _with(Change((created,), snapshot=True), admit(process, outcomes, now))


def admit(process: Process, outcomes: Mapping[int, Outcome | None], now: datetime) -> Change | None:
    """NEW -> READY where predecessors and window allow it, to where it ends where they never will; else None."""
    if process.state is not NEW:
        return None
    match window(process, now):
        case Gate.NEVER:
            return _cancelled(process, now, "not_after has passed before it could start")
        case Gate.CLOSED:
            return None
    match predecessors(process, outcomes):
        case Gate.NEVER:
            error = Error(
                ErrorClass.BUSINESS, "unsatisfiable", f"what it comes after ({list(process.after)}) never ends so"
            )
            return _incident(process, error, "its predecessors can never be satisfied")
        case Gate.CLOSED:
            return None
    return Change((Entry("ready", _ready(process, now), NEW),))


def dispatch(process: Process, dispatch_id: str, version: int, operator: str | None, now: datetime) -> Decision | None:
    """READY -> RUNNING by a grant; None where this very dispatch is running already, a refusal where it came too late."""
    if process.dispatch_id == dispatch_id and process.state is RUNNING:
        return None
    if process.state is not READY or process.version != version:
        return illegal(process, CommandName.DISPATCH)
    running = step(process, RUNNING, operator=operator, dispatch_id=dispatch_id, started_at=now)
    return Change((Entry("running", running, READY, dispatch_id=dispatch_id),))


def wait(process: Process, target: Waiting, reason: str | None) -> Decision:
    if not legal(CommandName.WAIT, process.state):
        return illegal(process, CommandName.WAIT)
    return _left(process, WAITING, "waiting", reason, waiting=target)


def wake(process: Process, now: datetime, reason: str | None, context: str | None = None) -> Decision:
    """WAITING -> READY; `context`: the whole new context, where the event brought something."""
    if not legal(CommandName.WAKE, process.state):
        return illegal(process, CommandName.WAKE)
    woken = _ready(process, now, waiting=None)
    return _with_context(woken, context, Entry("ready", woken, WAITING, reason))


def give_back(process: Process, command: CommandName, now: datetime, reason: str | None) -> Decision:
    """RUNNING -> READY: `preempt` or `release`."""
    if not legal(command, process.state):
        return illegal(process, command)
    return _left(process, READY, "ready", reason or command.value, ready_at=now)


def suspend(process: Process, reason: str | None, *, hold: bool = False) -> Decision:
    if not legal(CommandName.SUSPEND, process.state):
        return illegal(process, CommandName.SUSPEND)
    origin = process.state
    suspended = step(process, SUSPENDED, suspended_from=origin, operator=None)
    entry = Entry("suspended", suspended, origin, reason)
    if origin is RUNNING:
        entry = Entry(
            "suspended",
            suspended,
            origin,
            reason,
            dispatch_id=process.dispatch_id,
            give=None if hold else Give.RUNNING.value,
        )
    return Change((entry,))


def resume(process: Process, outcomes: Mapping[int, Outcome | None], now: datetime, reason: str | None) -> Decision:
    """Back to READY; to NEW or WAITING where what it waited for is still missing."""
    if not legal(CommandName.RESUME, process.state):
        return illegal(process, CommandName.RESUME)
    resolved = "resume" if process.incident is not None else None
    if process.suspended_from is WAITING and process.waiting is not None:
        waiting = step(process, WAITING, suspended_from=None, incident=None)
        return Change((Entry("waiting", waiting, SUSPENDED, reason),), resolved=resolved)
    if process.suspended_from is NEW and (
        window(process, now) is not Gate.OPEN or predecessors(process, outcomes) is Gate.CLOSED
    ):
        new = step(process, NEW, suspended_from=None, incident=None)
        return Change((Entry("created", new, SUSPENDED, reason),), resolved=resolved)
    ready = _ready(process, now, suspended_from=None, incident=None, waiting=None)
    dispatch_id, give = _kept(process)
    entry = Entry("ready", ready, SUSPENDED, reason, dispatch_id=dispatch_id, give=give)
    return Change((entry,), resolved=resolved)


def complete(process: Process, output: str, now: datetime, reason: str | None) -> Decision:
    if not legal(CommandName.COMPLETE, process.state):
        return illegal(process, CommandName.COMPLETE)
    return _ended(process, Outcome.COMPLETED, now, reason, output=output)


def cancel(process: Process, now: datetime, reason: str | None) -> Decision:
    if not legal(CommandName.CANCEL, process.state):
        return illegal(process, CommandName.CANCEL)
    return _cancelled(process, now, reason)


def fail(process: Process, service: Service, error: Error, now: datetime, reason: str | None) -> Decision:
    """A further attempt after the back-off, unless the error is poison; then an incident, or the end as failed."""
    if not legal(CommandName.FAIL, process.state):
        return illegal(process, CommandName.FAIL)
    if process.attempt < service.max_attempts and error.kind is not ErrorClass.POISON:
        later = now + backoff(service, process.attempt)
        change = _left(
            process,
            NEW,
            "created",
            reason or error.message,
            attempt=process.attempt + 1,
            not_before=later,
            waiting=None,
        )
        return _with_error(change, error)
    if service.on_exhausted is OnExhausted.FAIL:
        return _with_error(_ended(process, Outcome.FAILED, now, reason or error.message), error)
    return _incident(process, error, reason or error.message)


def rollback(process: Process, context: str, now: datetime, reason: str | None, *, resume: bool) -> Decision:
    """To READY or SUSPENDED with an older context, as a new version."""
    if not legal(CommandName.ROLLBACK, process.state, process.outcome):
        return illegal(process, CommandName.ROLLBACK)
    target = READY if resume else SUSPENDED
    back = step(
        process,
        target,
        outcome=None,
        operator=None,
        waiting=None,
        incident=None,
        output=None,
        ended_at=None,
        suspended_from=None if resume else READY,
        ready_at=now if resume else process.ready_at,
    )
    dispatch_id, give = _kept(process)
    entry = Entry(
        "ready" if resume else "suspended",
        back,
        process.state,
        reason,
        dispatch_id=dispatch_id,
        give=give,
        changes={"rolled_back": True},
    )
    change = _with_context(back, context, entry)
    return Change(change.entries, resolved="rollback" if process.incident else None, snapshot=change.snapshot)


def retry(process: Process, now: datetime, reason: str | None, context: str | None = None) -> Decision:
    """A failed process once more: SUSPENDED with an incident -> READY, as a further attempt."""
    if not legal(CommandName.RETRY, process.state):
        return illegal(process, CommandName.RETRY)
    if process.incident is None:
        return Refusal(
            "Nothing to retry",
            f"Process {process.pid} is SUSPENDED, but not by a failure. Use resume.",
            state=process.state,
            allowed=tuple(allowed(process.state)),
        )
    again = _ready(process, now, incident=None, suspended_from=None, waiting=None, attempt=process.attempt + 1)
    change = _with_context(again, context, Entry("ready", again, SUSPENDED, reason or "retry"))
    return Change(change.entries, resolved="retry", snapshot=change.snapshot)


def skip(process: Process, output: str, now: datetime, reason: str | None) -> Decision:
    """An incident settled by hand: the process counts as completed with `output`."""
    if process.state is not SUSPENDED or process.incident is None:
        return illegal(process, CommandName.COMPLETE)
    change = _ended(process, Outcome.COMPLETED, now, reason or "skipped", output=output, incident=None)
    return Change(change.entries, resolved="skip")


def prioritize(process: Process, priority: int, reason: str | None) -> Decision:
    if not legal(CommandName.PRIORITIZE, process.state):
        return illegal(process, CommandName.PRIORITIZE)
    changed = step(process, process.state, priority=priority)
    changes = {"priority": [process.priority, priority]}
    return Change((Entry("prioritized", changed, process.state, reason, changes=changes),))


def assign(process: Process, operator: str | None, now: datetime, reason: str | None) -> Decision:
    """Only `operator` may run it. Where another runs it now, that one gives it back."""
    if not legal(CommandName.ASSIGN, process.state):
        return illegal(process, CommandName.ASSIGN)
    changes = {"assigned": [process.assigned, operator]}
    if process.state is RUNNING and operator is not None and process.operator != operator:
        back = step(process, READY, assigned=operator, operator=None, ready_at=now)
        entry = Entry(
            "ready", back, RUNNING, reason, dispatch_id=process.dispatch_id, give=Give.RUNNING.value, changes=changes
        )
        return Change((entry,))
    changed = step(process, process.state, assigned=operator)
    kind = "ready" if process.state is READY else "assigned"
    return Change((Entry(kind, changed, process.state, reason, changes=changes),))


def set_context(process: Process, context: str, patch: Any, reason: str | None) -> Decision:
    if not legal(CommandName.SET_CONTEXT, process.state):
        return illegal(process, CommandName.SET_CONTEXT)
    changed = step(process, process.state)
    entry = Entry("context_changed", changed, process.state, reason, changes={"context": patch})
    return _with_context(changed, context, entry)


def tick(process: Process, service: Service, outcomes: Mapping[int, Outcome | None], now: datetime) -> Decision | None:
    """What time alone does: opens a window, ends a wait, closes a window. None where nothing is due."""
    match process.state:
        case ProcessState.NEW:
            return admit(process, outcomes, now)
        case ProcessState.READY if window(process, now) is Gate.NEVER:
            return _cancelled(process, now, "not_after has passed before it could start")
        case ProcessState.WAITING if process.waiting is not None:
            waiting = process.waiting
            if waiting.until is not None and waiting.until <= now:
                return wake(process, now, "its timer is due")
            if waiting.timeout is not None and waiting.timeout <= now:
                if waiting.on_timeout == "wake":
                    return wake(process, now, "waited in vain: timeout")
                error = Error(ErrorClass.BUSINESS, "timeout", "what it waited for did not come in time")
                return fail(process, service, error, now, "timeout")
    return None


def children_done(waiting: Waiting, ended: int, total: int) -> bool:
    """Whether a wait for children is over: all of them, any, or at least `children_count`."""
    if waiting.children_mode is None:
        return False
    if waiting.children_count is not None:
        return ended >= min(waiting.children_count, total)
    return ended >= 1 if waiting.children_mode.value == "any" else ended >= total


def _kept(process: Process) -> tuple[str | None, str | None]:
    """Dispatch and give of what a run may still hold: it runs, or was suspended running (with `hold`, it kept all).

    Who is READY queues for its units anew; keeping them would stand in its own way.
    """
    if RUNNING in (process.state, process.suspended_from):
        return process.dispatch_id, Give.RUNNING.value
    return None, None


def _ready(process: Process, now: datetime, **changes: Any) -> Process:
    return step(process, READY, ready_at=now, operator=None, **changes)


def _left(process: Process, state: ProcessState, kind: str, reason: str | None, **changes: Any) -> Change:
    """Out of RUNNING (or WAITING), giving back what was held while running."""
    after = step(process, state, operator=None, **changes)
    if process.state is not RUNNING:
        return Change((Entry(kind, after, process.state, reason),))
    entry = Entry(kind, after, RUNNING, reason, dispatch_id=process.dispatch_id, give=Give.RUNNING.value)
    return Change((entry,))


def _ended(process: Process, outcome: Outcome, now: datetime, reason: str | None, **changes: Any) -> Change:
    ended = step(process, TERMINATED, outcome=outcome, ended_at=now, waiting=None, **changes)
    dispatch_id = process.dispatch_id if process.state is RUNNING else None
    entry = Entry("terminated", ended, process.state, reason, dispatch_id=dispatch_id, give=Give.ALL.value)
    return Change((entry,))


def _cancelled(process: Process, now: datetime, reason: str | None) -> Change:
    change = _ended(process, Outcome.CANCELLED, now, reason, incident=None)
    return Change(change.entries, resolved="terminate" if process.incident is not None else None)


def _incident(process: Process, error: Error, reason: str) -> Change:
    change = _left(process, SUSPENDED, "suspended", reason, suspended_from=process.state)
    raised = _with_error(change, error)
    return Change(raised.entries, incident={"type": error.code, "error": error.as_dict()})


def _with_error(change: Change, error: Error) -> Change:
    *before, last = change.entries
    return replace(change, entries=(*before, replace(last, error=error.as_dict())))


def _with_context(process: Process, context: str | None, entry: Entry) -> Change:
    if context is None or context == process.context:
        return Change((entry,))
    changed = replace(
        process,
        context=context,
        context_version=process.version,
        context_hash=snapshots.link(process.context_hash, context),
    )
    return Change((replace(entry, process=changed),), snapshot=True)


def _with(first: Change, then: Change | None) -> Change:
    if then is None:
        return first
    return Change((*first.entries, *then.entries), then.incident, then.resolved, first.snapshot or then.snapshot)
