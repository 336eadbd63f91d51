"""Each check across services finds the breach that is seeded for it, and nothing where all is well."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from kernel_platform import control, fsck
from kernel_platform.fsck_checks import CHECKS, check
from kernel_platform.fsck_facts import Allocation, Copy, Facts, Item, Process, Resource

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CLERK = {"type": "operator", "roles": ["clerk"], "units": 1, "hold": "running"}
CAR = {"type": "car", "selector": {"fuel": "electric"}, "units": 1, "hold": "process"}
LOCK = {"type": "entity", "resource": "entity:permit:7", "units": 1, "hold": "process"}


def process(
    pid: int, state: str, version: int = 2, dispatch: str | None = None, operator: str | None = None
) -> Process:
    return Process(pid, version, state, dispatch, "main", operator)


def item(pid: int, state: str, *demands: dict[str, Any], version: int = 2, keeps: Any = ()) -> Item:
    return Item(pid, "main", "default", state, version, version, demands, keeps)


def resource(id: str, kind: str, used: int, version: int, **more: Any) -> Resource:
    return Resource(("main", id), kind, 1, used, version, True, **more)


def held(pid: int, id: str, dispatch: str, demand: int, hold: str) -> Allocation:
    return Allocation(pid, ("main", id), 5, dispatch, demand, hold, 1)


WELL = Facts(
    processes={
        1: process(1, "RUNNING", 3, "1.2.0", "ann"),
        2: process(2, "READY"),
        3: process(3, "SUSPENDED", 5, "3.2.0"),
        4: process(4, "NEW", 1),
    },
    allocations={
        1: (held(1, "ann", "1.2.0", 0, "running"), held(1, "car-1", "1.2.0", 1, "process")),
        3: (held(3, "car-2", "3.2.0", 0, "process"),),
    },
    granted={"1.2.0": (1, 2)},
    resources={
        each.name: each
        for each in (
            resource("ann", "operator", 1, 5, roles=frozenset({"clerk"})),
            resource("bob", "operator", 0, 2, roles=frozenset({"manager"}), skills={"dutch": 3}),
            resource("car-1", "car", 1, 5, labels={"fuel": "electric"}),
            resource("car-2", "car", 1, 5, labels={"fuel": "diesel"}),
            resource("entity:permit:7", "entity", 0, 2),
        )
    },
    items={
        1: item(1, "running", CLERK, CAR, version=3),
        2: item(2, "ready", CLERK),
        3: item(3, "holding", version=5),
    },
    copies={
        ("main", "ann"): Copy(5, 1, 1),
        ("main", "bob"): Copy(2, 0, 1),
        ("main", "car-1"): Copy(5, 1, 1),
        ("main", "car-2"): Copy(5, 1, 1),
    },
    closed=frozenset(),
    now=NOW,
)


def with_process(*changed: Process) -> Facts:
    return replace(WELL, processes={**WELL.processes, **{each.pid: each for each in changed}})


def with_item(*changed: Item) -> Facts:
    return replace(WELL, items={**WELL.items, **{each.pid: each for each in changed}})


def with_held(pid: int, *allocations: Allocation) -> Facts:
    return replace(WELL, allocations={**WELL.allocations, pid: allocations})


def with_resource(*changed: Resource) -> Facts:
    return replace(WELL, resources={**WELL.resources, **{each.name: each for each in changed}})


def with_copy(id: str, copy: Copy | None) -> Facts:
    copies = {name: each for name, each in WELL.copies.items() if name != ("main", id)}
    return replace(WELL, copies={**copies, **({("main", id): copy} if copy else {})})


def without_item(pid: int) -> Facts:
    return replace(WELL, items={key: each for key, each in WELL.items.items() if key != pid})


FREE_CLERK = resource("zoe", "operator", 0, 1, roles=frozenset({"clerk"}))
RUNS, KEEPS, KNOWN, LISTED, CHANCE, CAPACITY, COPIES = CHECKS

SEEDED: list[tuple[str, str, Facts]] = [
    (RUNS, "with 1 of its 2 allocations", with_held(1, *WELL.allocations[1][:1])),
    (RUNS, "and holds 1 of ann", with_held(1, *WELL.allocations[1], held(1, "ann", "1.1.0", 0, "running"))),
    (RUNS, "was not granted", replace(WELL, granted={})),
    (RUNS, "was granted to pid 9", replace(WELL, granted={"1.2.0": (9, 2)})),
    (KEEPS, "is READY and holds", with_held(2, held(2, "ann", "2.1.0", 0, "running"))),
    (KEEPS, "has ended and holds", with_process(process(3, "TERMINATED", 6))),
    (KEEPS, "does not exist and holds", with_held(77, held(77, "ann", "77.1.0", 0, "process"))),
    (KEEPS, "is SUSPENDED and holds", with_held(3, held(3, "car-2", "3.1.0", 0, "running"))),
    (KNOWN, "pid 2 at version 2 is READY", without_item(2)),
    (KNOWN, "pid 2 at version 4 is READY", with_process(process(2, "READY", 4))),
    (LISTED, "is NEW, the scheduler has it as ready", with_item(item(4, "ready", CLERK))),
    (LISTED, "is unknown", with_item(item(99, "ready", CLERK))),
    (LISTED, "is SUSPENDED, the scheduler has it as running", with_item(item(3, "running"))),
    (LISTED, "is RUNNING, the scheduler has it as proposed", with_item(item(1, "proposed", CLERK))),
    (LISTED, "holding nothing", with_held(3)),
    (CHANCE, "zoe at 1", with_resource(FREE_CLERK)),
    (CHANCE, "pid 2 at version 2 waits while all it needs is free: nothing", with_item(item(2, "ready"))),
    (CHANCE, "entity:permit:7 at 2", with_item(item(2, "ready", LOCK))),
    (CHANCE, "entity:permit:8 at 0", with_item(item(2, "ready", {**LOCK, "resource": "entity:permit:8"}))),
    (
        CHANCE,
        "free: bob at 2",
        with_item(item(2, "ready", {"type": "operator", "skills": [{"skill": "dutch", "level": 2}]})),
    ),
    (CHANCE, "bob", with_item(item(2, "ready", CAR, {"type": "operator"}, keeps=(("car-9", "car", 1),)))),
    (CAPACITY, "ann has capacity 1 and runs 1.3, 5.2", with_process(process(5, "RUNNING", 2, "5.1.0", "ann"))),
    (COPIES, "copy of ann (main) stands at 4", with_copy("ann", Copy(4, 0, 1))),
    (COPIES, "says 0 of 1", with_copy("ann", Copy(5, 0, 1))),
    (COPIES, "no copy of bob", with_copy("bob", None)),
    (COPIES, "is at 9, its owner at 5", with_copy("ann", Copy(9, 1, 1))),
    (COPIES, "no copy of entity:permit:7", with_resource(resource("entity:permit:7", "entity", 1, 3))),
]


def test_all_is_well() -> None:
    assert check(WELL) == dict.fromkeys(CHECKS, frozenset())


@pytest.mark.parametrize(("name", "says", "facts"), SEEDED)
def test_a_seeded_breach_is_found(name: str, says: str, facts: Facts) -> None:
    found = check(facts)[name]
    assert any(says in breach for breach in found), found


def test_every_check_has_a_seeded_breach() -> None:
    assert {name for name, _, _ in SEEDED} == set(CHECKS)


@pytest.mark.parametrize(
    "facts",
    [
        replace(
            with_resource(FREE_CLERK),
            copies={**WELL.copies, ("main", "zoe"): Copy(1, 0, 1)},
            closed=frozenset({("main", "default")}),
        ),
        with_item(replace(item(2, "ready"), not_after=NOW - timedelta(seconds=1))),
        with_item(item(2, "ready", CLERK, CLERK)),
        with_item(
            item(
                2,
                "ready",
                {"type": "operator", "roles": ["manager"]},
                {"type": "operator", "skills": [{"skill": "dutch"}]},
            )
        ),
        with_item(item(2, "ready", {"type": "operator", "resource": "bob", "roles": ["clerk"]})),
        with_held(3, held(3, "car-2", "3.2.0", 0, "running")),
    ],
)
def test_what_is_no_breach(facts: Facts) -> None:
    """A closed queue, a window that has passed, needs that crowd each other out, a suspended process that was let hold."""
    assert not any(check(facts).values()), check(facts)


async def test_only_what_stays_is_told() -> None:
    looks = iter([{"a", "b"}, {"b", "c"}, {"b"}])

    async def look() -> fsck.Breaches:
        return {"check": frozenset(next(looks))}

    assert await fsck.settled(look, wait=fsck.PAUSE * 1.5) == {"check": frozenset({"b"})}


async def test_work_in_flight_is_no_breach_and_costs_no_waiting() -> None:
    looks = iter([{"a"}, {"b"}])

    async def look() -> fsck.Breaches:
        return {"check": frozenset(next(looks))}

    assert await fsck.settled(look, wait=60) == {"check": frozenset()}


async def test_what_cannot_be_read_is_said() -> None:
    async def look() -> fsck.Breaches:
        raise ConnectionRefusedError("no database")

    with pytest.raises(control.UpError, match="no database"):
        await fsck.settled(look, wait=0)


def test_a_service_that_does_not_answer() -> None:
    (found,) = fsck._said("rules-svc", ["http://127.0.0.1:9"], "token")
    assert (found["name"], found["breaches"]) == ("rules-svc: answers", 1)
