"""What others told, as the state takes it in."""

from dataclasses import dataclass, field

from kernel_contracts.vocabulary import QueuePolicy

from scheduler_svc.domain.demands import Skill
from scheduler_svc.domain.order import STANDARD, Ageing


@dataclass(frozen=True, slots=True)
class Usage:
    """`units` of a resource that were given or taken back, and its usage and version after that."""

    resource: str
    type: str
    units: int
    keep: bool
    used: int
    capacity: int
    version: int


@dataclass(frozen=True, slots=True)
class Definition:
    """A resource as it is now. `open`: in service, present, and within its hours."""

    tenant: str
    id: str
    type: str
    open: bool
    capacity: int
    used: int
    version: int
    labels: dict[str, str] = field(default_factory=dict)
    roles: frozenset[str] = frozenset()
    skills: dict[str, Skill] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """A queue's definition, as far as planning looks at it."""

    tenant: str
    name: str
    version: int
    policy: QueuePolicy = QueuePolicy.PRIORITY
    limit: int | None = None
    paused: bool = False
    weights: tuple[tuple[str, float], ...] = ()
    ageing: Ageing = STANDARD
    backfill: bool = False
