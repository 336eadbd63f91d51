"""What time alone does to a process: opens its window, ends its wait or its run, closes its window."""

from datetime import datetime

from kernel_contracts.vocabulary import CommandName, ErrorClass, OnTimeout, Outcome, ProcessState

from process_svc.domain.gate import Gate, window
from process_svc.domain.limits import finish_by, start_by
from process_svc.domain.process import Change, Entry, Process
from process_svc.domain.service import Service
from process_svc.domain.states import READY, WAITING
from process_svc.domain.steps import Error, Outcomes, admitted, ended, exhausted, failed, ready


def tick(
    process: Process, service: Service, outcomes: Outcomes, now: datetime, *, claimed: bool = True
) -> Change | None:
    """None where nothing is due. `claimed`: a program has begun with it, where it runs and a program is needed."""
    match process.state:
        case ProcessState.NEW:
            return admitted(process, outcomes, now)
        case ProcessState.READY if window(process, now) is Gate.NEVER:
            reason = "not_after has passed before it could start"
            return ended(process, CommandName.CANCEL, Outcome.CANCELLED, now, reason)
        case ProcessState.READY | ProcessState.RUNNING if not claimed or process.state is READY:
            if (at := start_by(process, service)) is not None and at <= now:
                error = Error(ErrorClass.TRANSIENT, "start_timeout", f"nobody began within {service.start_in:g} s")
                return exhausted(process, CommandName.TIME_OUT, service, error, now, None)
    match process.state:
        case ProcessState.RUNNING if process.run_until is not None and process.run_until <= now:
            at = finish_by(process, service)
            if service.start_in is not None and (at is None or at > now):
                return None
            said = "its time was up" if service.timeout is None else f"it ran longer than {service.timeout:g} s"
            error = Error(ErrorClass.TRANSIENT, "timeout", said)
            return failed(process, CommandName.TIME_OUT, service, error, now, None)
        case ProcessState.WAITING if process.waiting is not None:
            return _waited(process, service, now)
    return None


def _waited(process: Process, service: Service, now: datetime) -> Change | None:
    waiting = process.waiting
    assert waiting is not None
    if waiting.until is not None and waiting.until <= now:
        return Change([Entry(CommandName.WAKE, "ready", _woken(process, now), WAITING, "its timer is due")])
    if waiting.timeout is None or waiting.timeout > now:
        return None
    if waiting.on_timeout is OnTimeout.WAKE:
        return Change([Entry(CommandName.TIME_OUT, "ready", _woken(process, now), WAITING, "it waited in vain")])
    error = Error(ErrorClass.BUSINESS, "timeout", "what it waited for did not come in time")
    change = failed(process, CommandName.TIME_OUT, service, error, now, None)
    if waiting.barrier is not None:  # who has failed is no party any more
        entry = change.entries[-1]
        entry.process = entry.process.but(waiting=None)
    return change


def _woken(process: Process, now: datetime) -> Process:
    return ready(process, now, waiting=None)
