"""Resources as the scheduler knows them, and pools of those that are eligible for a need, least loaded first."""

from __future__ import annotations

from datetime import UTC, datetime
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final

from scheduler_svc.domain.demands import Need, Skill

if TYPE_CHECKING:
    from scheduler_svc.domain.order import Key
    from scheduler_svc.domain.queues import Bucket

LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
LOCK_TYPE: Final = "entity"
"""A lock on an entity exists without being defined, with capacity 1."""

Rank = tuple[float, int, datetime, str]
"""The order of choice, total: load (used of capacity), then how many roles and skills it has (the least flexible first: who
can do only this does it), then who has been idle longest, then id."""


class Resource:
    """Usage is that of the highest version seen, plus our own proposals that are not answered yet (`outstanding`)."""

    __slots__ = (
        "capacity", "defined", "flexibility", "id", "idle_since", "labels", "open", "outstanding", "parked", "pools",
        "rank", "roles", "room", "skills", "stored", "tenant", "type", "used", "version",
    )  # fmt: skip

    def __init__(self, tenant: str, id: str, type: str) -> None:
        self.tenant = tenant
        self.id = id
        self.type = type
        self.open = type == LOCK_TYPE
        """In service, present, and within its hours."""
        self.capacity = 1 if self.open else 0
        self.used = 0
        self.outstanding = 0
        self.version = 0
        self.defined = 0
        """The version of the definition that is known: usage may be ahead of it."""
        self.stored: int | None = None
        """The version of the definition in its row; None: there is no row."""
        self.labels: dict[str, str] = {}
        self.roles: frozenset[str] = frozenset()
        self.skills: dict[str, Skill] = {}
        self.flexibility = 0
        self.idle_since = LONG_AGO
        """Since when it has had no less to do; of a lock: when we last heard of it."""
        self.pools: list[Pool] = []
        self.parked: dict[tuple[Bucket, int], list[Key]] = {}
        """Items that need this very resource and found it taken, by bucket and units."""
        self.room = 0
        self.rank: Rank = (0.0, 0, LONG_AGO, id)
        self.settle()

    def settle(self) -> None:
        """After a change of load: `room` and `rank` follow."""
        load = self.used + self.outstanding
        capacity = self.capacity
        self.room = capacity - load if self.open else 0
        self.rank = (load / capacity if capacity > 0 else 1.0, self.flexibility, self.idle_since, self.id)

    @property
    def idle_lock(self) -> bool:
        """An entity's lock that nobody has or waits for: it can be forgotten."""
        return self.type == LOCK_TYPE and not (self.used or self.outstanding or self.parked or self.defined)


def eligible(resource: Resource, need: Need, now: datetime | None = None) -> bool:
    """Whether it may serve `need` at all. Without `now`, skills that have an end count as well."""
    if resource.type != need.type or (need.roles and resource.roles.isdisjoint(need.roles)):
        return False
    for label, value in need.selector:
        if resource.labels.get(label) != value:
            return False
    for name, level in need.skills:
        skill = resource.skills.get(name)
        if skill is None or skill.level < level:
            return False
        if now is not None and skill.expires is not None and skill.expires <= now:
            return False
    return True


class Pool:
    """The resources that are eligible for one need, in a heap by rank.

    The heap is lazy: an entry may be too good (its resource got busier since), never too bad; what comes to the top is put
    right then. Resources without room drop out and are offered again when they gain some.
    """

    __slots__ = ("_heap", "_listed", "members", "need", "waiting")

    def __init__(self, need: Need) -> None:
        self.need = need
        self.members: dict[str, Resource] = {}
        self.waiting: set[Bucket] = set()
        """Buckets that found nothing free here."""
        self._heap: list[Rank] = []
        self._listed: dict[str, Rank] = {}

    def add(self, resource: Resource) -> None:
        self.members[resource.id] = resource
        resource.pools.append(self)
        self.offer(resource)

    def remove(self, resource: Resource) -> None:
        del self.members[resource.id]
        self._listed.pop(resource.id, None)
        resource.pools.remove(self)

    def offer(self, resource: Resource) -> None:
        """It may have become better than its entry says."""
        if resource.room > 0:
            listed = self._listed.get(resource.id)
            if listed is None or resource.rank < listed:
                self._listed[resource.id] = resource.rank
                heappush(self._heap, resource.rank)

    def best(self, units: int, count: int, now: datetime) -> list[Resource]:
        """The first `count` by rank that have room for `units`."""
        heap, listed = self._heap, self._listed
        found: list[Resource] = []
        aside: list[Rank] = []
        while heap and len(found) < count:
            entry = heappop(heap)
            if listed.get(entry[3]) is not entry:
                continue
            resource = self.members[entry[3]]
            if resource.room <= 0:
                del listed[entry[3]]
            elif entry != resource.rank:
                listed[entry[3]] = resource.rank
                heappush(heap, resource.rank)
            else:
                aside.append(entry)
                if resource.room >= units and self._valid(resource, now):
                    found.append(resource)
        for entry in aside:
            heappush(heap, entry)
        return found

    def _valid(self, resource: Resource, now: datetime) -> bool:
        for name, _ in self.need.skills:
            expires = resource.skills[name].expires
            if expires is not None and expires <= now:
                return False
        return True
