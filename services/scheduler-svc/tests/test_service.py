"""The whole service on real Kafka and Postgres: what comes in, what is proposed, and that nothing is lost on the way."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest_asyncio
from kernel_contracts import message_types as types
from kernel_testing import eventually
from kernel_testing.topics import TestTopics

from .bus import CLERK, Others, Service

Start = Callable[..., Awaitable[Service]]


@pytest_asyncio.fixture
async def start(database: str, kafka: str, topics: TestTopics) -> AsyncIterator[Start]:
    await topics.all()
    started: list[Service] = []

    async def make(replica: int = 1) -> Service:
        started.append(await Service(database, kafka, topics.prefix, replica).start())
        return started[-1]

    yield make
    for each in started:
        each.kill()


@pytest_asyncio.fixture
async def others(kafka: str, topics: TestTopics, start: Start) -> AsyncIterator[Others]:
    made = Others(kafka, topics.prefix)
    yield made
    made.close()


async def scalar(database: str, sql: str) -> object:
    connection = await asyncpg.connect(database)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def test_the_way_of_a_process(start: Start, others: Others, database: str) -> None:
    service = await start()
    others.operator("anna", "clerk")
    others.ready(1, CLERK)
    told = await others.proposal("1.2.1")
    assert [proposal.candidates for proposal in told.proposals] == [["anna"]]
    assert told.process_version == 2
    others.grant(told, ("anna", 1, 2))
    others.event(types.PROCESS_RUNNING, 1, 3, dispatch_id="1.2.1")
    others.ready(2, CLERK)
    await others.quiet()
    others.event(types.PROCESS_TERMINATED, 1, 4, dispatch_id="1.2.1")
    await others.quiet()
    others.release(told, ("anna", 0, 3))
    second = await others.proposal("2.2.1")
    others.grant(second, ("anna", 1, 4))

    async def one_runs() -> bool:
        return await scalar(database, "SELECT string_agg(pid || state, ' ') FROM ready_item") == "2running"

    await eventually(one_runs)
    checks = (await service.call("GET", "/v1/fsck")).json()["checks"]
    assert len(checks) > 5
    assert all(check["breaches"] == 0 for check in checks)
    assert service.stop() == 0


async def test_a_denied_proposal_is_made_again_when_what_it_needs_is_free(start: Start, others: Others) -> None:
    service = await start()
    others.operator("anna", "clerk")
    others.ready(1, CLERK)
    told = await others.proposal("1.2.1")
    others.deny(told, ("anna", 1, 7))
    await others.quiet()
    why = (await service.call("GET", "/v1/processes/1/why")).json()
    assert (why["reason"], why["denials"], why["position"]) == ("no_capacity", 1, 1)
    others.operator("anna", "clerk", version=8, used=0)
    again = await others.proposal("1.2.2")
    assert again.process_version == 2


async def test_a_restart_goes_on_where_it_was(start: Start, others: Others) -> None:
    service = await start()
    others.operator("anna", "clerk")
    others.operator("bert", "lawyer")
    others.ready(1, CLERK, priority=10)
    told = await others.proposal("1.2.1")
    others.ready(2, CLERK)
    others.ready(3, {"type": "operator", "roles": ["lawyer"]})
    await others.proposal("3.2.1")
    service.kill()
    others.grant(told, ("anna", 1, 2))
    others.event(types.PROCESS_TERMINATED, 1, 4, dispatch_id="1.2.1")
    others.release(told, ("anna", 0, 3))
    await start()
    second = await others.proposal("2.2.1")
    assert second.proposals[0].candidates == ["anna"]
    assert {each.dispatch_id for each in others.proposals if each.pid == 3} == {"3.2.1"}


async def test_another_replica_takes_over_and_a_queue_is_defined_on_any(start: Start, others: Others) -> None:
    first = await start(1)
    second = await start(2)
    others.operator("anna", "clerk", capacity=5)
    assert (await second.call("PUT", "/v1/queues/night", {"paused": True})).status_code == 201

    async def is_known() -> bool:
        return bool((await first.call("GET", "/v1/queues/night")).json()["paused"])

    await eventually(is_known)
    others.ready(1, CLERK)
    await others.proposal("1.2.1")
    others.ready(2, CLERK, queue="night")
    await others.quiet()
    assert (await second.call("PUT", "/v1/queues/night", {"paused": False})).status_code == 200
    await others.proposal("2.2.1")
    first.kill()
    others.ready(3, CLERK)
    told = await others.proposal("3.2.1")
    assert told.proposals[0].candidates == ["anna"]
    listed = (await second.call("GET", "/v1/queues?count=true")).json()
    assert [(each["name"], each["depth"]) for each in listed["items"]] == [("default", 2), ("night", 1)]
    assert listed["total"] == 2


async def test_garbage_on_its_topics_goes_to_the_dead_letters_and_the_rest_flows(
    start: Start, others: Others, database: str
) -> None:
    await start()
    others.operator("anna", "clerk")
    others.event(types.PROCESS_READY, 7, 2, demands=[{"type": 5}])
    others.event(types.PROCESS_READY, 8, 2, demands="none", priority="high")
    others.ready(1, CLERK)
    await others.proposal("1.2.1")

    async def buried() -> bool:
        return await scalar(database, "SELECT count(*) FROM dead_letter") == 2

    await eventually(buried)


async def test_durations_are_learnt_and_stay_known(start: Start, others: Others, database: str) -> None:
    """In a queue that looks at them: a step's length is known after a run, shown by `why`, and outlives the planner."""
    service = await start()
    assert (await service.call("PUT", "/v1/queues/desk", {"policy": "sjf"})).status_code == 201
    others.operator("anna", "clerk")
    others.ready(1, CLERK, queue="desk")
    told = await others.proposal("1.2.1")
    others.grant(told, ("anna", 1, 2))
    await others.quiet(0.2)
    others.event(types.PROCESS_TERMINATED, 1, 4, dispatch_id="1.2.1")
    others.release(told, ("anna", 0, 3))

    async def learnt() -> bool:
        return await scalar(database, "SELECT count FROM service_time WHERE service = 'approve'") == 1

    await eventually(learnt)
    service.kill()
    again = await start(2)
    others.operator("anna", "clerk", version=4, presence="away")
    others.ready(2, CLERK, queue="desk")

    async def why() -> bool:
        return (await again.call("GET", "/v1/processes/2/why")).status_code == 200

    await eventually(why, timeout=20)
    found = (await again.call("GET", "/v1/processes/2/why")).json()
    assert 0 < found["expected_duration"] < 600
    assert found["factors"]["length"] < 0 < found["factors"]["age"]


async def test_arrivals_are_counted_and_forecast(start: Start, others: Others, database: str) -> None:
    service = await start()
    for pid in (1, 2, 3):
        others.ready(pid, CLERK, service="check")
    others.ready(3, CLERK, service="check", version=3, attempt=2**31 - 1)

    async def counted() -> bool:
        return await scalar(database, "SELECT sum(arrivals) FROM service_hour WHERE service = 'check'") == 3

    await eventually(counted)
    connection = await asyncpg.connect(database)
    await connection.execute(
        "INSERT INTO service_hour SELECT 'main', 'check', h, 10 FROM generate_series($1::bigint - 1500, $1 - 1) AS h",
        int(time.time()) // 3600,
    )
    await connection.execute("INSERT INTO service_time VALUES ('main', 'check', 1, '', 5, 1800)")
    await connection.close()
    told = (await service.call("GET", "/v1/forecast?horizon=PT36H", roles="viewer")).json()
    (check,) = told["items"]
    assert check["service"] == "check"
    assert len(check["points"]) == 36
    assert all(abs(point["mean"] - 10) < 1 and point["low"] <= 10 <= point["high"] for point in check["points"])
    assert check["error"]["wape"] < 0.1
    load = (await service.call("GET", "/v1/forecast?of=load&service=check")).json()["items"][0]["points"]
    assert (len(load), round(load[0]["mean"])) == (24, 5)
    assert (await service.call("GET", "/v1/forecast?service=none")).json()["items"] == []
    for query in ("of=wait", "of=x", "by=role", "horizon=P8D", "horizon=PT1M", "horizon=x"):
        assert (await service.call("GET", f"/v1/forecast?{query}")).status_code == 422, query
    other = await service.call("GET", "/v1/forecast", x_kernel_tenant="other")
    assert other.json()["items"] == []


async def test_the_plan_ahead_says_who_runs_what_when(start: Start, others: Others) -> None:
    service = await start()
    others.operator("anna", "clerk")
    others.ready(1, CLERK, expected_duration="PT10M")
    told = await others.proposal("1.2.1")
    others.grant(told, ("anna", 1, 2))
    others.ready(2, CLERK, expected_duration="PT20M")
    others.ready(3, {"type": "operator", "roles": ["nobody"]})
    await others.quiet(0.5)
    plan = (await service.call("GET", "/v1/plan", roles="viewer")).json()
    assert [(each["pid"], each["state"]) for each in plan["items"]] == [(1, "running"), (2, "planned")]
    assert plan["items"][0]["end"] == plan["items"][1]["begin"]
    assert plan["items"][1]["resources"] == [{"type": "operator", "id": "anna"}]
    assert (plan["waiting"], plan["not_before_until"], plan["complete"]) == (2, 1, True)
    short = (await service.call("GET", "/v1/plan?horizon=PT5M")).json()
    assert [each["pid"] for each in short["items"]] == [1]
    wanted = {
        "horizon": "PT15M",
        "add": [{"count": 2, "roles": ["nobody", "clerk"], "skills": ["dutch"]}],
        "priorities": {"approve": 9},
    }
    told_both = (await service.call("POST", "/v1/simulations", wanted)).json()
    assert (told_both["as_it_is"]["begun"], told_both["changed"]["begun"]) == (1, 2)
    assert told_both["changed"]["waiting"] == 0
    assert (await service.call("GET", "/v1/plan")).json()["waiting"] == 2
    for body in ({"remove": ["nobody"]}, {"horizon": "P40D"}, {"queues": {"a": {"dispatch": "pull"}}}, {"x": 1}):
        assert (await service.call("POST", "/v1/simulations", body)).status_code == 422, body
    for query in ("horizon=P32D", "horizon=PT1S", "horizon=soon"):
        assert (await service.call("GET", f"/v1/plan?{query}")).status_code == 422
    other = await service.call("GET", "/v1/plan", x_kernel_tenant="other")
    assert other.json()["items"] == []
