"""Leases: what a running process that a program carries out gives to one worker at a time.

A lease is made with the dispatch and goes with it. Its token is a fencing token: it rises with each dispatch of the process and
with each time that the lease is handed out. So whoever keeps the highest one that it saw can refuse what a worker that has lost
its lease still writes.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from kernel_contracts.vocabulary import CommandName, ErrorClass, ProcessState, ServiceKind

from process_svc.domain.process import Process
from process_svc.domain.steps import Error

KINDS: Final = frozenset({ServiceKind.AUTOMATIC, ServiceKind.AGENT})
"""What programs carry out, so that workers may claim it."""

USUAL: Final = 60.0
"""Seconds of a lease where neither the claim nor the definition says."""

_PER_DISPATCH: Final = 65_536
"""How often the lease of one dispatch may be handed out."""


@dataclass(frozen=True, slots=True)
class Lease:
    """`worker` and `until` are None while nobody has claimed it. `seconds`: how long a heartbeat extends it."""

    pid: int
    tenant: str
    dispatch_id: str
    token: int
    worker: str | None
    seconds: float
    until: datetime | None


def first_token(version: int) -> int:
    """Of the dispatch that led to this version of the process; handing the lease out adds one."""
    return version * _PER_DISPATCH


def open_to_workers(process: Process, kind: ServiceKind) -> bool:
    """Whether a process in this state has a lease."""
    return process.state is ProcessState.RUNNING and kind in KINDS


def gone(lease: Lease | None, token: int, now: datetime) -> str | None:
    """Why `token` doesn't hold the lease (any more), or None where it does."""
    if lease is None:
        return "it does not run by a lease now"
    if lease.worker is None or lease.token != token:
        return "another attempt holds it" if lease.worker is not None or lease.token > token else "nobody claimed it"
    if lease.until is None or lease.until <= now:
        return f"the lease of {lease.worker} lapsed at {lease.until}"
    return None


def lapsed(lease: Lease | None, token: int, now: datetime) -> Error | None:
    """The error of an attempt whose worker was not heard of in time; None where it was, or has gone on."""
    if lease is None or lease.worker is None or lease.token != token or lease.until is None or lease.until > now:
        return None
    return Error(
        ErrorClass.TRANSIENT, "lease_lapsed", f"worker {lease.worker} was not heard of for {lease.seconds:g} s"
    )


def answered(token: int, command: CommandName) -> str:
    """How a process remembers by which answer its attempt ended (`ended_by`): the same answer again is known by it."""
    return f"work-{token}-{command.value}"
