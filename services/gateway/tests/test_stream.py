"""The live stream on a real Kafka: filters, tenants, going on without a gap, slow clients, tickets."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from confluent_kafka import Producer
from gateway.live.filters import PROCESSES, RESOURCES
from kernel_testing import eventually

RUNNING = "kernel.process.running.v1"


class Bus:
    """Publishes process events as process-svc would."""

    def __init__(self, bootstrap: str, topics: dict[str, str]) -> None:
        self.topics = topics
        self._producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "linger.ms": 5})
        self._count = 0

    def tell(self, pid: int, /, *, tenant: str = "main", topic: str = PROCESSES, **data: Any) -> None:
        self._count += 1
        body = {"pid": pid, "tenant": tenant, "version": self._count, "state": "RUNNING", "service": "assess", **data}
        if topic == RESOURCES:
            body = data
        headers = {"ce_specversion": "1.0", "ce_id": f"{pid}.{self._count}", "ce_type": RUNNING, "ce_tenant": tenant}
        headers |= {"ce_source": "/t", "ce_time": "2026-11-25T09:00:00Z"}
        self._producer.produce(self.topics[topic], json.dumps(body), str(pid), headers=list(headers.items()))
        self._producer.poll(0)

    async def flush(self) -> None:
        assert await asyncio.to_thread(self._producer.flush, 20) == 0


@pytest_asyncio.fixture
async def bus(kafka: str, topics: Any) -> Bus:
    return Bus(kafka, {PROCESSES: await topics("process-events"), RESOURCES: await topics("resource-events")})


@pytest_asyncio.fixture
async def live(start: Any, bus: Bus, kafka: str, topics: Any) -> Any:
    return await start(kafka_bootstrap=kafka, topic_prefix=topics.prefix, stream_ring=500, stream_queue=400)


@contextlib.asynccontextmanager
async def events(gateway: Any, query: str = "", headers: dict[str, str] | None = None) -> AsyncIterator[Any]:
    """Server-sent events: yields `take(n)`, which gives the next n messages."""
    url = f"{gateway.url}/v1/stream?{query}"
    async with gateway.http.get(url, headers=gateway.bearer() if headers is None else headers) as answer:
        assert answer.status == 200, await answer.text()
        assert answer.content_type == "text/event-stream"

        async def line() -> str:
            async with asyncio.timeout(15):
                found = await answer.content.readline()
            assert found, "the stream has ended"
            return bytes(found).decode().rstrip("\n")

        while await line():
            pass  # where it stands

        async def take(count: int) -> list[Any]:
            found: list[Any] = []
            members: dict[str, str] = {}
            while len(found) < count:
                name, _, value = (await line()).partition(": ")
                members[name] = value
                if name == "data":
                    found.append(json.loads(value))
                    assert found[-1]["id"] == members["id"]
            return found

        yield take


def pids(messages: list[Any]) -> list[int]:
    return [message["data"]["pid"] for message in messages]


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", {1, 2, 3, 4}),
        ("process=2", {2}),
        ("tree=1", {1, 2}),
        ("operator=anna", {2, 3}),
        ("queue=q", {3}),
        ("service=decide", {4}),
        ("entity=permit:7", {1}),
        ("entity=permit", {1, 4}),
        ("entity=citizen:7", {4}),
        ("operator=anna&queue=q", {3}),
    ],
)
async def test_filters(live: Any, bus: Bus, query: str, wanted: set[int]) -> None:
    async with events(live, query) as take:
        bus.tell(1, root=1, entity={"type": "permit", "id": "7"})
        bus.tell(2, root=1, operator="anna")
        bus.tell(3, operator="anna", queue="q")
        permit, citizen = {"type": "permit", "id": "8"}, {"type": "citizen", "id": "7", "role": "applicant"}
        bus.tell(4, service="decide", entity=permit, entities=[{**permit, "role": "subject"}, citizen])
        bus.tell(
            5, tenant="blue", root=1, operator="anna", queue="q", service="decide", entity={"type": "permit", "id": "7"}
        )
        await bus.flush()
        messages = await take(len(wanted))
    assert set(pids(messages)) == wanted
    assert set(messages[0]) == {"id", "type", "time", "data"}
    assert (messages[0]["type"], messages[0]["time"]) == (RUNNING, "2026-11-25T09:00:00Z")


async def test_head_ends_at_once(live: Any) -> None:
    async with live.http.head(f"{live.url}/v1/stream", headers=live.bearer()) as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")


async def test_resources_have_a_stream_of_their_own(live: Any, bus: Bus) -> None:
    async with events(live, "resource=room") as take:
        bus.tell(1, topic=RESOURCES, pid=1, allocations=[{"resource": "hall"}])
        bus.tell(2, topic=RESOURCES, pid=2, allocations=[{"resource": "anna"}, {"resource": "room"}])
        bus.tell(3, topic=RESOURCES, id="room", capacity=1)
        await bus.flush()
        messages = await take(2)
    assert sorted(message["data"].get("pid", 0) for message in messages) == [0, 2]


async def test_going_on_after_an_id_misses_nothing_and_repeats_nothing(live: Any, bus: Bus) -> None:
    """From the ring, from Kafka where the ring has moved on, and over more than one reconnect, while events keep coming."""
    total = 3_000
    async with events(live, "service=assess") as take:
        bus.tell(0)
        await bus.flush()
        (first,) = await take(1)
    seen: list[Any] = []

    async def publish() -> None:
        for pid in range(1, total + 1):
            bus.tell(pid, service="assess" if pid % 3 else "other")
            if pid % 100 == 0:
                await bus.flush()

    publishing = asyncio.ensure_future(publish())
    wanted = [pid for pid in range(1, total + 1) if pid % 3]
    after, round = first["id"], 0
    while len(seen) < len(wanted):
        headers = live.bearer() | ({"last-event-id": after} if round % 2 else {})
        query = "service=assess" if round % 2 else f"service=assess&after={after}"
        async with events(live, query, headers) as take:
            got = await take(min(400, len(wanted) - len(seen)))
        seen += got
        after, round = got[-1]["id"], round + 1
        await asyncio.sleep(0.1)
    await publishing
    assert sorted(pids(seen)) == wanted


async def test_another_replica_goes_on_where_one_stopped(
    live: Any, start: Any, bus: Bus, kafka: str, topics: Any
) -> None:
    async with events(live) as take:
        bus.tell(1)
        await bus.flush()
        (first,) = await take(1)
    for pid in range(2, 50):
        bus.tell(pid)
    await bus.flush()
    other = await start(kafka_bootstrap=kafka, topic_prefix=topics.prefix)
    async with events(other, f"after={first['id']}") as take:
        assert sorted(pids(await take(48))) == list(range(2, 50))


async def test_thrown_from_replica_to_replica_while_events_come(
    live: Any, start: Any, bus: Bus, kafka: str, topics: Any
) -> None:
    """Records and the ends of partitions arrive in one batch: neither may overtake the other."""
    gateways = [live, await start(kafka_bootstrap=kafka, topic_prefix=topics.prefix)]
    total = 100
    seen: list[Any] = []
    publishing: asyncio.Task[None] | None = None

    async def publish() -> None:
        for pid in range(1, total + 1):
            bus.tell(pid)
            await bus.flush()
            await asyncio.sleep(0.005)

    turn, query = 0, ""
    while len(seen) < total:
        async with events(gateways[turn % 2], query) as take:
            publishing = publishing or asyncio.ensure_future(publish())
            seen += await take(min(7, total - len(seen)))
        turn, query = turn + 1, f"after={seen[-1]['id']}"
        gateways[turn % 2].gateway.hub.feeds[PROCESSES].stop("so that it has to read from Kafka")
    assert publishing is not None
    await publishing
    assert sorted(pids(seen)) == list(range(1, total + 1))


async def test_an_id_that_is_not_of_this_stream(live: Any) -> None:
    for after, status in (("x", 422), ("q1.2.3.4", 422), ("r0.0.0.0", 422), ("p1.2", 410), ("p9.9.9.999999", 410)):
        async with live.http.get(f"{live.url}/v1/stream?process=1&after={after}", headers=live.bearer()) as answer:
            assert answer.status == status, after
            assert answer.content_type == "application/problem+json"
    for query in ("process=x", "entity=", "process=0", "resource=a&queue=q", "queue="):
        async with live.http.get(f"{live.url}/v1/stream?{query}", headers=live.bearer()) as answer:
            assert answer.status == 422, query


async def test_websocket(live: Any, bus: Bus) -> None:
    async with live.http.ws_connect(f"{live.url}/v1/stream", headers=live.bearer()) as socket:
        bus.tell(1, queue="q")
        await bus.flush()
        await socket.send_json({"subscribe": {"queue": "q"}})
        first = await socket.receive_json(timeout=10)
        assert first["data"]["pid"] == 1, "what came after connecting and before subscribing is not missed"
        await socket.send_json({"subscribe": {"process": 3}, "ack": True})
        assert (await socket.receive_json(timeout=10))["type"] == "kernel.stream.subscribed.v1"
        for bad in ({"subscribe": {"nonsense": 1}}, {"subscribe": 3}, [], {"subscribe": {"resource": "a"}}):
            await socket.send_json(bad)
            assert (await socket.receive_json(timeout=10))["type"] == "kernel.stream.error.v1"
        await socket.send_str("{")
        assert (await socket.receive_json(timeout=10))["type"] == "kernel.stream.error.v1"
        bus.tell(2)
        bus.tell(3)
        await bus.flush()
        assert (await socket.receive_json(timeout=10))["data"]["pid"] == 3
    bus.tell(4, queue="q")
    await bus.flush()
    url = f"{live.url}/v1/stream?queue=q&after={first['id']}"
    async with live.http.ws_connect(url, headers=live.bearer()) as socket:
        assert (await socket.receive_json(timeout=10))["data"]["pid"] == 4


async def test_a_websocket_needs_a_token(live: Any) -> None:
    for headers in ({}, {"authorization": "Bearer x"}):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await live.http.ws_connect(f"{live.url}/v1/stream", headers=headers)
        assert refused.value.status == 401
    async with live.http.get(f"{live.url}/v1/stream?access_token={live.issuer.token('admin')}") as answer:
        assert answer.status == 401


async def test_a_ticket_opens_one_stream_once_on_any_replica(
    live: Any, start: Any, bus: Bus, kafka: str, topics: Any
) -> None:
    other = await start(kafka_bootstrap=kafka, topic_prefix=topics.prefix)
    async with live.http.post(f"{live.url}/v1/stream:ticket", headers=live.bearer("viewer")) as answer:
        assert answer.status == 201
        assert answer.headers["cache-control"] == "no-store"
        ticket = (await answer.json())["ticket"]
    async with events(other, f"ticket={ticket}", headers={}) as take:
        bus.tell(1)
        await bus.flush()
        assert pids(await take(1)) == [1]
    for gateway in (live, other):
        async with gateway.http.get(f"{gateway.url}/v1/stream?ticket={ticket}") as answer:
            assert answer.status == 401
    async with live.http.post(f"{live.url}/v1/stream:ticket", headers=live.bearer("viewer")) as answer:
        ticket = (await answer.json())["ticket"]
    async with live.gateway.database.connection() as connection:
        assert (
            await connection.fetchval("SELECT count(*) FROM ticket WHERE principal::text LIKE '%' || $1 || '%'", ticket)
            == 0
        )
        await connection.execute("UPDATE ticket SET expires_at = clock_timestamp() - interval '1 second'")
    async with live.http.get(f"{live.url}/v1/stream?ticket={ticket}") as answer:
        assert answer.status == 401


async def test_a_mere_operator_sees_its_own_and_what_its_roles_allow(live: Any, bus: Bus) -> None:
    live.services.answer("resource-svc", "GET", "/v1/operators/anna", 200, {"id": "anna", "roles": ["clerk"]})
    demand = {"type": "operator", "roles": ["clerk"], "units": 1}
    async with events(live, "", live.bearer("operator", operator="anna")) as take:
        bus.tell(1, state="READY", demands=[demand])
        bus.tell(2, state="READY", demands=[{**demand, "roles": ["notary"]}])
        bus.tell(3, state="READY", demands=[{**demand, "resource": "bob"}])
        bus.tell(4, operator="bob", context={"secret": True})
        bus.tell(5, operator="anna")
        await bus.flush()
        messages = await take(2)
        assert set(pids(messages)) == {1, 5}
        bus.tell(1, operator="bob", context={"secret": True})
        await bus.flush()
        (gone,) = await take(1)
        assert set(gone["data"]) == {"pid", "version", "state"}
        bus.tell(1, operator="bob")
        bus.tell(1, operator="anna")
        await bus.flush()
        (own,) = await take(1)
        assert own["data"]["operator"] == "anna"


async def test_a_slow_client_is_cut_off_and_the_others_are_not(live: Any, bus: Bus) -> None:
    url = f"{live.url}/v1/stream?queue=q"
    async with (
        live.http.ws_connect(url, headers=live.bearer(), max_msg_size=0) as slow,
        events(live, "queue=q") as take,
    ):
        slow._reader._protocol.pause_reading()
        for start in range(1, 4_001, 100):
            for pid in range(start, start + 100):
                bus.tell(pid, queue="q", context={"pad": "x" * 3_000})
            await bus.flush()
            assert sorted(pids(await take(100))) == list(range(start, start + 100))
        await eventually(lambda: live.gateway.hub.clients == 1, timeout=15)


async def test_an_ended_token_ends_the_stream(live: Any, bus: Bus) -> None:
    import time

    token = live.bearer("viewer", exp=int(time.time()) - 58)
    async with live.http.ws_connect(f"{live.url}/v1/stream", headers=token) as socket:
        message = await socket.receive(timeout=10)
        assert message.type == aiohttp.WSMsgType.CLOSE
        assert message.data == 1008
        assert "token" in message.extra


async def test_a_quiet_feed_stops_and_a_stopping_gateway_tells_its_clients(live: Any, bus: Bus) -> None:
    async with live.http.ws_connect(f"{live.url}/v1/stream?queue=q", headers=live.bearer()) as socket:
        feed = live.gateway.hub.feeds[PROCESSES]
        await eventually(lambda: feed.listeners == 1)
        feed.stop("the topic was made anew")
        message = await socket.receive(timeout=10)
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1013)
    assert feed.end == []
    async with events(live) as take:
        bus.tell(1)
        await bus.flush()
        assert pids(await take(1)) == [1]
