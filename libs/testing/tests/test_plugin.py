"""The plugin on its own: isolation of what it hands out."""

import asyncio
from urllib.parse import urlsplit

import asyncpg
import pytest
from kernel_platform.kafka import admin_client
from kernel_testing import eventually, eventually_sync
from kernel_testing.plugin import MakeProxy, NewDatabase
from kernel_testing.topics import TestTopics


async def test_each_database_is_fresh_and_owned(new_database: NewDatabase) -> None:
    first, second = await new_database(None), await new_database(None)
    one, two = await asyncpg.connect(first), await asyncpg.connect(second)
    await one.execute("create table t (i int)")
    assert await one.fetchval("select to_regclass('t') is not null")
    assert await two.fetchval("select to_regclass('t') is null")
    assert not await one.fetchval("select rolsuper from pg_roles where rolname = current_user")
    await one.close()
    await two.close()


async def test_a_clone_of_a_live_database_is_dropped_though_connected(database: str, postgres_server: str) -> None:
    await asyncpg.connect(database)
    name = urlsplit(database).path.removeprefix("/")
    admin = await asyncpg.connect(postgres_server)
    assert await admin.fetchval("select count(*) from pg_database where datname = $1", name) == 1
    await admin.close()


async def test_topics_are_of_one_test_and_shaped_as_declared(topics: TestTopics) -> None:
    name = await topics("process-events")
    assert name == topics.prefix + "process-events"
    found = await asyncio.to_thread(admin_client(topics.bootstrap).list_topics, name, 10)
    assert len(found.topics[name].partitions) == 4
    assert (await topics.create("other", 2)).endswith("other")


async def test_declared_topics_are_all_there(kafka: str, declared_topics: frozenset[str]) -> None:
    there = await asyncio.to_thread(admin_client(kafka).list_topics, timeout=10)
    assert declared_topics <= set(there.topics)
    assert "process-commands-dlq" in declared_topics


async def test_eventually_tells_the_last_failure() -> None:
    seen: list[int] = []

    def grows() -> bool:
        seen.append(1)
        assert len(seen) > 3, f"only {len(seen)}"
        return True

    assert await eventually(grows)
    with pytest.raises(AssertionError, match="the last result was 0"):
        await eventually(lambda: 0, timeout=0.1)
    with pytest.raises(AssertionError, match="never"):
        eventually_sync(lambda: pytest.fail("never") if False else _fail(), timeout=0.1)


def _fail() -> bool:
    raise AssertionError("never")


async def test_proxy_delays_swallows_and_resets(database: str, fault_proxy: MakeProxy) -> None:
    parts = urlsplit(database)
    proxy = await fault_proxy(str(parts.hostname), int(parts.port or 0))
    through = database.replace(f":{parts.port}/", f":{proxy.port}/")
    connection = await asyncpg.connect(through)
    assert await connection.fetchval("select 1") == 1
    proxy.latency = 0.1
    started = asyncio.get_running_loop().time()
    await connection.fetchval("select 1")
    assert asyncio.get_running_loop().time() - started >= 0.2
    proxy.heal()
    proxy.blackhole = True
    with pytest.raises(TimeoutError):
        await connection.fetchval("select 1", timeout=0.2)
    proxy.heal()
    connection = await asyncpg.connect(through)
    await proxy.reset()
    with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.InterfaceError, ConnectionError)):
        await connection.fetchval("select 1")
    proxy.refuse = True
    with pytest.raises((OSError, asyncpg.PostgresError)):
        await asyncpg.connect(through)


@pytest.mark.parametrize(("forward", "rows"), [(True, 1), (False, 0)])
async def test_proxy_cuts_a_commit_whose_answer_never_comes(
    database: str, fault_proxy: MakeProxy, forward: bool, rows: int
) -> None:
    parts = urlsplit(database)
    proxy = await fault_proxy(str(parts.hostname), int(parts.port or 0))
    direct = await asyncpg.connect(database)
    await direct.execute("create table t (i int)")
    cut = await asyncpg.connect(database.replace(f":{parts.port}/", f":{proxy.port}/"))
    transaction = cut.transaction()
    await transaction.start()
    await cut.execute("insert into t values (1)")
    proxy.cut_at(b"COMMIT", forward=forward)
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await transaction.commit()
    assert proxy.cuts == 1

    async def settled() -> bool:
        return bool(await direct.fetchval("select count(*) from t") == rows)

    assert await eventually(settled)
    await direct.close()
