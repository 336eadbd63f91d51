"""One holder at a time, by Postgres' clock; whoever comes too late changes nothing."""

import asyncio

import asyncpg
import pytest
from kernel_runtime.database import Database
from kernel_runtime.lease import Lease, LeaseLostError, while_held
from kernel_testing import eventually
from lane import scalar


async def opened(dsn: str, name: str) -> Database:
    database = Database(dsn, name=name)
    await database.open()
    return database


async def test_claimed_renewed_and_given_up(dsn: str) -> None:
    database = await opened(dsn, "a")
    lease, standby = Lease(database, "x", "a", 0.6), Lease(database, "x", "b", 0.6)
    keeping = asyncio.create_task(lease.keep())
    await eventually(lease.held.is_set)
    waiting = asyncio.create_task(standby.keep())
    await asyncio.sleep(1.5)
    assert lease.epoch == 1
    assert standby.epoch is None
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    assert lease.epoch is None
    await asyncio.wait_for(standby.held.wait(), 0.5)
    assert standby.epoch == 2
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await database.close()


async def test_a_late_holder_is_fenced(dsn: str) -> None:
    database = await opened(dsn, "a")
    first, second = Lease(database, "x", "a", 0.4), Lease(database, "x", "b", 0.4)
    await first._step()
    await asyncio.sleep(0.5)
    async with database.transaction() as connection:
        await first.check(connection)  # late, but nobody took it
    await second._step()
    assert (first.epoch, second.epoch) == (1, 2)

    async def writes_late() -> None:
        async with database.transaction() as connection:
            await connection.execute("INSERT INTO counter VALUES ('late', 1, 1)")
            await first.check(connection)

    with pytest.raises(LeaseLostError):
        await writes_late()
    assert first.epoch is None
    assert not first.held.is_set()
    assert await scalar(dsn, "SELECT count(*) FROM counter") == 0
    await database.close()


async def test_nobody_takes_over_under_a_transaction_that_has_checked(dsn: str) -> None:
    database = await opened(dsn, "a")
    first, second = Lease(database, "x", "a", 0.3), Lease(database, "x", "b", 0.3)
    await first._step()
    order: list[str] = []

    async def takes_over() -> None:
        await second._step()
        order.append("taken over")

    async with database.transaction() as connection:
        await first.check(connection)
        await asyncio.sleep(0.4)
        task = asyncio.create_task(takes_over())
        await asyncio.sleep(0.2)
        await connection.execute("INSERT INTO counter VALUES ('in time', 1, 1)")
        order.append("written")
    await task
    assert order == ["written", "taken over"]
    await database.close()


async def test_the_same_holder_claims_it_back_at_once_with_a_new_epoch(dsn: str) -> None:
    database = await opened(dsn, "a")
    before, after = Lease(database, "x", "a", 60), Lease(database, "x", "a", 60)
    await before._step()
    await after._step()
    assert (before.epoch, after.epoch) == (1, 2)
    with pytest.raises(LeaseLostError):
        async with database.transaction() as connection:
            await before.check(connection)
    await database.close()


async def test_work_runs_while_held_and_is_cancelled_when_lost(dsn: str) -> None:
    database = await opened(dsn, "a")
    lease = Lease(database, "x", "a", 5)
    seen: list[str] = []

    async def work(epoch: int) -> None:
        seen.append(f"start {epoch}")
        try:
            if epoch == 2:
                raise asyncpg.CannotConnectNowError("starting up")
            await asyncio.sleep(60)
        finally:
            seen.append(f"end {epoch}")

    tasks = [asyncio.create_task(lease.keep()), asyncio.create_task(while_held(lease, work))]
    await eventually(lambda: seen == ["start 1"])
    lease.lost()
    await eventually(lambda: seen[-2:] == ["start 2", "end 2"])
    lease.lost()
    await eventually(lambda: seen[-1] == "start 3")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert seen[-1] == "end 3"
    await database.close()


async def test_work_that_dies_ends_who_waits_for_it(dsn: str) -> None:
    database = await opened(dsn, "a")
    lease = Lease(database, "x", "a", 5)

    async def work(_: int) -> None:
        raise RuntimeError("seeded")

    keeping = asyncio.create_task(lease.keep())
    with pytest.raises(RuntimeError, match="seeded"):
        await while_held(lease, work)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    await database.close()
