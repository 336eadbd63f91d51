"""The planner's rows on a real Postgres: saved and read back; order in SQL; the checks and their breaches."""

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
import pytest_asyncio
from kernel_contracts.scheduler import QueueDefinition
from kernel_contracts.vocabulary import QueuePolicy
from scheduler_svc import fsck
from scheduler_svc.domain.order import Ageing, order_of
from scheduler_svc.domain.planning import plan
from scheduler_svc.domain.queues import Item, ItemState
from scheduler_svc.domain.state import State
from scheduler_svc.domain.waits import quantile
from scheduler_svc.store import planner, queues, reading
from scheduler_svc.store.fsck import CHECKS
from scheduler_svc.store.waits import Waits
from scheduler_svc.texts import demands_of

from .world import Owned, World, item

CLERK = {"type": "operator", "roles": ["clerk"]}
LOCK = {"type": "entity", "resource": "entity:permit:1", "hold": "process"}
ROOM = {"type": "room", "selector": {"size": "big"}}
SHAPES = ([CLERK], [CLERK, LOCK], [CLERK, ROOM], [LOCK], [])


@pytest_asyncio.fixture
async def connection(database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


def shaped(pid: int, shape: int, **more: float) -> Item:
    made = item(pid, **more)  # type: ignore[arg-type]
    made.demands = demands_of(SHAPES[shape])
    return made


async def save(connection: asyncpg.Connection, state: State) -> None:
    """As a batch does."""
    changes = state.take_changes()
    async with connection.transaction():
        await planner.save_items(connection, changes)
        await planner.save_resources(connection, changes)
        if changes.learnt:
            await planner.save_durations(connection, changes)
    for each in changes.items.values():
        each.stored = True
    for resource in changes.resources.values():
        resource.stored = resource.defined


async def load(connection: asyncpg.Connection) -> State:
    async with connection.transaction():
        return await planner.load_state(connection)


def image(state: State) -> list[object]:
    """All that a state stands for."""
    items: list[object] = [
        (i.pid, i.queue, i.version, i.latest, i.priority, i.ready_at, i.not_after, i.due, i.expected, i.state, i.attempt,
         i.dispatch_id, i.proposed_at, i.candidates, sorted(i.held.items()), i.denials, i.reason, i.retry_at,
         i.demands.source, sorted((r.id, u) for r, u in i.reserved), i.tries, i.previous, i.tag)
        for _, i in sorted(state.items.items())
    ]  # fmt: skip
    resources: list[object] = [
        (
            r.id,
            r.type,
            r.version,
            r.defined,
            r.capacity,
            r.used,
            r.outstanding,
            r.open,
            r.labels,
            r.roles,
            r.skills,
            r.rank,
        )
        for _, r in sorted(state.resources.items())
        if r.version or r.outstanding
    ]
    steps: list[object] = [(*place, known.count, known.mean) for place, known in state.durations.steps.items()]
    return items + resources + sorted(steps, key=str)


@pytest.mark.parametrize("seed", range(8))
async def test_what_is_saved_step_by_step_is_the_state(connection: asyncpg.Connection, seed: int) -> None:
    rng = random.Random(seed)
    world = World()
    policy = list(QueuePolicy)[seed % 6]
    world.queue(1, policy=policy)
    await queues.save(connection, [queues.StoredQueue("main", "default", 1, QueueDefinition(policy=policy))])
    world.person("anna", "clerk", dutch=2)
    world.person("bert", "clerk", "porter", capacity=2)
    world.define(Owned("hall", "room", labels={"size": "big"}))
    pid = 0
    for _ in range(60):
        step = rng.randrange(9)
        running = [each for each in world.state.items.values() if each.state is ItemState.RUNNING]
        if step < 3:
            pid += 1
            world.arrive(
                shaped(pid, rng.randrange(5), priority=rng.randrange(100), ready=pid, due=rng.choice([None, 5]))
            )
        elif step == 3:
            world.plan()
        elif step == 4:
            for dispatch in list(world.asked):
                world.answer(dispatch, refuse=rng.random() < 0.3)
        elif step == 5 and running:
            world.end(rng.choice(running).pid)
        elif step == 6 and running:
            world.wait(rng.choice(running).pid)
        elif step == 7 and world.state.items:
            chosen = rng.choice(list(world.state.items.values()))
            world.versions[chosen.pid] = chosen.latest + 1
            world.state.prioritized(chosen.pid, chosen.latest + 1, rng.randrange(100))
        else:
            world.pass_time(rng.random() * 3)
        if rng.random() < 0.5:
            world.plan()
            await save(connection, world.state)
            assert image(await load(connection)) == image(world.state)
    await save(connection, world.state)
    fresh = await load(connection)
    world.person("cleo", "clerk")
    world.now += timedelta(seconds=40)
    fresh.resource("main", "cleo", "operator")
    clone = world.owned["cleo"]
    other = World()
    other.state, other.now, other.owned = fresh, world.now, {}
    clone.version -= 1
    other.define(clone)
    expected = [(each.dispatch_id, each.candidates) for each in world.plan()]
    assert [(each.dispatch_id, each.candidates) for each in plan(fresh, world.now)] == expected


@pytest.mark.parametrize("policy", list(QueuePolicy))
async def test_positions_in_sql_are_those_of_the_domain(connection: asyncpg.Connection, policy: QueuePolicy) -> None:
    rng = random.Random(5)
    world = World()
    world.queue(1, policy=policy)
    for pid in range(1, 40):
        made = shaped(pid, 0, priority=rng.randrange(3), ready=rng.randrange(3), due=rng.choice([None, 1, 2]))
        made.expected = rng.choice([None, 1.0, 2.5])
        world.arrive(made)
    await save(connection, world.state)
    await queues.save(connection, [queues.StoredQueue("main", "default", 1, QueueDefinition(policy=policy))])
    in_order = sorted(world.state.items.values(), key=order_of(policy, Ageing()))
    for place, each in enumerate(in_order, 1):
        found = await reading.why(connection, "main", each.pid)
        assert found is not None
        assert found.position == place
        assert found.factors or policy is QueuePolicy.EDF


async def test_waits_of_two_planners_in_a_minute_add_up(connection: asyncpg.Connection) -> None:
    now = datetime.now(UTC)
    for seconds in (1.0, 1.0, 100.0):
        waits = Waits()
        waits.count([("main", "default", seconds)], now)
        await waits.save(connection)
    old = Waits()
    old.count([("main", "default", 1e6)], now - timedelta(hours=2))
    await old.save(connection)
    told = (await reading.standings(connection, "main", ["default"]))["default"]["wait"]
    assert told["p50"] == pytest.approx(1, rel=0.1)
    assert told["p95"] == pytest.approx(100, rel=0.1)
    assert quantile([], 0.5) is None


BREACHES = {
    "scheduler: a proposed item knows its dispatch": "UPDATE ready_item SET dispatch_id = '7.7.7' WHERE state = 'proposed'",
    "scheduler: a proposal is answered": "UPDATE ready_item SET proposed_at = proposed_at - interval '1 year'"
    " WHERE state = 'proposed'",
    "scheduler: an item in line has no dispatch": "UPDATE ready_item SET dispatch_id = '1.2.3' WHERE state = 'ready'",
    "scheduler: a denied item is tried again": "UPDATE ready_item SET retry_at = '2026-01-01' WHERE state = 'ready'",
    "scheduler: versions do not run backwards": "UPDATE ready_item SET latest = 0",
    "scheduler: who holds something is kept for it": "UPDATE ready_item SET state = 'holding', held = '{}',"
    " dispatch_id = NULL, proposed_at = NULL WHERE state = 'ready'",
    "scheduler: usage of copies is within what can be": "UPDATE resource_copy SET used = -1",
}


@pytest.mark.parametrize("name", list(CHECKS))
async def test_each_check_finds_its_breach_and_no_other(connection: asyncpg.Connection, name: str) -> None:
    world = World()
    world.now = datetime.now(UTC)
    world.person("anna", "clerk")
    world.arrive(shaped(1, 0))
    world.arrive(shaped(2, 0))
    world.plan()
    await save(connection, world.state)
    clean = await fsck.check(connection, 300)
    assert [each for each in clean if each["breaches"]] == []
    await connection.execute(BREACHES[name])
    found = {each["name"]: each for each in await fsck.check(connection, 300)}
    assert found[name]["breaches"] > 0
    assert found[name]["examples"]
    assert [each for each, told in found.items() if told["breaches"]] == [name]


async def test_when_its_turn_comes_follows_from_the_pace_of_its_queue(connection: asyncpg.Connection) -> None:
    world = World()
    for pid in range(1, 12):
        world.arrive(shaped(pid, 0, ready=pid))
    await save(connection, world.state)
    waits, now = Waits(), datetime.now(UTC)
    waits.count([("main", "default", 5.0)] * 20, now - timedelta(minutes=20))
    waits.count([("main", "default", 5.0)] * 20, now)
    await waits.save(connection)
    first, last = await reading.why(connection, "main", 1), await reading.why(connection, "main", 11)
    assert first is not None
    assert last is not None
    assert first.eta is None  # nobody is there who could do it: no pace helps
    world.person("anna", "clerk", capacity=1)
    world.plan()
    await save(connection, world.state)
    last = await reading.why(connection, "main", 11)
    assert last is not None
    assert last.eta is not None
    assert timedelta(minutes=4) < last.eta.p50 - now < timedelta(minutes=7)
    assert last.eta.p50 < last.eta.p90
