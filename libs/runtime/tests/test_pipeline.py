"""The lane on a real Postgres: batches, refusals, what breaks, the inbox, and transactions that lose against others."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg
import pytest
from counter_service import BREAKS, REFUSED, Counters
from counter_service import add as add_handler
from kernel_runtime.command import Answer, Command, Result
from kernel_runtime.database import Connection
from kernel_runtime.pipeline import BehindError
from kernel_runtime.problem import Problem, unavailable
from lane import add, lane, scalar, values


def kinds(results: Sequence[Any]) -> list[str]:
    return [type(result).__name__ for result in results]


async def test_what_queued_up_is_one_transaction(dsn: str) -> None:
    async with lane(dsn) as (pipeline, _):
        results = await asyncio.gather(*(pipeline.submit(add(f"n{i % 7}")) for i in range(100)))
    assert kinds(results) == ["Answer"] * 100
    assert sum((await values(dsn)).values()) == 100
    assert await scalar(dsn, "SELECT count(DISTINCT xmin::text) FROM outbox") == 1
    assert await scalar(dsn, "SELECT count(*) FROM outbox") == 100


async def test_a_refusal_does_not_spoil_its_batch(dsn: str) -> None:
    async with lane(dsn) as (pipeline, _):
        results = await asyncio.gather(*(pipeline.submit(add("a", REFUSED if i == 3 else 1)) for i in range(10)))
    assert [i for i, result in enumerate(results) if isinstance(result, Problem)] == [3]
    assert await values(dsn) == {"a": 9}
    assert await scalar(dsn, "SELECT count(*) FROM outbox") == 9


async def test_a_refused_command_from_kafka_is_told(dsn: str) -> None:
    async with lane(dsn) as (pipeline, _):
        (result,) = await pipeline.submit_all([add("a", REFUSED, kafka=True)])
    assert isinstance(result, Problem)
    assert "refused" in await scalar(dsn, "SELECT headers FROM outbox")


async def test_what_breaks_the_batch_is_found_and_the_rest_is_done(dsn: str) -> None:
    async with lane(dsn) as (pipeline, _):
        over_http = await asyncio.gather(*(pipeline.submit(add(f"h{i}", BREAKS if i == 77 else 1)) for i in range(120)))
        batch = [add(f"k{i % 10}", BREAKS if i == 33 else 1, kafka=True) for i in range(100)]
        results = await pipeline.submit_all(batch)
    assert [result.status for result in over_http if isinstance(result, Problem)] == [500]
    assert isinstance(over_http[77], Problem)
    assert isinstance(results[33], RuntimeError)
    behind = [i for i, result in enumerate(results) if isinstance(result, BehindError)]
    assert behind == [43, 53, 63, 73, 83, 93], "later ones of the broken one's key are not carried out before it"
    found = await values(dsn)
    assert sum(found[f"k{i}"] for i in range(10)) == 100 - 1 - 6
    assert found["k3"] == 3


async def test_the_same_id_again_gives_the_same_answer(dsn: str) -> None:
    async with lane(dsn) as (pipeline, _):
        first = await pipeline.submit(add("a", 5, id="x"))
        again, other = await pipeline.submit(add("a", 5, id="x")), await pipeline.submit(add("a", 6, id="x"))
        refused = [await pipeline.submit(add("a", REFUSED, id="y")) for _ in range(2)]
        twins = await asyncio.gather(*(pipeline.submit(add("b", 1 + (i == 4), id="z")) for i in range(6)))
    assert isinstance(first, Answer)
    assert (first.status, first.body, first.headers) == (again.status, again.body, again.headers)  # type: ignore[union-attr]
    assert isinstance(other, Problem)
    assert other.status == 422
    assert refused[0] == refused[1]
    assert [result.status for result in twins] == [200, 200, 200, 200, 422, 200]
    assert await values(dsn) == {"a": 5, "b": 1}


async def test_problems_of_the_moment_are_not_remembered(dsn: str) -> None:
    away = [True]

    def sometimes(work: Counters, command: Command, now: datetime) -> Result:
        return unavailable("not now") if away[0] else add_handler(work, command, now)

    async with lane(dsn, handlers={"add": sometimes}) as (pipeline, _):
        assert (await pipeline.submit(add("a", id="x"))).status == 503
        away[0] = False
        assert (await pipeline.submit(add("a", id="x"))).status == 200


async def test_two_replicas_race_with_the_same_ids(dsn: str) -> None:
    ids = [f"id{i}" for i in range(60)]
    async with (
        lane(dsn, name="one") as (one, _),
        lane(dsn, name="two") as (two, _),
        lane(dsn, name="three") as (three, _),
    ):
        results = await asyncio.gather(
            *(pipeline.submit(add(f"n{n % 5}", id=id)) for n, id in enumerate(ids) for pipeline in (one, two, three))
        )
    assert kinds(results) == ["Answer"] * 180
    for n in range(60):
        answers = {result.body for result in results[3 * n : 3 * n + 3] if isinstance(result, Answer)}
        assert len(answers) == 1
    assert sum((await values(dsn)).values()) == 60


class Reversed(Counters):
    """Locks in the wrong order and slowly: deadlocks with its like."""

    async def load(self, connection: Connection, commands: Sequence[Command]) -> None:
        names = [command.body.name for command in commands]
        await connection.execute(
            "INSERT INTO counter (name, value, version) SELECT DISTINCT unnest($1::text[]), 0, 0 ON CONFLICT DO NOTHING",
            names,
        )
        for name in names:
            await connection.execute("SELECT FROM counter WHERE name = $1 FOR UPDATE", name)
            await asyncio.sleep(0.02)
        await super().load(connection, commands)


async def test_a_transaction_that_lost_is_tried_again(dsn: str) -> None:
    async with lane(dsn, begin=Reversed, name="one") as (one, _), lane(dsn, begin=Reversed, name="two") as (two, _):
        for name in ("a", "b"):
            await one.submit(add(name))
        results = await asyncio.gather(
            *(
                pipeline.submit_all([add(n, kafka=True) for n in names])
                for pipeline, names in ((one, "ab"), (two, "ba")) * 5
            )
        )
    assert [kinds(each) for each in results] == [["Answer", "Answer"]] * 10
    assert await values(dsn) == {"a": 11, "b": 11}


async def test_a_value_that_postgres_can_not_hold_breaks_its_command_alone(dsn: str) -> None:
    """asyncpg says so by an InterfaceError, as when the connection is lost."""

    class Narrow(Counters):
        async def save(self, connection: Connection) -> None:
            for row in self.rows.values():
                await connection.execute("SELECT $1::int", row[0])
            await super().save(connection)

    async with lane(dsn, begin=Narrow) as (pipeline, _):
        results = await pipeline.submit_all([add("a", kafka=True), add("b", 2**40, kafka=True), add("c", kafka=True)])
    assert kinds(results) == ["Answer", "DataError", "Answer"]


async def test_a_message_too_large_breaks_its_command_alone(dsn: str) -> None:
    async with lane(dsn) as (pipeline, _):
        results = await asyncio.gather(
            *(pipeline.submit(add(name, text="x" * (4_000_000 if name == "b" else 1))) for name in "abc")
        )
    assert [result.status for result in results] == [200, 500, 200]
    assert await values(dsn) == {"a": 1, "c": 1}


async def test_over_the_queue_size_callers_are_told_at_once(dsn: str) -> None:
    async with lane(dsn, queue_size=3) as (pipeline, _):
        results = await asyncio.gather(*(pipeline.submit(add("a")) for _ in range(10)))
        pipeline.blocked = "the outbox is full"
        assert (await pipeline.submit(add("a"))).status == 503
    assert sorted({result.status for result in results}) == [200, 429]
    assert all("retry-after" in result.headers for result in results if isinstance(result, Problem))


async def test_who_waits_when_the_lane_ends_is_answered(dsn: str) -> None:
    class Slow(Counters):
        async def save(self, connection: Connection) -> None:
            await asyncio.sleep(0.3)
            await super().save(connection)

    async with lane(dsn, begin=Slow) as (pipeline, _):
        first = [asyncio.create_task(pipeline.submit(add("a"))) for _ in range(3)]
        await asyncio.sleep(0.1)
        later = [asyncio.create_task(pipeline.submit(add("a"))) for _ in range(3)]
        await asyncio.sleep(0.01)
    assert [result.status for result in await asyncio.gather(*first, *later)] == [503] * 6
    assert await values(dsn) == {}


async def test_a_caller_that_goes_away_changes_nothing(dsn: str) -> None:
    async with lane(dsn) as (pipeline, database):
        for _ in range(20):
            tasks = [asyncio.create_task(pipeline.submit(add("a"))) for _ in range(5)]
            await asyncio.sleep(0.0005)
            tasks[2].cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert [isinstance(result, Answer) for result in results].count(True) >= 4
        assert database.pool.get_size() - database.pool.get_idle_size() == 0
    assert (await values(dsn))["a"] == 100


@pytest.mark.parametrize("at", range(1, 12))
async def test_a_lane_cancelled_at_any_moment_leaves_all_or_nothing(dsn: str, at: int) -> None:
    async with lane(dsn) as (pipeline, _):
        await pipeline.submit(add("warm"))
    async with lane(dsn) as (pipeline, _):
        task = asyncio.create_task(pipeline.submit_all([add("a", id=f"i{n}", kafka=True) for n in range(50)]))
        await asyncio.sleep(at * 0.0015)
    results = (await asyncio.gather(task, return_exceptions=True))[0]
    found = (await values(dsn)).get("a", 0)
    assert found in (0, 50)
    if isinstance(results, list) and isinstance(results[0], Answer):
        assert found == 50
    assert await scalar(dsn, "SELECT count(*) FROM inbox") == found
    assert await scalar(dsn, "SELECT count(*) FROM outbox") == found + 1
    async with lane(dsn) as (pipeline, _):
        again = await pipeline.submit_all([add("a", id=f"i{n}", kafka=True) for n in range(50)])
    assert kinds(again) == ["Answer"] * 50
    assert (await values(dsn))["a"] == 50
    connection = await asyncpg.connect(dsn)
    assert (
        await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'"
        )
        == 0
    )
    await connection.close()
