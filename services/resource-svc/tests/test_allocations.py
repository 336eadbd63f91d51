"""Allocations on the real database: one way in, one way back, and everything twice."""

import random

from kernel_contracts import message_types as types
from kernel_contracts.resource import ResourcesDenied, ResourcesGranted, ResourcesReleased

from .lane import Lane, allocate, gives, need, refuses, releases


async def test_a_grant_and_its_release(lane: Lane) -> None:
    await lane.define(anna={"roles": ["clerk"]}, room={"type": "room"})
    await lane.outbox()
    gang = (need("anna", roles=["clerk"]), need("room", type="room"))
    await lane.do(allocate("d1", 1, *gang))
    [(topic, key, type, body)] = await lane.outbox()
    assert (topic, key, type) == ("resource-events", "1", types.RESOURCES_GRANTED)
    told = ResourcesGranted.model_validate(body)
    assert told.operator == "anna"
    assert [(each.resource, each.used, each.version) for each in told.allocations] == [("anna", 1, 2), ("room", 1, 2)]
    assert await lane.use() == {"anna": 1, "room": 1}
    await lane.do(allocate("d2", 2, *gang))
    [denied] = await lane.told(types.RESOURCES_DENIED)
    no = ResourcesDenied.model_validate(denied)
    assert no.reason == "no_capacity"
    assert [(each.demand, each.resources) for each in no.blockers] == [(0, ["anna"]), (1, ["room"])]
    assert [(each.resource, each.used, each.capacity) for each in no.usage] == [("anna", 1, 1), ("room", 1, 1)]
    await lane.do(gives(1, "all", version=4, dispatch="d1"))
    [back] = await lane.told(types.RESOURCES_RELEASED)
    back_told = ResourcesReleased.model_validate(back)
    assert (back_told.pid, back_told.dispatch_id, back_told.reason) == (1, "d1", "terminated")
    assert [(each.resource, each.used, each.version) for each in back_told.allocations] == [
        ("anna", 0, 3),
        ("room", 0, 3),
    ]
    assert await lane.breaches() == {}


async def test_all_or_nothing(lane: Lane) -> None:
    await lane.define(anna={}, room={"type": "room", "capacity": 0})
    await lane.do(allocate("d1", 1, need("anna"), need("room", type="room")))
    assert await lane.use() == {"anna": 0, "room": 0}
    assert [each["blockers"] for each in await lane.told(types.RESOURCES_DENIED)] == [
        [{"demand": 1, "type": "room", "reason": "no_capacity", "resources": ["room"]}]
    ]


async def test_the_same_dispatch_again_is_told_and_not_done(lane: Lane) -> None:
    await lane.define(pool={"capacity": 5})
    for _ in range(2):
        await lane.do(allocate("d1", 1, need("pool")), allocate("d1", 1, need("pool")))
    assert await lane.use() == {"pool": 1}
    granted = await lane.told(types.RESOURCES_GRANTED)
    assert len(granted) == 4
    assert all(each == granted[0] for each in granted)
    await lane.do(gives(1, "running", version=4, dispatch="d1"), allocate("d1", 1, need("pool")))
    assert await lane.use() == {"pool": 0}
    assert [type for _, _, type, _ in await lane.outbox()] == [types.RESOURCES_RELEASED] * 2


async def test_a_release_that_comes_before_its_allocate(lane: Lane) -> None:
    await lane.define(anna={})
    await lane.do(refuses(1, "d1"), allocate("d1", 1, need("anna")))
    assert await lane.use() == {"anna": 0}
    assert [each["reason"] for each in await lane.told(types.RESOURCES_DENIED)] == ["withdrawn"]
    assert await lane.breaches() == {}


async def test_old_events_take_nothing_from_newer_grants(lane: Lane) -> None:
    await lane.define(pool={"capacity": 5})
    failed = gives(1, "all", version=4, dispatch="d1")
    await lane.do(allocate("d1", 1, need("pool"), version=2), failed)
    await lane.do(allocate("d2", 1, need("pool"), version=5), failed)
    assert await lane.use() == {"pool": 1}
    await lane.do(gives(1, "running", version=4, dispatch="d1"), gives(1, "running", version=7, dispatch="d1"))
    assert await lane.use() == {"pool": 1}
    await lane.do(gives(1, "running", version=7, dispatch="d2"))
    assert await lane.use() == {"pool": 0}


async def test_what_is_held_for_the_process_stays_until_it_ends(lane: Lane) -> None:
    await lane.define(pool={"capacity": 5})
    lock = need(type="entity", resource="entity:permit:7", hold="process")
    await lane.do(allocate("d1", 1, need("pool"), lock, version=2))
    await lane.do(allocate("d9", 9, need("pool"), lock, version=2))
    assert [each["reason"] for each in await lane.told(types.RESOURCES_DENIED)] == ["no_capacity"]
    await lane.do(gives(1, "running", version=4, dispatch="d1", type=types.PROCESS_WAITING))
    assert await lane.use() == {"pool": 0, "entity:permit:7": 1}
    await lane.do(allocate("d2", 1, need("pool"), lock, version=5))
    *_, granted = await lane.told(types.RESOURCES_GRANTED)
    assert [each["resource"] for each in granted["allocations"]] == ["pool"]
    await lane.do(gives(1, "all", version=7, dispatch="d2"))
    assert await lane.use() == {"pool": 0, "entity:permit:7": 0}
    told = await lane.told(types.RESOURCES_RELEASED)
    assert [each["dispatch_id"] for each in told] == ["d1", "d2"]
    assert await lane.breaches() == {}


async def test_a_refused_grant_comes_back_whole(lane: Lane) -> None:
    await lane.define(pool={"capacity": 5})
    lock = need(type="entity", resource="entity:permit:7", hold="process")
    await lane.do(allocate("d1", 1, need("pool"), lock))
    await lane.do(refuses(1, "d1"), refuses(1, "d1"))
    assert await lane.use() == {"pool": 0, "entity:permit:7": 0}
    assert len(await lane.told(types.RESOURCES_RELEASED)) == 1
    assert await lane.breaches() == {}


async def test_a_refused_grant_leaves_what_a_later_one_relies_on(lane: Lane) -> None:
    await lane.define(pool={"capacity": 5})
    lock = need(type="entity", resource="entity:permit:7", hold="process")
    for together in (True, False):
        first = allocate(f"a{together}", 1, need("pool"), lock, version=2)
        second = allocate(f"b{together}", 1, need("pool"), lock, version=3)
        if together:
            await lane.do(first, second, refuses(1, f"a{together}"))
        else:
            for command in (first, second, refuses(1, f"a{together}")):
                await lane.do(command)
        assert await lane.use() == {"pool": 1, "entity:permit:7": 1}
        await lane.do(refuses(1, f"b{together}", version=4))
        assert await lane.use() == {"pool": 0, "entity:permit:7": 0}
        assert await lane.breaches() == {}


async def test_a_grant_of_nothing_is_released_too(lane: Lane) -> None:
    await lane.do(allocate("d1", 1), gives(1, "running", version=4, dispatch="d1"))
    (granted, released) = await lane.outbox()
    assert (granted[2], granted[3]["allocations"]) == (types.RESOURCES_GRANTED, [])
    assert (released[2], released[3]["allocations"]) == (types.RESOURCES_RELEASED, [])


async def test_a_consumable_is_used_up(lane: Lane) -> None:
    await lane.define(paper={"type": "paper", "kind": "consumable", "stock": 10})
    await lane.do(allocate("d1", 1, need("paper", type="paper", units=7)))
    await lane.do(gives(1, "all", version=4, dispatch="d1"))
    [released] = await lane.told(types.RESOURCES_RELEASED)
    assert released["allocations"] == []
    await lane.do(allocate("d2", 2, need("paper", type="paper", units=4)))
    assert [each["reason"] for each in await lane.told(types.RESOURCES_DENIED)] == ["out_of_stock"]
    assert await lane.rows("SELECT used, capacity FROM resource") == [{"used": 7, "capacity": 10}]
    assert await lane.breaches() == {}


async def test_a_refused_grant_has_used_nothing_up(lane: Lane) -> None:
    await lane.define(paper={"type": "paper", "kind": "consumable", "stock": 10})
    await lane.do(allocate("d1", 1, need("paper", type="paper", units=7)))
    await lane.do(refuses(1, "d1"))
    [released] = await lane.told(types.RESOURCES_RELEASED)
    assert [(each["resource"], each["used"], each["version"]) for each in released["allocations"]] == [("paper", 0, 3)]
    assert await lane.use() == {"paper": 0}
    assert await lane.breaches() == {}


async def test_a_release_command_is_done_once(lane: Lane) -> None:
    await lane.define(pool={"capacity": 5})
    await lane.do(allocate("d1", 1, need("pool")))
    await lane.do(releases(1, id="r1"))
    await lane.do(allocate("d2", 1, need("pool")))
    await lane.do(releases(1, id="r1"))
    assert await lane.use() == {"pool": 1}
    await lane.do(releases(1, dispatch="d2", give="running"))
    assert await lane.use() == {"pool": 0}


async def test_any_order_and_everything_twice_ends_the_same(lane: Lane) -> None:
    """Each process ends, so whatever the order of its messages, nothing is held at the end and nothing was doubled."""
    await lane.define(**{f"o{n}": {"capacity": 3} for n in range(4)})
    chance = random.Random(5)
    for round in range(6):
        commands = []
        for pid in range(round * 100, round * 100 + 30):
            dispatch = f"d{pid}"
            candidates = [f"o{n}" for n in chance.sample(range(4), 3)]
            lock = need(type="entity", resource=f"entity:permit:{pid % 7}", hold="process")
            commands += [
                allocate(dispatch, pid, need(*candidates), *([lock] if pid % 2 else [])),
                gives(pid, "running", version=4, dispatch=dispatch, type=types.PROCESS_WAITING),
                gives(pid, "all", version=6, dispatch=dispatch),
            ] * 2
            if pid % 5 == 0:
                commands.append(refuses(pid, dispatch))
        chance.shuffle(commands)
        while commands:
            size = chance.choice((1, 7, 50))
            await lane.do(*commands[:size])
            del commands[:size]
        # A grant whose process ended before it came is refused by process-svc; that comes last.
        await lane.do(*(refuses(pid, f"d{pid}") for pid in range(round * 100, round * 100 + 30)))
        assert set((await lane.use()).values()) == {0}
        assert await lane.breaches() == {}
    dispatches = await lane.rows("SELECT count(*) AS all, count(DISTINCT pid) AS pids FROM dispatch")
    assert dispatches == [{"all": 180, "pids": 180}]
