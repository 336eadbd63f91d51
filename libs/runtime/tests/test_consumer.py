"""From Kafka through the lane: nothing lost, nothing done twice that is remembered, and what becomes of rubbish."""

import asyncio
from functools import partial

import pytest
from bus import HEADERS, Running, Sender, headers_of, read_all, running, settings
from counter_service import ADD_ONCE, BREAKS, REFUSED, Add
from kernel_contracts.envelope import Envelope, Headers
from kernel_runtime import dead_letters
from kernel_runtime.consumer import Route
from kernel_testing import eventually
from kernel_testing.topics import TestTopics
from lane import scalar, values

MAIN = dead_letters.Tenancy("main", "main")


@pytest.fixture
async def bus(kafka: str, topics: TestTopics) -> Sender:
    await topics.all()
    return Sender(kafka, topics.prefix + "process-commands")


async def test_commands_are_carried_out_and_told(dsn: str, kafka: str, topics: TestTopics, bus: Sender) -> None:
    for i in range(300):
        bus.add(f"n{i % 9}", traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01")
    bus.add("n0", REFUSED, id="unlucky")
    bus.flush()
    async with running(settings(dsn, kafka, topics)):
        await eventually(lambda: _has(dsn, 300))
        await eventually(lambda: _published(dsn))
    told = [headers_of(message) for message in read_all(kafka, topics.prefix + "process-events")]
    assert len(told) == 301
    changed = [each for each in told if each["ce_type"] == "test.counter.changed.v1"]
    assert {each["ce_depth"] for each in changed} == {"1"}
    assert all(each["ce_causationid"] == each["ce_correlationid"] for each in changed)
    assert {each["traceparent"] for each in changed} == {"00-" + "a" * 32 + "-" + "b" * 16 + "-01"}
    assert [each["ce_causationid"] for each in told if "refused" in each["ce_type"]] == ["unlucky"]


async def _has(dsn: str, total: int) -> bool:
    return sum((await values(dsn)).values()) == total


async def _published(dsn: str) -> bool:
    return bool(await scalar(dsn, "SELECT count(*) = 0 FROM outbox"))


async def test_every_message_twice_and_shuffled(dsn: str, kafka: str, topics: TestTopics, bus: Sender) -> None:
    for turn in range(3):
        for i in range(200):
            n = i if turn == 0 else (i * 77) % 200
            bus.add(f"n{n % 9}", id=f"id{n}", ce_type=ADD_ONCE)
    bus.add("end")
    bus.flush()
    async with running(settings(dsn, kafka, topics)):
        await eventually(lambda: _has(dsn, 201))
        await asyncio.sleep(1)
    assert await _has(dsn, 201)


RUBBISH = [
    (b"\xff\x00garbage", b"\xfe\x00", None, "ce_type is missing"),
    (b"", None, None, "ce_type is missing"),
    (None, None, {"ce_type": "test.counter.add.v1"}, "ce_specversion"),
    (b"{}", b"k", {"ce_type": "kernel.nonsense.v1"}, "is not one that process-commands carries"),
    (b"{}", b"k", {"ce_type": "\x00\x00"}, "is not one that process-commands carries"),
    (b"{}", b"k", {"ce_type": "test.counter.add.v1", "ce_specversion": "1.0"}, "headers are missing: ce_id, ce_source"),
    (b"{", b"k", {"body": "bad"}, "not JSON"),
    (b'{"name":"a","amount":"many"}', b"k", {"body": "bad"}, "/amount"),
    (b'{"name":"a","surprise":1}', b"k", {"body": "bad"}, "/surprise"),
    (b'{"name":"a","text":"\\u0000"}', b"k", {"body": "bad"}, "U+0000"),
    (b'{"name":"a","amount":99999999999999999999}', b"k", {"body": "bad"}, "64 bits"),
    (b"[" * 100_000, b"k", {"body": "bad"}, "nests deeper"),
    (b"{}", b"k", {"ce_id": "x" * 600}, "500 characters"),
    (b"{}", b"k", {"ce_depth": "-1"}, "must be a count"),
    (b"{}", b"k", {"ce_time": "yesterday"}, "RFC 3339"),
    (b"{}", b"k", {"ce_id": b"\xff\xfe"}, "not UTF-8"),
    (b"x" * 2_000_000, b"k", {"body": "bad"}, "not JSON"),
]


async def test_rubbish_becomes_dead_letters_and_the_rest_flows(
    dsn: str, kafka: str, topics: TestTopics, bus: Sender
) -> None:
    for value, key, headers, _ in RUBBISH:
        whole = headers and headers.keys() & {"body", "ce_id", "ce_depth", "ce_time"}
        base = {"ce_specversion": "1.0", "ce_id": "r", "ce_type": "test.counter.add.v1", "ce_source": "/test"}
        bus.raw(value, key, {**base, **headers} if whole else headers)
        bus.add("k")
    bus.flush()
    async with running(settings(dsn, kafka, topics)) as service:
        await eventually(lambda: _has(dsn, len(RUBBISH)))
        await eventually(lambda: scalar(dsn, f"SELECT count(*) = {len(RUBBISH)} FROM dead_letter"))
        await eventually(lambda: _published(dsn))
        async with service.parts.database.connection() as connection:
            letters = await dead_letters.listed(connection, MAIN, ["dead"], 100, None)
    assert len(letters) == len(RUBBISH)
    for _, _, _, reason in RUBBISH:
        assert any(reason in letter["reason"] for letter in letters), reason
    told = read_all(kafka, topics.prefix + "process-commands-dlq")
    assert len(told) == len(RUBBISH)
    assert all(headers_of(message)["kernel-dlq-consumer"] == "counter" for message in told)


async def test_poison_is_counted_in_the_database_and_then_given_up(
    dsn: str, kafka: str, topics: TestTopics, bus: Sender
) -> None:
    """Later ones of its key are parked in order; replay with an edited body lets them go."""
    told = settings(dsn, kafka, topics, attempts=4)
    bus.add("a", 1)
    bus.add("a", BREAKS)
    for amount in (2, 3, 4):
        bus.add("a", amount)
        bus.add("b", amount)
    bus.flush()
    async with running(told):
        await eventually(lambda: scalar(dsn, "SELECT count(*) FROM attempt WHERE count >= 2"))
    async with running(told) as service:
        await eventually(lambda: scalar(dsn, "SELECT count(*) = 4 FROM dead_letter"))
        await eventually(lambda: _has(dsn, 10))
        assert await values(dsn) == {"a": 1, "b": 9}
        bus.add("a", 5)
        bus.flush()
        await eventually(lambda: scalar(dsn, "SELECT count(*) = 4 FROM dead_letter WHERE state = 'parked'"))
        assert await scalar(dsn, "SELECT attempts FROM dead_letter WHERE state = 'dead'") == 4
        assert await scalar(dsn, "SELECT count(*) FROM attempt") == 0
        async with service.parts.database.connection() as connection:
            (letter,) = await dead_letters.listed(connection, MAIN, ["dead"], 10, None)
            assert "this amount breaks" in letter["reason"]
            edited = b'{"name":"a","amount":100}'
            assert await dead_letters.settle(connection, MAIN, letter["id"], replay=True, value=edited)
            assert not await dead_letters.settle(connection, MAIN, letter["id"], replay=True, value=edited)
        await eventually(lambda: _has(dsn, 1 + 9 + 100 + 2 + 3 + 4 + 5))
    amounts = await scalar(dsn, "SELECT array_agg(amount ORDER BY number) FROM done WHERE name = 'a'")
    assert amounts == [1, 100, 2, 3, 4, 5]


async def test_discard_lets_go_what_was_parked(dsn: str, kafka: str, topics: TestTopics, bus: Sender) -> None:
    """A second broken one among them stops what is behind it again."""
    for amount in (BREAKS, 2, BREAKS, 3):
        bus.add("a", amount)
    bus.flush()

    async def discard_one(service: Running, parked: int) -> None:
        open_letters = "SELECT array_agg(state ORDER BY id) FROM dead_letter WHERE state IN ('dead', 'parked')"

        async def all_there() -> bool:
            return bool(await scalar(dsn, open_letters) == ["dead", *["parked"] * parked])

        await eventually(all_there)
        async with service.parts.database.connection() as connection:
            (letter,) = await dead_letters.listed(connection, MAIN, ["dead"], 10, None)
            assert await dead_letters.settle(connection, MAIN, letter["id"], replay=False, value=None)

    async with running(settings(dsn, kafka, topics, attempts=1)) as service:
        await discard_one(service, parked=3)
        await eventually(lambda: _has(dsn, 2))
        await discard_one(service, parked=1)
        await eventually(lambda: _has(dsn, 5))


async def test_a_second_member_joins_and_leaves_and_nothing_is_lost(
    dsn: str, kafka: str, topics: TestTopics, bus: Sender
) -> None:
    sent = 0

    async def keep_sending() -> None:
        nonlocal sent
        while True:
            for _ in range(20):
                bus.add(f"n{sent % 40}", id=f"id{sent}", ce_type=ADD_ONCE)
                sent += 1
            bus.flush()
            await asyncio.sleep(0.02)

    async with running(settings(dsn, kafka, topics)):
        sending = asyncio.create_task(keep_sending())
        await eventually(lambda: scalar(dsn, "SELECT count(*) > 100 FROM done"))
        async with running(settings(dsn, kafka, topics, replica=2)) as second:
            await eventually(lambda: len(second.parts.consumers[0]._reader.seen) == 2, timeout=20)
        sending.cancel()
        await eventually(lambda: _has(dsn, sent), timeout=40)
    assert await scalar(dsn, "SELECT count(*) FROM done") == sent


async def test_stopped_in_the_middle_of_batches(dsn: str, kafka: str, topics: TestTopics, bus: Sender) -> None:
    for i in range(3000):
        bus.add(f"n{i % 40}", id=f"id{i}", ce_type=ADD_ONCE)
    bus.flush()
    for turn in range(6):
        async with running(settings(dsn, kafka, topics, batch_size=50)):
            await eventually(partial(scalar, dsn, f"SELECT count(*) > {turn * 200} FROM done"))
    async with running(settings(dsn, kafka, topics)):
        await eventually(lambda: _has(dsn, 3000), timeout=30)
    assert await scalar(dsn, "SELECT count(*) FROM done") == 3000


async def test_assigned_without_membership_goes_on_where_it_stopped(
    dsn: str, kafka: str, topics: TestTopics, bus: Sender
) -> None:
    for turn in range(3):
        for i in range(50):
            bus.add(f"n{i}", id=f"{turn}-{i}")
        bus.flush()
        async with running(settings(dsn, kafka, topics), consume=False) as service:
            consumer = service.parts.consumer(["process-commands"], {}, assign=True, group="alone")
            consumer._routes = service.parts.consumers[0]._routes
            task = asyncio.create_task(consumer.run())
            await eventually(partial(_has, dsn, 50 * (turn + 1)))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert not consumer.active
    assert await scalar(dsn, "SELECT count(*) FROM done") == 150


async def test_events_of_others_are_skipped_and_what_is_wanted_is_read(
    dsn: str, kafka: str, topics: TestTopics, bus: Sender
) -> None:
    """On a topic of events an unknown type is somebody else's; `wants` looks at headers, `parse` makes the body."""

    def parse(_: Envelope, headers: Headers, raw: bytes) -> Add:
        if not raw:
            raise ValueError("there is no body")
        return Add(name=raw.decode())

    routes = {
        "test.wanted.v1": Route("add", wants=lambda headers: headers.get("ce_color") == b"blue", parse=parse),
        "test.elsewhere.v1": Route("add", Add, topic="process-events"),
    }
    events = Sender(kafka, topics.prefix + "business-events")
    for number, (kind, color, body) in enumerate(
        (
            ("test.unknown.v1", "blue", b"unknown"),
            ("test.wanted.v1", "red", b"red"),
            ("test.elsewhere.v1", "blue", b'{"name":"elsewhere"}'),
            ("test.wanted.v1", "blue", b""),
            ("test.wanted.v1", "blue", b'"not a name/"'),
            ("test.wanted.v1", "blue", b"blue"),
        )
    ):
        headers = {**HEADERS, "ce_id": str(number), "ce_type": kind, "ce_color": color}
        events.raw(body, "k", headers)
    events.flush()
    async with running(settings(dsn, kafka, topics), consume=False) as service:
        consumer = service.parts.consumer(["business-events"], routes, group="events")
        reading = asyncio.create_task(consumer.run())
        await eventually(lambda: _has(dsn, 1), timeout=20)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    assert await values(dsn) == {"blue": 1}
    reasons = await scalar(dsn, "SELECT array_agg(reason ORDER BY id) FROM dead_letter")
    assert len(reasons) == 2
    assert reasons[0] == "there is no body"
    assert "/name" in reasons[1]
