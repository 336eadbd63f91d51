"""Each check is clean on what the service did, and names a breach that is seeded."""

from typing import Any

import pytest
from kernel_contracts import message_types as types
from resource_svc import fsck

from .lane import Lane, allocate, gives, need, refuses

CONSTRAINT = "ALTER TABLE resource DROP CONSTRAINT never_over_capacity;"

SEEDED = {
    "resource use equals what is allocated": "UPDATE resource SET used = 0 WHERE id = 'anna'",
    "never over capacity, no stock below zero": CONSTRAINT
    + "UPDATE resource SET used = capacity + 1 WHERE id = 'paper'",
    "never over capacity at any instant": """
        INSERT INTO allocation SELECT resource, version + 1, 'dx', 0, 99, 2, 5, 'running', NULL, granted_at, granted_at,
            version + 2 FROM allocation WHERE dispatch_id = 'd1' LIMIT 1""",
    "each version of a resource is accounted for": "UPDATE resource SET version = version + 1 WHERE id = 'room'",
    "no demand of a dispatch has units twice": """
        INSERT INTO allocation SELECT resource, version + 100, dispatch_id, demand, pid, process_version, units, hold,
            NULL, granted_at, NULL, NULL FROM allocation WHERE dispatch_id = 'd1' LIMIT 1""",
    "a dispatch holds what it was granted": "UPDATE dispatch SET allocations = 5 WHERE dispatch_id = 'd1'",
    "each allocation has its dispatch and its resource": "DELETE FROM dispatch WHERE dispatch_id = 'd1'",
    "allocations end after they begin": "UPDATE allocation SET released_at = granted_at - interval '1 s' WHERE pid = 2",
    "what is deleted holds nobody": "UPDATE resource SET deleted = true WHERE id = 'anna'",
}


async def lived(lane: Lane) -> None:
    """A little of everything."""
    await lane.define(
        anna={"roles": ["clerk"]},
        room={"type": "room", "capacity": 2, "kind": "shared"},
        paper={"type": "paper", "kind": "consumable", "stock": 10},
    )
    lock = need(type="entity", resource="entity:permit:7", hold="process")
    paper = need("paper", type="paper", units=3)
    await lane.do(allocate("d1", 1, need("anna"), need("room", type="room"), lock))
    await lane.do(allocate("d2", 2, need("room", type="room"), paper), allocate("d3", 3, lock))
    await lane.do(gives(2, "all", version=4, dispatch="d2"), refuses(4, "d4"))
    await lane.define(room={"type": "room", "capacity": 1, "kind": "shared"})
    await lane.do(gives(1, "running", version=4, dispatch="d1", type=types.PROCESS_WAITING))
    await lane.do(allocate("d5", 1, need("anna"), lock, version=5))


def test_every_check_is_seeded() -> None:
    assert set(SEEDED) == set(fsck.CHECKS)


async def test_clean(lane: Lane) -> None:
    assert await lane.breaches() == {}
    await lived(lane)
    assert await lane.breaches() == {}


@pytest.mark.parametrize("check", SEEDED)
async def test_a_seeded_breach_is_named(lane: Lane, check: str) -> None:
    await lived(lane)
    async with lane.database.connection() as connection:
        await connection.execute(SEEDED[check])
    found: dict[str, Any] = await lane.breaches()
    assert check in found, found
    assert found[check]
