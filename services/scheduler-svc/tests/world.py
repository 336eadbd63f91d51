"""A world in memory for tests of the domain: processes, and an owner of resources that decides as resource-svc does."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from kernel_contracts.vocabulary import QueuePolicy
from scheduler_svc.domain.demands import Demand, Demands, Need, Skill
from scheduler_svc.domain.facts import Definition, QueueSettings, Usage
from scheduler_svc.domain.held import missing
from scheduler_svc.domain.order import STANDARD, Ageing
from scheduler_svc.domain.planning import Placement, plan
from scheduler_svc.domain.queues import Item, ItemState
from scheduler_svc.domain.resources import Resource, eligible
from scheduler_svc.domain.state import State

START = datetime(2026, 1, 1, tzinfo=UTC)
TENANT = "main"


def operator(
    *roles: str, skills: Sequence[tuple[str, int]] = (), resource: str | None = None, units: int = 1
) -> Demand:
    return Demand(Need("operator", (), tuple(sorted(roles)), tuple(sorted(skills))), units, resource)


def lock(id: str) -> Demand:
    return Demand(Need("entity"), 1, f"entity:{id}", keep=True)


def room(**labels: str) -> Demand:
    return Demand(Need("room", tuple(sorted(labels.items()))), 1)


def item(
    pid: int,
    *demands: Demand,
    priority: int = 50,
    ready: float = 0,
    version: int = 2,
    queue: str = "default",
    due: float | None = None,
    expected: float | None = None,
    not_after: float | None = None,
    service: str = "service",
) -> Item:
    return Item(
        pid,
        TENANT,
        queue,
        service,
        version,
        priority,
        START + timedelta(seconds=ready),
        Demands.of(demands),
        due=None if due is None else START + timedelta(seconds=due),
        expected=expected,
        not_after=None if not_after is None else START + timedelta(seconds=not_after),
    )


@dataclass
class Owned:
    """A resource as its owner has it."""

    id: str
    type: str
    capacity: int = 1
    used: int = 0
    version: int = 0
    open: bool = True
    roles: frozenset[str] = frozenset()
    skills: dict[str, Skill] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)


@dataclass
class Running:
    dispatch: str
    units: list[tuple[Owned, int, bool]]


class World:
    def __init__(self) -> None:
        self.state = State()
        self.now = START
        self.owned: dict[str, Owned] = {}
        self.asked: dict[str, Placement] = {}
        self.running: dict[int, list[Running]] = {}
        self.versions: dict[int, int] = {}
        self.placed: list[tuple[str, tuple[tuple[str, ...], ...]]] = []

    # --- facts

    def define(self, owned: Owned) -> None:
        self.owned[owned.id] = owned
        owned.version += 1
        self.state.defined(
            Definition(
                TENANT,
                owned.id,
                owned.type,
                owned.open,
                owned.capacity,
                owned.used,
                owned.version,
                dict(owned.labels),
                owned.roles,
                dict(owned.skills),
            ),
            self.now,
        )

    def person(self, id: str, *roles: str, capacity: int = 1, **skills: int) -> Owned:
        owned = Owned(id, "operator", capacity, roles=frozenset(roles))
        owned.skills = {name: Skill(level) for name, level in skills.items()}
        self.define(owned)
        return owned

    def queue(
        self,
        version: int,
        name: str = "default",
        policy: str = "priority",
        limit: int | None = None,
        paused: bool = False,
        weights: dict[str, float] | None = None,
        ageing: Ageing = STANDARD,
        backfill: bool = False,
    ) -> None:
        shares = tuple(sorted((weights or {}).items()))
        self.state.define(
            QueueSettings(TENANT, name, version, QueuePolicy(policy), limit, paused, shares, ageing, backfill)
        )

    def arrive(self, new: Item) -> Item:
        self.versions[new.pid] = new.version
        self.state.ready(new)
        return new

    # --- plan and answers

    def plan(self, most: int | None = None) -> list[Placement]:
        placements = plan(self.state, self.now, most)
        for placement in placements:
            assert placement.dispatch_id not in self.asked
            self.asked[placement.dispatch_id] = placement
            self.placed.append((placement.dispatch_id, placement.candidates))
        return placements

    def pids(self) -> list[int]:
        """Plans, and says who goes, in order."""
        return [placement.item.pid for placement in self.plan()]

    def first(self) -> dict[int, list[str]]:
        """Plans: pid -> the first candidate for each demand."""
        return {p.item.pid: [ids[0] for ids in p.candidates] for p in self.plan()}

    def _own(self, id: str, type: str) -> Owned:
        if id not in self.owned:
            self.owned[id] = Owned(id, type)
        return self.owned[id]

    def answer(self, dispatch: str, *, refuse: bool = False) -> bool:
        """As the owner would: all or nothing, the first candidate with room; already held is not taken again."""
        placement = self.asked.pop(dispatch)
        pid = placement.item.pid
        mine = [part for run in self.running.get(pid, []) for part in run.units if part[2]]
        taken: list[tuple[Owned, int, bool]] = []
        looked: list[Owned] = []
        for demand, ids in zip(placement.item.demands.all, placement.candidates, strict=True):
            if demand.keep and any(owned.id in ids for owned, _, _ in mine):
                continue
            options = [self._own(id, demand.need.type) for id in ids]
            looked += options
            free = [
                each
                for each in options
                if each.open and each.capacity - each.used - sum(u for o, u, _ in taken if o is each) >= demand.units
            ]
            if not free or refuse:
                usage = [Usage(o.id, o.type, 0, False, o.used, o.capacity, o.version) for o in looked]
                self.state.denied(TENANT, pid, dispatch, usage, "no_capacity", self.now)
                return False
            taken.append((free[0], demand.units, demand.keep))
        for owned, units, _ in taken:
            owned.used += units
            owned.version += 1
            assert owned.used <= owned.capacity
        self.running.setdefault(pid, []).append(Running(dispatch, taken))
        self.state.granted(TENANT, pid, dispatch, placement.item.queue, self._told(taken), self.now)
        return True

    def grant_all(self) -> None:
        for dispatch in list(self.asked):
            self.answer(dispatch)

    def _told(self, units: Sequence[tuple[Owned, int, bool]]) -> list[Usage]:
        return [Usage(o.id, o.type, n, keep, o.used, o.capacity, o.version) for o, n, keep in units]

    def give(self, pid: int, *, all: bool) -> None:
        """The units of a process come free, and the scheduler is told."""
        for run in self.running.get(pid, []):
            given = [part for part in run.units if all or not part[2]]
            run.units = [part for part in run.units if not (all or not part[2])]
            for owned, units, _ in given:
                owned.used -= units
                owned.version += 1
            if given:
                self.state.released(TENANT, pid, run.dispatch, self._told(given), "ended", self.now)

    def end(self, pid: int) -> None:
        self.versions[pid] += 2
        self.state.left(pid, self.versions[pid], self.now, ended=True)
        self.give(pid, all=True)

    def wait(self, pid: int) -> None:
        self.versions[pid] += 2
        self.state.left(pid, self.versions[pid], self.now)
        self.give(pid, all=False)

    def again(self, old: Item) -> None:
        """READY once more."""
        self.versions[old.pid] += 1
        new = item(old.pid, *old.demands.all, priority=old.priority, queue=old.queue)
        new.version = self.versions[old.pid]
        new.ready_at = self.now
        self.state.ready(new)

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    # --- what must hold

    def check(self) -> None:
        """After a plan: nothing over capacity by our own proposals, nobody waits while all that it needs is free."""
        reserved: dict[str, int] = {}
        busy: dict[str, int] = {}
        for each in self.state.items.values():
            for resource, units in each.reserved:
                assert each.state is ItemState.PROPOSED
                reserved[resource.id] = reserved.get(resource.id, 0) + units
            busy[each.queue] = busy.get(each.queue, 0) + (each.state in (ItemState.PROPOSED, ItemState.RUNNING))
        for resource in self.state.resources.values():
            assert resource.outstanding == reserved.get(resource.id, 0), resource.id
        for (_, name), queue in self.state.queues.items():
            assert queue.busy == busy.get(name, 0)
        for each in self.state.items.values():
            if each.state is ItemState.READY and each.retry_at is None and each.key is not None:
                queue = self.state.queue(TENANT, each.queue)
                assert not queue.open or not self.feasible(each), f"{each.pid} waits while all it needs is free"

    def feasible(self, each: Item) -> bool:
        """By trying every combination."""
        fixed, pooled, _ = missing(each)
        options: list[list[Resource]] = []
        demands = [each.demands.all[index] for index in (*fixed, *pooled)]
        for demand in demands:
            if demand.resource is not None:
                known = self.state.resources.get((TENANT, demand.resource))
                if known is None and demand.need.type == "entity":
                    known = Resource(TENANT, demand.resource, "entity")
                fits = known is not None and (known.type == "entity" or eligible(known, demand.need, self.now))
                options.append([known] if known is not None and fits else [])
            else:
                options.append([r for r in self.state.resources.values() if eligible(r, demand.need, self.now)])
        for choice in itertools.product(*options):
            load: dict[str, int] = {}
            for demand, resource in zip(demands, choice, strict=True):
                load[resource.id] = load.get(resource.id, 0) + demand.units
            if all(resource.room >= load[resource.id] for resource in choice):
                return True
        return False

    def reloaded(self) -> State:
        """A state made of what is stored of this one."""
        fresh = State()
        for (tenant, name), queue in sorted(self.state.queues.items()):
            settings = (queue.policy, queue.limit, queue.paused, queue.given_weights, queue.ageing, queue.backfill)
            fresh.define(QueueSettings(tenant, name, queue.version, *settings))
        for (tenant, step), known in self.state.durations.steps.items():
            fresh.restore_duration(tenant, step, copy.copy(known))
        for resource in self.state.resources.values():
            if resource.version:
                clone = Resource(resource.tenant, resource.id, resource.type)
                for name in (
                    "version",
                    "defined",
                    "capacity",
                    "used",
                    "open",
                    "labels",
                    "roles",
                    "skills",
                    "flexibility",
                ):
                    setattr(clone, name, copy.deepcopy(getattr(resource, name)))
                clone.idle_since = resource.idle_since
                fresh.restore_resource(clone)
        for old in sorted(self.state.items.values(), key=lambda i: (i.proposed_at or START, i.pid)):
            new = copy.copy(old)
            new.reserved, new.key, new.bucket = [], None, None
            fresh.restore_item(new)
        return fresh
