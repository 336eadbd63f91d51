"""What an item needs: of a pool of eligible resources, or of one very resource."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Need:
    """What makes a resource eligible: its type, all labels of `selector`, any of `roles`, all of `skills` at their level."""

    type: str
    selector: tuple[tuple[str, str], ...] = ()
    roles: tuple[str, ...] = ()
    skills: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Demand:
    """`units` of one resource. `resource` fixes which one; `keep`: held until the process has ended, not only while it runs."""

    need: Need
    units: int = 1
    resource: str | None = None
    keep: bool = False


Signature = tuple[tuple[Need, int], ...]
"""The demands on pools, with their units: items of a queue with the same one can run under the same conditions."""


@dataclass(frozen=True, slots=True, eq=False)
class Demands:
    """All demands of an item. `source` is the text of each as the sender wrote it; nothing here looks into it."""

    all: tuple[Demand, ...]
    source: tuple[str, ...] = ()
    fixed: tuple[int, ...] = ()
    pooled: tuple[int, ...] = ()
    signature: Signature = ()

    @classmethod
    def of(cls, all: tuple[Demand, ...], source: tuple[str, ...] = ()) -> "Demands":
        pooled = tuple(i for i, demand in enumerate(all) if demand.resource is None)
        return cls(
            all,
            source,
            tuple(i for i, demand in enumerate(all) if demand.resource is not None),
            pooled,
            tuple((all[i].need, all[i].units) for i in pooled),
        )


@dataclass(frozen=True, slots=True)
class Skill:
    level: int = 1
    expires: datetime | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """Units that a process has of one resource."""

    type: str
    units: int
    keep: bool
