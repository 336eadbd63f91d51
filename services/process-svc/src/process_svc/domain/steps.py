"""What the decisions are put together from: one step of a process each, with the journal row that tells it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kernel_contracts.vocabulary import CommandName, ErrorClass, Give, OnExhausted, Outcome, ProcessState

from process_svc.domain import snapshots
from process_svc.domain.gate import Gate, predecessors, unmet, window
from process_svc.domain.limits import within_budget
from process_svc.domain.process import Change, Entry, Process, Refusal
from process_svc.domain.service import Service, backoff, retries
from process_svc.domain.states import NEW, READY, RUNNING, SUSPENDED, TERMINATED, allowed

Outcomes = Mapping[int, Outcome | None]
"""pid -> how it ended, None while it has not."""


@dataclass(frozen=True, slots=True)
class Error:
    """Why an attempt failed."""

    kind: ErrorClass
    code: str
    message: str

    def as_dict(self) -> dict[str, Any]:
        return {"class": self.kind.value, "code": self.code, "message": self.message}


def illegal(process: Process, command: CommandName) -> Refusal:
    can = allowed(process.state, process.outcome, process.incident)
    said = f"{process.state} ({process.outcome})" if process.outcome else process.state.value
    return Refusal(
        "Illegal state change",
        f"Process {process.pid} is {said}; {command} is not allowed then. Allowed: {', '.join(can) or 'nothing'}.",
        state=process.state,
        allowed=tuple(can),
    )


def step(process: Process, state: ProcessState, **changes: Any) -> Process:
    """The next version of `process`, in `state`."""
    return process.but(version=process.version + 1, state=state, **changes)


def ready(process: Process, now: datetime, **changes: Any) -> Process:
    return step(process, READY, ready_at=now, operator=process.assigned, **changes)


def left(
    process: Process, command: CommandName, state: ProcessState, kind: str, reason: str | None, **changes: Any
) -> Entry:
    """Out of RUNNING with its units given back, or out of any other state; units that were held go back too."""
    changes.setdefault("operator", process.assigned)
    after = step(process, state, run_until=None, held=False, **changes)
    entry = Entry(command, kind, after, process.state, reason)
    if process.state is RUNNING or process.held:
        entry.dispatch_id, entry.give = process.dispatch_id, Give.RUNNING
    return entry


def ended(
    process: Process, command: CommandName, outcome: Outcome, now: datetime, reason: str | None, **changes: Any
) -> Change:
    """TERMINATED. Who never ran holds nothing that could be given back."""
    after = step(
        process,
        TERMINATED,
        outcome=outcome,
        ended_at=now,
        waiting=None,
        run_until=None,
        held=False,
        incident=None,
        **changes,
    )
    entry = Entry(command, "terminated", after, process.state, reason)
    if process.dispatch_id is not None:
        entry.dispatch_id, entry.give = process.dispatch_id, Give.ALL
    return Change([entry])


def failed(
    process: Process, command: CommandName, service: Service, error: Error, now: datetime, reason: str | None
) -> Change:
    """A further attempt after the back-off, where the error is of a kind that is tried again; else as `exhausted`."""
    told = reason or error.message
    later = now + backoff(service, process.attempt, process.pid)
    again = process.attempt < service.max_attempts and retries(service, error.kind, error.code)
    if again and within_budget(process, service, later):
        attempt = process.attempt + 1
        entry = left(process, command, NEW, "created", told, attempt=attempt, not_before=later, waiting=None)
        entry.error = error.as_dict()
        entry.changes = {"attempt": [process.attempt, attempt]}
        return Change([entry])
    return exhausted(process, command, service, error, now, reason)


def exhausted(
    process: Process, command: CommandName, service: Service, error: Error, now: datetime, reason: str | None
) -> Change:
    """An incident, or the end as failed where the definition says so; of what undoes another process always an incident."""
    told = reason or error.message
    if service.on_exhausted is OnExhausted.FAIL and process.compensates is None:
        change = ended(process, command, Outcome.FAILED, now, told)
        change.entries[-1].error = error.as_dict()
        return change
    return raised(process, command, error, told, now)


def raised(process: Process, command: CommandName, error: Error, reason: str, now: datetime) -> Change:
    """SUSPENDED with an incident; from where it came is kept."""
    operator = process.operator if process.state is RUNNING else process.assigned
    entry = left(
        process,
        command,
        SUSPENDED,
        "suspended",
        reason,
        suspended_from=process.state,
        suspended_at=now,
        operator=operator,
    )
    entry.error = error.as_dict()
    return Change([entry], incident={"type": error.code, "error": error.as_dict()})


def in_its_way(process: Process, command: CommandName) -> Refusal:
    """Another process of the service has the entity."""
    return Refusal(
        "Entity is taken",
        f"Process {process.ahead} of the service {process.service} works on {process.entity_type} {process.entity_id}, or"
        f" comes first there: {command} of process {process.pid} has to wait until it has ended.",
        state=process.state,
        allowed=tuple(allowed(process.state, process.outcome, process.incident)),
    )


def never(process: Process, outcomes: Outcomes) -> str:
    """What is said where its predecessors can never be satisfied."""
    return f"It can never start: {unmet(process, outcomes)}."


def admitted(process: Process, outcomes: Outcomes, now: datetime) -> Change | None:
    """NEW -> READY where predecessors and window allow it; to where it ends where they never will; else None."""
    opened = window(process, now)
    if opened is Gate.NEVER:
        return ended(process, CommandName.CANCEL, Outcome.CANCELLED, now, "not_after has passed before it could start")
    done = predecessors(process, outcomes)
    if done is Gate.NEVER:
        error = Error(ErrorClass.BUSINESS, "unsatisfiable", never(process, outcomes))
        return raised(process, CommandName.SUSPEND, error, error.message, now)
    if opened is Gate.CLOSED or done is Gate.CLOSED or process.ahead is not None:
        return None
    return Change([Entry(CommandName.ADMIT, "ready", ready(process, now), NEW)])


def with_context(change: Change, before: Process, context: str | None) -> Change:
    """The same change with a new context in its last version, where it is another one."""
    entry = change.entries[-1]
    if context is None or context == before.context:
        return change
    process = entry.process
    entry.process = process.but(
        context=context,
        context_version=process.version,
        context_hash=snapshots.link(before.context_hash, context),
    )
    entry.changes = {**(entry.changes or {}), "context_version": [before.context_version, process.version]}
    change.snapshot = True
    return change


def followed(first: Change, then: Change | None) -> Change:
    """Two changes in one step; the second may not bring a context."""
    if then is not None:
        first.entries += then.entries
        first.incident = first.incident or then.incident
    return first
