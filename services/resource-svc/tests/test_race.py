"""Several replicas against few resources: never over, never deadlocked, all served in the end."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from kernel_contracts import message_types as types
from kernel_runtime.command import Answer

from .lane import Lane, allocate, gives, need

OpenLane = Callable[[], Awaitable[Lane]]

RESOURCES = 20
CAPACITY = 2
REPLICAS = 4
DEMAND = RESOURCES * CAPACITY * 3


@pytest.mark.timeout(120)
async def test_three_times_the_demand_from_several_replicas(open_lane: OpenLane) -> None:
    """Gangs of two in any order of resources, and an entity's lock for some; what is denied is tried again."""
    lanes = [await open_lane() for _ in range(REPLICAS)]
    await lanes[0].define(**{f"r{n:02}": {"capacity": CAPACITY} for n in range(RESOURCES)})
    waiting = list(range(1, DEMAND + 1))
    granted: set[int] = set()
    over: list[object] = []
    stop = asyncio.Event()

    async def watch() -> None:
        """The database is asked all the while whether anything is over, from outside."""
        while not stop.is_set():
            over.extend(await lanes[0].rows("SELECT id FROM resource WHERE used > capacity OR used < 0"))
            over.extend(
                await lanes[0].rows(
                    "SELECT resource FROM allocation a JOIN resource r ON r.number = a.resource"
                    " WHERE released_at IS NULL GROUP BY resource, r.capacity HAVING sum(units) > r.capacity"
                )
            )
            await asyncio.sleep(0.005)

    async def plan(lane: Lane, number: int) -> None:
        chance = random.Random(number)
        attempt = 0
        while waiting:
            batch = [waiting.pop() for _ in range(min(len(waiting), chance.choice((1, 5, 20))))]
            attempt += 1
            for pid in batch:
                assert pid not in granted
            commands = []
            for pid in batch:
                ids = [f"r{n:02}" for n in chance.sample(range(RESOURCES), 6)]
                lock = need(type="entity", resource=f"entity:permit:{pid % 9}")
                commands.append(
                    allocate(
                        f"d{pid}.{number}.{attempt}",
                        pid,
                        need(*ids[:3]),
                        need(*ids[3:]),
                        *([lock] if pid % 4 == 0 else []),
                    )
                )
            assert all(isinstance(result, Answer) for result in await lane.do(*commands, *commands[:1]))
            rows = await lane.rows(
                "SELECT pid, dispatch_id FROM dispatch WHERE dispatch_id = ANY($1::text[]) AND outcome = 'granted'",
                [f"d{pid}.{number}.{attempt}" for pid in batch],
            )
            served = {row["pid"]: row["dispatch_id"] for row in rows}
            granted.update(served)
            waiting.extend(pid for pid in batch if pid not in served)
            await asyncio.sleep(chance.random() * 0.02)
            ends = [gives(pid, "all", version=4, dispatch=dispatch) for pid, dispatch in served.items()]
            chance.shuffle(ends)
            other = lanes[chance.randrange(REPLICAS)]
            await asyncio.gather(other.do(*ends), lane.do(*ends))

    watcher = asyncio.create_task(watch())
    async with asyncio.timeout(100):
        await asyncio.gather(*(plan(lane, number) for number, lane in enumerate(lanes)))
    stop.set()
    await watcher
    assert over == []
    assert granted == set(range(1, DEMAND + 1))
    assert set((await lanes[0].use()).values()) == {0}
    assert await lanes[0].breaches() == {}
    released = [body for body in await lanes[0].told(types.RESOURCES_RELEASED) if body["allocations"]]
    assert len(released) == DEMAND


async def test_two_replicas_make_the_same_lock_and_decide_the_same_dispatch(open_lane: OpenLane) -> None:
    one, two = await open_lane(), await open_lane()
    lock = need(type="entity", resource="entity:permit:7", hold="process")
    for round in range(20):
        same = allocate(f"same{round}", 1000 + round)
        own = need(type="entity", resource=f"entity:permit:new{round}")
        await asyncio.gather(
            one.do(allocate(f"a{round}", 1 + round, lock), same, allocate(f"x{round}", 500 + round, own)),
            two.do(allocate(f"b{round}", 101 + round, lock), same, allocate(f"y{round}", 700 + round, own)),
        )
        await asyncio.gather(
            *(lane.do(gives(pid + round, "all", version=9)) for lane in (one, two) for pid in (1, 101, 500, 700))
        )
    assert set((await one.use()).values()) == {0}
    assert await one.breaches() == {}
    outcomes = await one.rows("SELECT outcome, count(*) AS n FROM dispatch GROUP BY outcome")
    assert {row["outcome"]: row["n"] for row in outcomes} == {"granted": 60, "denied": 40}
