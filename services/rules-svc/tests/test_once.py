"""Each event and rule has one effect: under duplicates, shuffles, two replicas, and lost answers."""

import asyncio
import random

import pytest
from kernel_contracts import message_types as types
from kernel_runtime.command import Answer
from kernel_runtime.problem import Problem

from .lane import Lane, lane, rows, sent
from .pcb import pcb, waiting

START = {"do": "start", "service": "s", "key": "=event.data.n"}


async def define_all(one: Lane) -> None:
    await one.define("starts", event={"type": "n"}, when="event.data.n % 2 == 0", instructions=[START])
    await one.define(
        "emits", event={"type": "n"}, order=1, instructions=[{"do": "emit", "type": "m", "data": "=event.data"}]
    )
    await one.define("fails", event={"type": "n"}, when="event.data.zz > 1", instructions=[START])


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_duplicates_and_shuffles_over_two_replicas(database: str, seed: int) -> None:
    shuffle = random.Random(seed)
    async with lane(database) as one, lane(database) as two:
        await define_all(one)
        ids = list(range(60)) * 4
        shuffle.shuffle(ids)
        cuts = sorted(shuffle.sample(range(len(ids)), 9))
        parts = [ids[a:b] for a, b in zip([0, *cuts], [*cuts, len(ids)], strict=True)]
        async with asyncio.TaskGroup() as group:
            for part in parts:
                replica = shuffle.choice((one, two))
                group.create_task(replica.submit(*(replica.event("n", {"n": n}, id=f"{n}") for n in part)))
        process = await sent(database, "process-commands")
        assert sorted(int(each["body"]["key"]) for each in process) == list(range(0, 60, 2))
        assert len({each["headers"]["ce_id"] for each in process}) == 30
        business = await sent(database, "business-events")
        assert sorted(each["body"]["n"] for each in business) == list(range(60))
        [counts] = await rows(
            database, "SELECT count(*) AS all, count(DISTINCT (rule, event_id)) AS distinct FROM firing"
        )
        assert counts["all"] == counts["distinct"] >= 90


async def test_a_process_event_that_comes_again_does_nothing(database: str) -> None:
    async with lane(database) as one:
        await one.define("r", event={"type": types.PROCESS_READY}, instructions=[{"do": "suspend"}])
        for _ in range(2):
            events = [one.process_event(types.PROCESS_READY, pcb(pid, 2, "READY")) for pid in (1, 2, 1)]
            await one.submit(*events)
        assert [each["body"] for each in await sent(database, "process-commands")] == [{"pid": 1}, {"pid": 2}]
        assert one.process_event(types.PROCESS_RUNNING, pcb(1, 3, "RUNNING")) is None


async def test_effects_have_the_same_ids_wherever_they_are_made(database: str, new_database: object) -> None:
    ids = []
    for dsn in (database, await new_database("rules_svc")):  # type: ignore[operator]
        async with lane(dsn) as one:
            await define_all(one)
            await one.submit(one.event("n", {"n": 2}, id="same"))
            ids.append(
                [
                    each["headers"]["ce_id"]
                    for topic in ("process-commands", "business-events")
                    for each in await sent(dsn, topic)
                ]
            )
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 2


async def test_the_same_id_of_another_source_or_tenant_is_another_event(database: str) -> None:
    async with lane(database) as one:
        await define_all(one)
        await one.submit(one.event("n", {"n": 1}, id="1", source="/a"), one.event("n", {"n": 2}, id="1", source="/b"))
        assert len(await sent(database, "business-events")) == 2


async def test_a_rule_is_at_work_from_its_put_on_within_one_batch(database: str) -> None:
    async with lane(database) as one, lane(database) as two:
        await one.submit(one.event("n", {"n": 2}, id="before"))
        results = await asyncio.gather(
            one.define("r", event={"type": "n"}, instructions=[START]), one.submit(one.event("n", {"n": 4}, id="after"))
        )
        assert results[0].status == 201
        await two.submit(two.event("n", {"n": 6}, id="elsewhere"))
        assert [each["body"]["key"] for each in await sent(database, "process-commands")] == ["4", "6"]
        assert two.memory.book.version == one.memory.book.version == 1


async def test_a_rule_that_always_fails_does_not_flood_its_record(database: str) -> None:
    async with lane(database, failures_kept=4) as one:
        await one.define("r", event={"type": "n"}, when="event.data.zz", instructions=[START])
        await one.submit(*(one.event("n", {}) for _ in range(100)))
        [kept] = await rows(database, "SELECT count(*) AS n, min(detail) AS detail FROM firing")
        assert kept["n"] == 10
        assert "/when" in kept["detail"]
        assert len(await sent(database, "rule-events")) == 10
        await one.ticker.tidy()
        [kept] = await rows(database, "SELECT count(*) AS n FROM firing")
        assert kept["n"] == 4


async def test_what_is_old_is_forgotten(database: str) -> None:
    async with lane(database, firing_days=3) as one:
        await define_all(one)
        await one.submit(one.event("n", {"n": 2}, id="old"), one.event("n", {"n": 4}, id="new"))
        old = "at = at - interval '4 days' WHERE "
        await rows(database, f"UPDATE event SET until = until - interval '4 days', {old} id = 'old'")
        await rows(database, f"UPDATE firing SET {old} event_id = 'old'")
        await one.ticker.expire()
        await one.ticker.tidy()
        assert [row["id"] for row in await rows(database, "SELECT id FROM event")] == ["new"]
        assert {row["event_id"] for row in await rows(database, "SELECT event_id FROM firing")} == {"new"}


async def test_two_events_for_one_waiter_wake_it_once(database: str) -> None:
    async with lane(database) as one, lane(database) as two:
        await one.submit(one.process_event(types.PROCESS_WAITING, waiting(1, 3, "paid", "k")))
        async with asyncio.TaskGroup() as group:
            for replica in (one, two):
                events = [replica.event("paid", {"n": n}, subject="k", id=f"{id(replica)}-{n}") for n in range(10)]
                group.create_task(replica.submit(*events))
        assert len(await sent(database, "process-commands")) == 1
        correlated = await rows(database, "SELECT id FROM event WHERE cardinality(correlated) > 0")
        assert len(correlated) == 1


async def test_a_wait_of_another_tenant_or_key_or_type_is_not_met(database: str) -> None:
    async with lane(database) as one:
        waits = [waiting(1, 3, "paid", "other"), waiting(2, 3, "unpaid", "k")]
        await one.submit(*(one.process_event(types.PROCESS_WAITING, body) for body in waits))
        await rows(database, "INSERT INTO wait VALUES (3, 1, 'other', 'paid', 'k', false, NULL, now())")
        await one.submit(one.event("paid", {}, subject="k"))
        assert await sent(database, "process-commands") == []


async def test_a_process_can_wait_for_an_event_of_the_kernel_itself(database: str) -> None:
    async with lane(database) as one, lane(database) as two:
        await one.submit(one.process_event(types.PROCESS_WAITING, waiting(1, 3, types.PROCESS_TERMINATED, "7")))
        assert two.process_event(types.PROCESS_TERMINATED, pcb(7, 4, "TERMINATED")) is None
        await two.ticker.follow(everything=False)
        await two.submit(*(two.process_event(types.PROCESS_TERMINATED, pcb(pid, 4, "TERMINATED")) for pid in (6, 7)))
        [wake] = await sent(database, "process-commands")
        assert wake["body"]["pid"] == 1
        assert wake["body"]["context"]["event"]["data"]["pid"] == 7


async def test_a_wait_ends_when_its_process_moves_on_even_on_another_replica(database: str) -> None:
    async with lane(database) as one, lane(database) as two:
        await one.submit(one.process_event(types.PROCESS_WAITING, waiting(1, 3, "paid", "k")))
        await two.ticker.follow(everything=False)
        await two.submit(two.process_event(types.PROCESS_READY, pcb(1, 4, "READY", from_state="WAITING")))
        assert await rows(database, "SELECT pid FROM wait") == []
        await one.ticker.follow(everything=True)
        assert one.memory.waiting == set()
        # What came before, delivered once more, does not bring it back as anything that could be woken for long.
        await one.submit(one.event("paid", {}, subject="k"))
        assert await sent(database, "process-commands") == []


@pytest.mark.parametrize(("status", "waits"), [(409, 0), (422, 1)])
async def test_a_wake_that_was_refused(database: str, status: int, waits: int) -> None:
    async with lane(database) as one:
        await one.submit(one.process_event(types.PROCESS_WAITING, waiting(1, 3, "paid", "k")))
        await one.submit(one.event("paid", {}, subject="k"))
        [wake] = await sent(database, "process-commands")
        id = wake["headers"]["ce_id"]
        refusal = {
            "pid": 1,
            "command_id": id,
            "command": types.WAKE_PROCESS,
            "title": "No",
            "detail": "no",
            "status": status,
        }
        await one.submit(one.process_event(types.COMMAND_REFUSED, refusal, causation=id))
        found = await rows(database, "SELECT wake FROM wait")
        assert len(found) == waits
        assert all(row["wake"] is None for row in found)
        assert [row["refused"] for row in await rows(database, "SELECT refused FROM outcome")] == ["no"]


async def test_at_the_end_of_a_chain_nobody_is_woken(database: str) -> None:
    async with lane(database) as one:
        await one.define("r", event={"type": "paid"}, instructions=[START])
        await one.submit(one.process_event(types.PROCESS_WAITING, waiting(1, 3, "paid", "k")))
        await one.submit(one.event("paid", {"n": 1}, subject="k", id="deep", depth=64))
        assert await sent(database, "process-commands") == []
        [event] = await rows(database, "SELECT stopped, correlated FROM event")
        assert (event["stopped"], event["correlated"]) == (["r"], [])


async def test_a_refused_event_is_kept_and_refused_again(database: str) -> None:
    async with lane(database) as one:
        await one.define_type("paid", schema={"type": "object", "required": ["n"]}, key="=event.data.n")
        results = await one.submit(
            one.event("paid", {}, id="1"), one.event("paid", {"n": 1}, id="2"), one.event("paid", {}, id="1")
        )
        assert isinstance(results[0], Problem)
        assert isinstance(results[1], Answer)
        found = await rows(database, "SELECT id, refused FROM event ORDER BY id")
        assert [(row["id"], row["refused"] is None) for row in found] == [("1", False), ("2", True)]
