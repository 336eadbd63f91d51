"""The owner of resources in a simulated world: grants what is proposed, takes back what is finished."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from scheduler_svc.domain.demands import Skill
from scheduler_svc.domain.facts import Definition, QueueSettings, Usage
from scheduler_svc.domain.planning import Placement, plan
from scheduler_svc.domain.queues import Item
from scheduler_svc.domain.state import State

START = datetime(2000, 1, 1, tzinfo=UTC)
TENANT = "main"
QUEUE = "default"


class Unit:
    """A resource as its owner has it."""

    __slots__ = ("capacity", "id", "open", "roles", "skills", "type", "used", "version")

    def __init__(
        self,
        id: str,
        type: str,
        capacity: int = 1,
        roles: frozenset[str] = frozenset(),
        *,
        skills: Mapping[str, int] | None = None,
        open: bool = True,
    ) -> None:
        self.id = id
        self.type = type
        self.capacity = capacity
        self.roles = roles
        self.skills = {name: Skill(level) for name, level in (skills or {}).items()}
        self.open = open
        self.used = 0
        self.version = 0


class World:
    """One queue. Times are seconds from the start."""

    def __init__(self, settings: QueueSettings) -> None:
        self.state = State()
        self.state.define(settings)
        self.units: dict[str, Unit] = {}
        self._running: dict[int, Placement] = {}

    def tell(self, unit: Unit, t: float) -> None:
        """The resource is as it is now."""
        self.units[unit.id] = unit
        unit.version += 1
        told = Definition(
            TENANT, unit.id, unit.type, unit.open, unit.capacity, unit.used, unit.version, {}, unit.roles, unit.skills
        )
        self.state.defined(told, at(t))

    def plan(self, t: float) -> list[Placement]:
        """Everything that goes now, granted as it was proposed."""
        now = at(t)
        placements = plan(self.state, now)
        for placement in placements:
            item = placement.item
            used = self._use(placement, 1)
            self.state.granted(TENANT, item.pid, placement.dispatch_id, item.queue, used, now)
            self._running[item.pid] = placement
        self.state.take_changes()
        return placements

    def end(self, pid: int, t: float) -> None:
        placement = self._running.pop(pid)
        now = at(t)
        self.state.left(pid, placement.version + 2, now, ended=True)
        self.state.released(TENANT, pid, placement.dispatch_id, self._use(placement, -1), "ended", now)

    def _use(self, placement: Placement, sign: int) -> list[Usage]:
        told = []
        for demand, candidates in zip(placement.item.demands.all, placement.candidates, strict=True):
            unit = self.units[candidates[0]]
            unit.used += sign * demand.units
            unit.version += 1
            told.append(Usage(unit.id, unit.type, demand.units, demand.keep, unit.used, unit.capacity, unit.version))
        return told

    def arrive(self, item: Item) -> None:
        self.state.ready(item)


def at(t: float) -> datetime:
    return START + timedelta(seconds=t)
