"""Limits of time that a definition sets: when somebody must have begun, and how long attempts may go on."""

from datetime import datetime, timedelta

from kernel_contracts.vocabulary import ServiceKind

from process_svc.domain.process import Change, Process
from process_svc.domain.service import Service
from process_svc.domain.states import READY, RUNNING

CLAIMED = frozenset({ServiceKind.AUTOMATIC, ServiceKind.AGENT})
"""A program begins such work when it claims it, not when it is dispatched."""


def start_by(process: Process, service: Service) -> datetime | None:
    """When somebody must have begun; None where it does not matter (any more)."""
    if service.start_in is None or process.ready_at is None:
        return None
    if process.state is READY or (process.state is RUNNING and service.kind in CLAIMED):
        return process.ready_at + timedelta(seconds=service.start_in)
    return None


def finish_by(process: Process, service: Service) -> datetime | None:
    """When its run must have ended."""
    if process.state is not RUNNING or service.timeout is None or process.started_at is None:
        return None
    return process.started_at + timedelta(seconds=service.timeout)


def limited(process: Process, service: Service) -> Process:
    """With its first limit in `run_until`."""
    times = [at for at in (start_by(process, service), finish_by(process, service)) if at is not None]
    return process.but(run_until=min(times, default=None))


def begun(change: Change, service: Service) -> Change:
    """A dispatch: its limits, and for a budget when the first attempt began."""
    entry = change.entries[-1]
    if service.start_in is not None:
        entry.process = limited(entry.process, service)
    if service.retry.budget is not None and entry.process.tried_at is None:
        entry.process = entry.process.but(tried_at=entry.process.started_at)
        change.kind = True
    return change


def within_budget(process: Process, service: Service, at: datetime) -> bool:
    """Whether a further attempt may begin at `at`."""
    budget = service.retry.budget
    return budget is None or process.tried_at is None or at <= process.tried_at + timedelta(seconds=budget)
