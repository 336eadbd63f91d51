"""What a decision needs to know of a service definition."""

from dataclasses import dataclass
from datetime import timedelta

from kernel_contracts.vocabulary import (
    EntityAccess,
    OnExhausted,
    OnParentClose,
    PerEntity,
    ServiceKind,
    SuspendedEvents,
)


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


def backoff(service: Service, attempt: int) -> timedelta:
    """How long the attempt after `attempt` (from 1) has to wait."""
    exponent = min(attempt - 1, 64)
    return timedelta(seconds=min(service.backoff_longest, service.backoff_initial * service.backoff_factor**exponent))
