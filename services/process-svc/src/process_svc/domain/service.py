"""What a decision needs to know of a service definition."""

import hashlib
from dataclasses import dataclass
from datetime import timedelta

from kernel_contracts.vocabulary import (
    EntityAccess,
    ErrorClass,
    OnExhausted,
    OnParentClose,
    PerEntity,
    ServiceKind,
    SuspendedEvents,
)


@dataclass(frozen=True, slots=True)
class Retrying:
    """Which failures are tried again. `budget`: seconds from the first attempt on after which none begins any more."""

    jitter: float = 0.0
    budget: float | None = None
    on: frozenset[ErrorClass] = frozenset({ErrorClass.TRANSIENT, ErrorClass.BUSINESS})
    never: frozenset[str] = frozenset()
    """Codes of errors."""


@dataclass(frozen=True, slots=True)
class Service:
    """One immutable version. Durations in seconds; back-off is `initial * factor ** (attempt - 1)`, at most `longest`."""

    name: str
    version: int
    kind: ServiceKind
    entity_type: str | None
    entity_access: EntityAccess
    priority: int
    queue: str
    expected_duration: float | None
    due_in: float | None
    timeout: float | None
    max_attempts: int
    backoff_initial: float
    backoff_factor: float
    backoff_longest: float
    on_exhausted: OnExhausted
    on_parent_close: OnParentClose
    events: SuspendedEvents
    per_entity: PerEntity = PerEntity.PARALLEL
    start_in: float | None = None
    """How long it may be READY, or run without a worker, before somebody begins."""
    heartbeat: float | None = None
    retry: Retrying = Retrying()
    compensation: str | None = None


def backoff(service: Service, attempt: int, pid: int = 0) -> timedelta:
    """How long the attempt after `attempt` (from 1) has to wait: shorter by up to the jitter, of pid and attempt alone."""
    exponent = min(attempt - 1, 64)
    seconds = min(service.backoff_longest, service.backoff_initial * service.backoff_factor**exponent)
    if service.retry.jitter:
        digest = hashlib.blake2b(f"{pid}.{attempt}".encode(), digest_size=8).digest()
        seconds -= seconds * service.retry.jitter * int.from_bytes(digest) / 2**64
    return timedelta(seconds=seconds)


def retries(service: Service, kind: ErrorClass, code: str) -> bool:
    """Whether an error of this class and code is ever tried again: poison is not."""
    return kind is not ErrorClass.POISON and kind in service.retry.on and code not in service.retry.never
