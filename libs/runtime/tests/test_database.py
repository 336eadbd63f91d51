"""How a transaction ends when the network or the server does not play along."""

import asyncio
import contextlib
from urllib.parse import urlsplit

import asyncpg
import pytest
from kernel_runtime.command import Answer
from kernel_runtime.database import AWAY, Database, is_away
from kernel_testing import eventually
from kernel_testing.faults import FaultProxy
from kernel_testing.plugin import MakeProxy
from lane import add, lane, scalar, values


async def proxied(dsn: str, fault_proxy: MakeProxy) -> tuple[str, FaultProxy]:
    parts = urlsplit(dsn)
    proxy = await fault_proxy(str(parts.hostname), int(parts.port or 0))
    return dsn.replace(f":{parts.port}/", f":{proxy.port}/"), proxy


@pytest.mark.parametrize("remembered", [True, False])
@pytest.mark.parametrize("kafka", [True, False])
@pytest.mark.parametrize("forward", [True, False])
async def test_a_commit_whose_answer_is_cut_off(
    dsn: str, fault_proxy: MakeProxy, forward: bool, kafka: bool, remembered: bool
) -> None:
    """Exactly one effect, and the caller learns what is true."""
    through, proxy = await proxied(dsn, fault_proxy)
    async with lane(through) as (pipeline, _):
        await pipeline.submit(add("a", id="warm"))
        proxy.cut_at(b"COMMIT", forward=forward)
        command = add("a", 10, id="once" if remembered else None, kafka=kafka)
        (result,) = await pipeline.submit_all([command])
        assert proxy.cuts == 1
        if forward:
            assert isinstance(result, Answer)
            assert await values(dsn) == {"a": 11}
        else:
            assert await values(dsn) == {"a": 1}
            assert is_away(result) if isinstance(result, Exception) else result.status == 503
        if remembered:
            (again,) = await pipeline.submit_all([add("a", 10, id="once", kafka=kafka)])
            assert isinstance(again, Answer)
            assert await values(dsn) == {"a": 11}
        assert await scalar(dsn, "SELECT count(*) FROM outbox") == (await values(dsn))["a"] // 10 + 1


async def test_cut_anywhere_leaves_all_or_nothing(dsn: str, fault_proxy: MakeProxy) -> None:
    through, proxy = await proxied(dsn, fault_proxy)
    expected = 0
    async with lane(through) as (pipeline, _):
        for at in range(50, 4000, 130):
            proxy.cut_after(at, direction="up" if at % 3 else "down")
            (result,) = await pipeline.submit_all([add("a", id=f"id{at}", kafka=True)])
            expected += isinstance(result, Answer)
            assert (await values(dsn)).get("a", 0) == expected
            proxy.heal()
    assert proxy.cuts > 15


async def test_connections_reset_under_load(dsn: str, fault_proxy: MakeProxy) -> None:
    through, proxy = await proxied(dsn, fault_proxy)
    statuses: list[int] = []

    async def caller(pipeline, n: int) -> None:  # type: ignore[no-untyped-def]
        for i in range(20):
            for _ in range(100):
                result = await pipeline.submit(add(f"n{n}", id=f"{n}-{i}"))
                statuses.append(result.status)
                if result.status == 200:
                    break
                await asyncio.sleep(0.01)
            else:
                raise AssertionError("never answered")

    async with lane(through) as (pipeline, _):
        callers = [asyncio.create_task(caller(pipeline, n)) for n in range(10)]
        while not all(task.done() for task in callers):
            await asyncio.sleep(0.013)
            await proxy.reset()
            if len(statuses) > 400:
                break
        proxy.heal()
        await asyncio.gather(*callers)
    assert await values(dsn) == {f"n{n}": 20 for n in range(10)}
    assert set(statuses) <= {200, 503}


async def test_a_black_hole_does_not_hang_a_caller_for_ever(dsn: str, fault_proxy: MakeProxy) -> None:
    through, proxy = await proxied(dsn, fault_proxy)
    database = Database(through, name="hole")
    await database.open()
    proxy.blackhole = True
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1), database.transaction() as connection:
            await connection.fetchval("SELECT 1")
    proxy.heal()
    await proxy.reset()

    async def answers() -> bool:
        with contextlib.suppress(*AWAY):
            async with database.connection() as connection:
                return bool(await connection.fetchval("SELECT true"))
        return False

    assert await eventually(answers)
    await database.close()


async def test_a_session_of_its_own_leaves_the_pool_alone(dsn: str) -> None:
    database = Database(dsn, name="own")
    await database.open()
    async with database.own_connection(synchronous_commit="off") as own:
        assert await own.fetchval("SHOW synchronous_commit") == "off"
    async with database.connection() as pooled:
        assert await pooled.fetchval("SHOW synchronous_commit") == "on"
        assert await pooled.fetchval("SHOW idle_in_transaction_session_timeout") == "4s"
    await database.close()


async def test_who_sits_in_a_transaction_is_thrown_out(dsn: str) -> None:
    """A replica that was stopped in one must not keep its locks longer than a lease lasts."""
    database = Database(dsn, name="sits")
    await database.open()

    async def sits() -> None:
        async with database.transaction() as connection:
            await connection.execute("INSERT INTO counter VALUES ('a', 1, 1)")
            await asyncio.sleep(4.5)

    with pytest.raises(AWAY) as caught:
        await sits()
    assert is_away(caught.value)
    assert await scalar(dsn, "SELECT count(*) FROM counter") == 0
    async with database.transaction() as connection:
        await connection.execute("INSERT INTO counter VALUES ('a', 1, 1)")
    await database.close()


def test_what_is_away_and_what_is_wrong() -> None:
    assert is_away(asyncpg.InterfaceError("connection is closed"))
    assert is_away(asyncpg.CannotConnectNowError("starting up"))
    assert is_away(asyncpg.DiskFullError("no space"))
    assert is_away(ConnectionResetError())
    assert not is_away(asyncpg.exceptions._base.DataError("invalid input for query argument $1"))
    assert not is_away(asyncpg.InterfaceError("the server expects 1 argument for this query, 2 were passed"))
    assert not is_away(asyncpg.UniqueViolationError("twice"))
