"""Events that come before their wait are kept, meet whom they are for, once, and tell their sender what became of them."""

import asyncio
import random
from typing import Any

import asyncpg
import pytest
from kernel_contracts import message_types as types
from kernel_runtime.command import Answer
from kernel_runtime.problem import Problem
from rules_svc import fsck
from rules_svc.received import event_key
from rules_svc.store import reads

from .lane import Lane, lane, rows, sent
from .pcb import pcb, waiting

NOW = "2100-01-01T00:00:00+00:00"
"""Of a process that has begun to wait after everything that was told."""


async def tell(one: Lane, id: str, key: str | None = "k", **extra: Any) -> Any:
    subject = {} if key is None else {"subject": key}
    [result] = await one.submit(one.event("paid", {"id": id}, id=id, **subject, **extra))
    return result


def waits(one: Lane, pid: int, version: int = 2, key: str | None = "k", **more: Any) -> Any:
    return one.process_event(types.PROCESS_WAITING, waiting(pid, version, "paid", key) | more)


async def begin(one: Lane, *pids: int, **more: Any) -> None:
    await one.submit(*(waits(one, pid, **more) for pid in pids))


async def woken(dsn: str) -> list[tuple[int, int, str]]:
    """(pid, version, id of the event) of each wake."""
    return [
        (each["body"]["pid"], each["body"]["expected_version"], each["body"]["context"]["event"]["id"])
        for each in await sent(dsn, "process-commands")
    ]


async def became(one: Lane, id: str) -> Any:
    async with one.database.connection() as connection:
        return await reads.event(connection, event_key("main", "/shop", id))


async def sound(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        assert [check for check in (await fsck.checks(connection))["checks"] if check["breaches"]] == []
    finally:
        await connection.close()


async def go_on(one: Lane) -> None:
    while await one.ticker.spread():
        pass


async def test_an_event_before_its_wait_is_kept_and_met(database: str) -> None:
    async with lane(database) as one:
        await tell(one, "a")
        assert (await became(one, "a"))["buffered_until"] is not None
        await begin(one, 1, 2)
        await begin(one, 3, key="other")
        assert await woken(database) == [(1, 2, "a"), (2, 2, "a")]
        assert (await became(one, "a"))["correlated"] == [1, 2]
        # The same process, woken by it, waits again: not for the same event twice.
        await move(one, 1, 3, "READY", "a")
        await begin(one, 1, version=5)
        assert len(await woken(database)) == 2
        await tell(one, "b")
        assert (await woken(database))[2:] == [(1, 5, "b")]
        await sound(database)


async def move(one: Lane, pid: int, version: int, state: str, event: str | None = None, **more: Any) -> None:
    """Its next version; with `event`, by the wake that the event has sent."""
    ids = {
        (each["body"]["pid"], each["body"]["expected_version"], each["body"]["context"]["event"]["id"]): each[
            "headers"
        ]["ce_id"]
        for each in await sent(one.settings.database_url.get_secret_value(), "process-commands")
    }
    kind = {"READY": types.PROCESS_READY, "SUSPENDED": types.PROCESS_SUSPENDED, "TERMINATED": types.PROCESS_TERMINATED}[
        state
    ]
    cause = None if event is None else ids[pid, version - 1, event]
    await one.submit(one.process_event(kind, pcb(pid, version, state, **more), causation=cause))


@pytest.mark.parametrize(
    ("mode", "before", "after"),
    [
        ("all", [1, 2, 3], [1, 2, 3]),
        ("first", [1, 2], [3]),
        ("one", [1], [3]),
    ],
)
async def test_whom_an_event_meets(database: str, mode: str, before: list[int], after: list[int]) -> None:
    async with lane(database) as one:
        await one.define_type("paid", meets=mode)
        await begin(one, 1, 2)
        await tell(one, "a")
        await begin(one, 3)
        assert (await became(one, "a"))["correlated"] == before
        await tell(one, "b", key="later")
        await begin(one, 3, version=4, key="later")
        await begin(one, 4, key="later")
        found = await became(one, "b")
        assert found["correlated"] == [3, 4] if mode == "all" else [3]
        assert (found["buffered_until"] is None) is (mode != "all")
        await sound(database)
        assert after


async def test_without_a_key_it_is_the_next_one(database: str) -> None:
    async with lane(database) as one:
        await tell(one, "old", key=None)
        await begin(one, 1, key=None, at=NOW)
        assert await woken(database) == []
        await begin(one, 2, key=None)
        assert await woken(database) == [(2, 2, "old")]
        await tell(one, "new")
        assert (await woken(database))[1:] == [(1, 2, "new")]
        await sound(database)


async def test_how_long_it_is_kept(database: str) -> None:
    async with lane(database) as one:
        await one.define_type("paid", ttl="PT0S")
        await tell(one, "gone")
        await tell(one, "own", ttl="PT1H")
        await begin(one, 1)
        assert await woken(database) == [(1, 2, "own")]
        gone = await became(one, "gone")
        assert (gone["buffered_until"], gone["expired"], gone["correlated"]) == (None, False, [])
        assert isinstance(await tell(one, "bad", ttl="soon"), Problem)
        assert (await became(one, "bad"))["refused"]["errors"][0]["pointer"] == "/ttl"
        assert isinstance(await tell(one, "far", ttl="P31D"), Problem)
        await tell(one, "short", key="z", ttl="PT0.05S")
        await asyncio.sleep(0.06)
        assert (await became(one, "short"))["expired"] is True
        await begin(one, 2, key="z")
        assert len(await woken(database)) == 1
        await one.ticker.expire()
        [row] = await rows(database, "SELECT until, wake, expired FROM event WHERE id = 'short'")
        assert tuple(row) == (None, None, True)
        await sound(database)


async def test_what_its_process_did_not_take_is_for_the_next_one(database: str) -> None:
    async with lane(database) as one:
        await one.define_type("paid", meets="one")
        await begin(one, 1, 2)
        await tell(one, "a")
        await move(one, 1, 3, "TERMINATED")
        await go_on(one)
        assert await woken(database) == [(1, 2, "a"), (2, 2, "a")]
        assert (await became(one, "a"))["correlated"] == [2]
        await move(one, 2, 3, "READY")
        await go_on(one)
        found = await became(one, "a")
        assert found["correlated"] == []
        assert found["buffered_until"] is not None
        await begin(one, 3)
        await begin(one, 4)
        await move(one, 3, 3, "READY", "a")
        await go_on(one)
        assert (await woken(database))[2:] == [(3, 2, "a")]
        assert (await became(one, "a"))["correlated"] == [3]
        await sound(database)


async def test_what_its_process_can_not_take_does_not_come_again(database: str) -> None:
    async with lane(database) as one:
        await one.define_type("paid", meets="one")
        await begin(one, 1)
        await tell(one, "a")
        [wake] = await sent(database, "process-commands")
        refusal = {"pid": 1, "command": "wake", "title": "Content too large", "detail": "too large", "status": 413}
        told = refusal | {"command_id": wake["headers"]["ce_id"]}
        await one.submit(one.process_event(types.COMMAND_REFUSED, told, causation=wake["headers"]["ce_id"]))
        await go_on(one)
        assert len(await woken(database)) == 1
        assert (await became(one, "a"))["correlated"] == [1]
        await tell(one, "b")
        assert (await woken(database))[1:] == [(1, 2, "b")]
        await sound(database)


async def test_a_suspended_process_is_told_at_once_and_takes_it(database: str) -> None:
    async with lane(database) as one:
        await begin(one, 1)
        await move(one, 1, 3, "SUSPENDED", waiting_for={"event": {"type": "paid", "key": "k"}})
        await tell(one, "a")
        assert await woken(database) == [(1, 3, "a")]
        await move(one, 1, 4, "SUSPENDED", "a", waiting_for={"event": {"type": "paid", "key": "k"}, "met": True})
        assert await rows(database, "SELECT pid FROM wait") == []
        assert (await became(one, "a"))["correlated"] == [1]
        await sound(database)


async def test_two_thousand_wait_for_one_event(database: str) -> None:
    async with lane(database) as one:
        for first in range(0, 2000, 500):
            await begin(one, *range(first + 1, first + 501))
        await tell(one, "a")
        assert len(await woken(database)) == 500
        async with lane(database) as two:
            await asyncio.gather(go_on(one), go_on(two))
        found = await woken(database)
        assert sorted(pid for pid, _, _ in found) == list(range(1, 2001))
        assert len((await became(one, "a"))["correlated"]) == 2000
        assert await rows(database, "SELECT FROM spread") == []
        await sound(database)


@pytest.mark.parametrize(("seed", "mode"), [(1, "all"), (2, "one"), (3, "all"), (4, "one")])
async def test_in_whatever_order_they_are_told_to_two_replicas(database: str, seed: int, mode: str) -> None:
    """Events and waits shuffled, twice each: every wait that can meet an event has met one, and each event as often as it may."""
    shuffle = random.Random(seed)
    async with lane(database) as one, lane(database) as two:
        await one.define_type("paid", meets=mode)
        keys = [f"k{n % 7}" for n in range(60)]
        news: list[tuple[str, int]] = [("event", n) for n in range(60)] * 2 + [("wait", n) for n in range(60)] * 2
        shuffle.shuffle(news)

        async def part(replica: Lane, some: list[tuple[str, int]]) -> None:
            for each in range(0, len(some), 7):
                commands = [
                    replica.event("paid", {}, id=f"e{n}", subject=keys[n])
                    if kind == "event"
                    else waits(replica, n + 1, key=keys[n])
                    for kind, n in some[each : each + 7]
                ]
                assert all(isinstance(result, Answer) for result in await replica.submit(*commands))

        await asyncio.gather(*(part(shuffle.choice((one, two)), news[start::4]) for start in range(4)))
        await go_on(one)
        found = await woken(database)
        assert sorted(pid for pid, _, _ in found) == list(range(1, 61))
        if mode == "one":
            assert len({event for _, _, event in found}) == 60
        correlated = await rows(database, "SELECT id, correlated FROM event ORDER BY id")
        assert sorted((pid, row["id"]) for row in correlated for pid in row["correlated"]) == sorted(
            (pid, event) for pid, _, event in found
        )
        await sound(database)
