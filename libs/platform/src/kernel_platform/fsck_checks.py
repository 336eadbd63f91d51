"""What must hold across the services. Pure: facts in, breaches out. Each breach names the versions that it was seen at."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from kernel_platform.fsck_facts import Allocation, Facts, Item, Process, Resource

SEARCH = 2_000
LOOKED_AT = 2_000
"""Items of one queue whose needs are looked at; a queue longer than that has nothing to do with a missed chance."""


def check(facts: Facts) -> dict[str, frozenset[str]]:
    return {name: frozenset(find(facts)) for name, find in CHECKS.items()}


def _running(facts: Facts) -> Iterator[str]:
    for process in facts.processes.values():
        if process.state != "RUNNING" or process.dispatch is None:
            continue
        held = facts.allocations.get(process.pid, ())
        for own in held:
            if own.dispatch != process.dispatch and own.hold != "process":
                yield f"{_at(process)} runs {process.dispatch} and holds {_of(own)}"
        pid, wanted = facts.granted.get(process.dispatch, (process.pid, None))
        have = sum(own.dispatch == process.dispatch and own.demand >= 0 for own in held)
        if wanted is None:
            yield f"{_at(process)} runs {process.dispatch}, which was not granted"
        elif pid != process.pid:
            yield f"{_at(process)} runs {process.dispatch}, which was granted to pid {pid}"
        elif have != wanted:
            yield f"{_at(process)} runs {process.dispatch} with {have} of its {wanted} allocations"


def _idle(facts: Facts) -> Iterator[str]:
    for pid, held in facts.allocations.items():
        process = facts.processes.get(pid)
        for own in held:
            if process is None or process.state == "TERMINATED":
                yield f"pid {pid} {'has ended' if process else 'does not exist'} and holds {_of(own)}"
            elif process.state != "RUNNING" and own.hold != "process" and not _set_aside(process, own):
                yield f"{_at(process)} is {process.state} and holds {_of(own)}"


def _set_aside(process: Process, own: Allocation) -> bool:
    """Suspended with `hold`: it keeps what its last dispatch had."""
    return process.state == "SUSPENDED" and own.dispatch == process.dispatch


def _queued(facts: Facts) -> Iterator[str]:
    for process in facts.processes.values():
        item = facts.items.get(process.pid)
        if process.state == "READY" and (item is None or item.state == "holding" or item.latest < process.version):
            yield f"{_at(process)} is READY and the scheduler does not know"


def _listed(facts: Facts) -> Iterator[str]:
    for item in facts.items.values():
        process = facts.processes.get(item.pid)
        state = process.state if process else "unknown"
        if item.state == "holding":
            wrong = not facts.allocations.get(item.pid)
            state = "holding nothing" if wrong else state
        elif item.state == "running":
            wrong = state not in ("RUNNING", "READY")
        elif item.state == "proposed":
            wrong = state != "READY"
        else:
            wrong = state != "READY"
        if wrong:
            version = process.version if process else 0
            yield f"pid {item.pid} at version {version} is {state}, the scheduler has it as {item.state} at {item.latest}"


def _chances(facts: Facts) -> Iterator[str]:
    by_type: dict[tuple[str, str], list[Resource]] = {}
    for resource in sorted(facts.resources.values(), key=lambda each: each.name):
        if resource.usable and resource.free > 0:
            by_type.setdefault((resource.name[0], resource.type), []).append(resource)
    looked: Counter[tuple[str, str]] = Counter()
    for item in sorted(facts.items.values(), key=lambda each: each.pid):
        queue = (item.tenant, item.queue)
        if item.state != "ready" or queue in facts.closed or (item.not_after and item.not_after < facts.now):
            continue
        looked[queue] += 1
        if looked[queue] > LOOKED_AT:
            continue
        chosen = _choose(_missing(item), item.tenant, by_type, facts)
        if chosen is not None:
            with_versions = ", ".join(f"{resource.name[1]} at {resource.version}" for resource in chosen) or "nothing"
            yield f"pid {item.pid} at version {item.version} waits while all it needs is free: {with_versions}"


def _missing(item: Item) -> list[Mapping[str, Any]]:
    """The demands that what it keeps does not meet."""
    left = list(item.keeps)
    missing = []
    for demand in item.demands:
        met = None
        if demand.get("hold") == "process":
            met = next((own for own in left if own[1] == demand["type"] and own[2] >= demand.get("units", 1)), None)
        if met is None:
            missing.append(demand)
        else:
            left.remove(met)
    return missing


def _choose(
    demands: Sequence[Mapping[str, Any]],
    tenant: str,
    by_type: Mapping[tuple[str, str], list[Resource]],
    facts: Facts,
) -> list[Resource] | None:
    """A resource for each demand, together within what is free; None where there are none."""
    options = [[each for each in _pool(demand, tenant, by_type, facts) if fits(each, demand)] for demand in demands]
    taken: Counter[tuple[str, str]] = Counter()
    steps = 0

    def place(at: int) -> list[Resource] | None:
        nonlocal steps
        if at == len(demands):
            return []
        units = int(demands[at].get("units", 1))
        for resource in options[at]:
            steps += 1
            if steps > SEARCH:
                return None
            if resource.free - taken[resource.name] < units:
                continue
            taken[resource.name] += units
            rest = place(at + 1)
            if rest is not None:
                return [resource, *rest]
            taken[resource.name] -= units
        return None

    return place(0)


def _pool(
    demand: Mapping[str, Any], tenant: str, by_type: Mapping[tuple[str, str], list[Resource]], facts: Facts
) -> Sequence[Resource]:
    fixed = demand.get("resource")
    if fixed is None:
        return by_type.get((tenant, demand["type"]), ())
    found = facts.resources.get((tenant, fixed))
    if found is None and demand["type"] == "entity":
        return [Resource((tenant, fixed), "entity", 1, 0, 0, usable=True)]
    return [found] if found is not None and found.usable else []


def fits(resource: Resource, demand: Mapping[str, Any]) -> bool:
    """Type, any of the roles, all labels, all skills at their level."""
    roles = demand.get("roles") or ()
    return (
        resource.type == demand["type"]
        and (not roles or not resource.roles.isdisjoint(roles))
        and all(resource.labels.get(key) == value for key, value in (demand.get("selector") or {}).items())
        and all(
            resource.skills.get(skill["skill"], -1) >= skill.get("level", 1) for skill in demand.get("skills") or ()
        )
    )


def _capacity(facts: Facts) -> Iterator[str]:
    runs: dict[tuple[str, str], list[Process]] = {}
    for process in facts.processes.values():
        if process.state == "RUNNING" and process.operator is not None:
            runs.setdefault((process.tenant, process.operator), []).append(process)
    for name, processes in runs.items():
        resource = facts.resources.get(name)
        capacity = resource.capacity if resource else 0
        if len(processes) > capacity:
            which = ", ".join(
                f"{process.pid}.{process.version}" for process in sorted(processes, key=lambda each: each.pid)
            )
            yield f"{name[1]} has capacity {capacity} and runs {which}"


def _copies(facts: Facts) -> Iterator[str]:
    """A copy that stands still while its owner has moved on. Locks of entities that nobody holds need none."""
    for name, owner in facts.resources.items():
        copy = facts.copies.get(name)
        if copy is None:
            if owner.used or (owner.usable and owner.type != "entity"):
                yield f"the scheduler has no copy of {name[1]} ({name[0]}), which is at {owner.version}"
        elif copy.version < owner.version and (owner.type != "entity" or copy.used != owner.used):
            yield f"the scheduler's copy of {name[1]} ({name[0]}) stands at {copy.version}"
        elif copy.version == owner.version and (copy.used, copy.capacity) != (owner.used, owner.capacity):
            yield f"the scheduler's copy of {name[1]} ({name[0]}) at {copy.version} says {copy.used} of {copy.capacity}"
        elif copy.version > owner.version:
            yield f"the scheduler's copy of {name[1]} ({name[0]}) is at {copy.version}, its owner at {owner.version}"


def _at(process: Process) -> str:
    return f"pid {process.pid} at version {process.version}"


def _of(own: Allocation) -> str:
    return f"{own.units} of {own.resource[1]} (version {own.version}) by {own.dispatch}"


CHECKS: Mapping[str, Callable[[Facts], Iterator[str]]] = {
    "a RUNNING process holds exactly the allocations of its dispatch": _running,
    "no other process holds more than it keeps": _idle,
    "every READY process is in the scheduler": _queued,
    "the scheduler has nothing that is not so": _listed,
    "none is READY while all it needs is free": _chances,
    "no operator runs more than its capacity": _capacity,
    "the scheduler's copies of resources have caught up": _copies,
}
