"""The whole service: events in at every door, commands out on the bus, each effect once."""

import asyncio
import uuid
from typing import Any

import asyncpg
from kernel_contracts import message_types as types
from kernel_contracts.process import CreateProcess, WakeProcess
from kernel_contracts.rules import RuleFired, RulePublished
from kernel_testing import eventually

from .installation import Bus, RulesService
from .pcb import pcb, waiting

START = {"do": "start", "service": "approve", "entity": "=entity", "context": {"amount": "=event.data.amount"}}


async def test_a_business_event_starts_a_process_once(service: RulesService, bus: Bus) -> None:
    await service.rule(
        "approve-large", event={"type": "order.placed"}, when="event.data.amount > 1000", instructions=[START]
    )
    order = {"amount": 1500, "entity": {"type": "order", "id": "o-1"}}
    for _ in range(3):
        bus.business("order.placed", order, id="e-1")
    bus.business("order.placed", {"amount": 10}, id="e-2")
    bus.flush()

    [command] = await bus.until("process-commands", 1)
    assert command.type == types.CREATE_PROCESS
    assert CreateProcess.model_validate(command.body).context == {"amount": 1500}
    assert command.body["entity"] == {"type": "order", "id": "o-1"}
    assert command.headers["ce_causationid"] == "e-1"
    assert command.headers["ce_depth"] == "1"
    assert command.headers["ce_source"] == "/kernel/rules-svc/approve-large"
    assert uuid.UUID(command.headers["ce_id"]).version == 5

    [told] = await bus.until("rule-events", 1)
    fired = RuleFired.model_validate(told.body)
    assert (fired.rule, fired.result, fired.event_id) == ("approve-large", "fired", "e-1")
    assert fired.instructions[0].sent == command.headers["ce_id"]

    bus.process(types.PROCESS_CREATED, pcb(77, 1, "NEW"), causationid=command.headers["ce_id"])
    bus.flush()
    firing = await eventually(lambda: _first_firing(service, "approve-large", made=True))
    assert firing["processes"] == [77]
    event = (await service.call("GET", "/v1/events?source=/shop&id=e-1")).json()
    assert event["fired"] == ["approve-large"]
    assert event["correlated"] == []
    assert event["buffered_until"] is not None
    assert event["expired"] is False
    assert event["refused"] is None
    other = (await service.call("GET", "/v1/events?source=/shop&id=e-2")).json()
    assert other["fired"] == []
    assert (await service.call("GET", "/v1/events?source=/shop&id=e-3")).status_code == 404
    await service.fsck()


async def test_a_process_event_starts_the_next_process(service: RulesService, bus: Bus) -> None:
    await service.rule(
        "then-decide",
        event={"type": types.PROCESS_TERMINATED},
        when="process.service == 'assess' && process.outcome == 'completed' && process.due == null",
        instructions=[
            {"do": "start", "service": "decide", "entity": "=entity", "parent": "=process.pid", "key": "=process.pid"},
            {"do": "prioritize", "priority": "=process.priority + 10"},
        ],
    )
    body = pcb(5, 4, "TERMINATED", service="assess", outcome="completed")
    for _ in range(2):
        bus.process(types.PROCESS_TERMINATED, body)
    bus.process(types.PROCESS_TERMINATED, pcb(6, 4, "TERMINATED", service="other", outcome="completed"))
    bus.process(types.PROCESS_RUNNING, pcb(7, 3, "RUNNING", service="assess"))
    bus.flush()
    create, prioritize = sorted(await bus.until("process-commands", 2), key=lambda record: record.type)
    assert create.body == {"service": "decide", "entity": {"type": "permit", "id": "p"}, "parent": 5, "key": "5"}
    assert create.key == "5"
    assert prioritize.body == {"pid": 5, "priority": 60}
    assert create.headers["ce_causationid"] == "5.4"
    await service.fsck()


async def test_a_chain_of_causes_is_stopped_at_its_64th_link(service: RulesService, bus: Bus) -> None:
    await service.rule(
        "endless",
        event={"type": "tick"},
        instructions=[{"do": "emit", "type": "tick", "data": {"n": "=event.data.n + 1"}}],
    )
    answer = await service.call("POST", "/v1/events", _event("tick", {"n": 0}, id="first"))
    assert answer.status_code == 202
    assert answer.json()["fired"] == ["endless"]
    ticks = await bus.until("business-events", 64, timeout=60)
    told = await bus.until("rule-events", 65)
    assert max(record.body["n"] for record in ticks) == 64
    stopped = [record.body for record in told if record.body["result"] == "stopped"]
    assert len(stopped) == 1
    assert "64" in stopped[0]["detail"]
    assert stopped[0]["instructions"] == []
    last = max(ticks, key=lambda record: record.body["n"])
    event = await service.call("GET", f"/v1/events?source=/kernel/rules-svc/endless&id={last.headers['ce_id']}")
    assert event.json()["stopped"] == ["endless"]
    await service.fsck()


async def test_an_event_wakes_who_waits_for_it(service: RulesService, bus: Bus) -> None:
    await service.call("PUT", "/v1/event-types/payment.received", {"key": "=event.data.order"})
    for pid, key in ((1, "o-1"), (2, "o-2"), (3, None)):
        bus.process(types.PROCESS_WAITING, waiting(pid, 3, "payment.received", key))
    bus.flush()
    await eventually(lambda: _waits(service, 3))
    await service.call("POST", "/v1/events", _event("payment.received", {"order": "o-1", "sum": 12.5}, id="p-1"))
    woken = await bus.until("process-commands", 2)
    assert {record.body["pid"] for record in woken} == {1, 3}
    command = WakeProcess.model_validate(woken[0].body)
    assert command.expected_version == 3
    assert command.context is not None
    assert command.context["event"]["data"] == {"order": "o-1", "sum": 12.5}
    event = (await service.call("GET", "/v1/events?source=/shop&id=p-1")).json()
    assert event["correlated"] == [1, 3]

    # The wake of 1 came too late: its context was changed meanwhile, and it still waits. It is sent again.
    bus.process(types.CONTEXT_CHANGED, waiting(1, 4, "payment.received", "o-1", from_state="WAITING"))
    bus.flush()
    again = (await bus.until("process-commands", 3))[-1:]
    assert 4 in {record.body["expected_version"] for record in await bus.read("process-commands")}
    assert again

    for pid, version in ((1, 5), (3, 4)):
        bus.process(types.PROCESS_READY, pcb(pid, version, "READY", from_state="WAITING"))
    bus.flush()
    await eventually(lambda: _waits(service, 1))
    await service.rule("kick", event={"type": "kicked"}, instructions=[{"do": "signal", "key": "=event.data.key"}])
    bus.business("kicked", {"key": "o-2"})
    bus.flush()
    commands = await bus.until("process-commands", 4)
    assert {record.body["pid"] for record in commands} == {1, 2, 3}
    await service.fsck()


async def test_an_event_that_comes_while_its_waiter_is_suspended_is_not_lost(service: RulesService, bus: Bus) -> None:
    bus.process(types.PROCESS_WAITING, waiting(1, 3, "paid", "k"))
    bus.process(types.PROCESS_SUSPENDED, pcb(1, 4, "SUSPENDED", from_state="WAITING"))
    bus.flush()
    await eventually(lambda: _waits(service, 1, suspended=True))
    bus.business("paid", {"sum": 1}, id="x", subject="k")
    bus.flush()
    await eventually(lambda: _correlated(service, "x", [1]))
    [wake] = await bus.until("process-commands", 1)
    assert wake.body["expected_version"] == 4
    # It was resumed before that came.
    bus.process(types.PROCESS_WAITING, waiting(1, 5, "paid", "k"))
    bus.flush()
    wake = (await bus.until("process-commands", 2))[-1]
    assert wake.body["expected_version"] == 5
    assert wake.body["context"]["event"]["data"] == {"sum": 1}


async def test_rubbish_is_a_dead_letter_and_the_service_lives(service: RulesService, bus: Bus) -> None:
    good = [("ce_specversion", "1.0"), ("ce_id", "1"), ("ce_source", "/s")]
    for topic, type in (("business-events", "any"), ("process-events", types.PROCESS_WAITING)):
        bus.raw(topic, b"\x00\xff garbage", "k", [])
        bus.raw(topic, b"not json", "k", [*good, ("ce_type", type)])
        bus.raw(topic, b"{}", "k", [("ce_type", b"\xff\xfe"), ("ce_id", b"\xff")])
        bus.raw(topic, b"[" * 100_000, "k", [*good, ("ce_type", type)])
    bus.raw("business-events", b"{}", "k", [*good, ("ce_type", "x"), ("ce_time", "noon")])
    bus.raw("business-events", b'{"a": "\\u0000"}', "k", [*good, ("ce_type", "x")])
    bus.raw(
        "business-events", b'{"a": 1}', "k", [*good[:1], ("ce_id", "a\x01b"), ("ce_source", "/s"), ("ce_type", "x")]
    )
    bus.raw("business-events", None, "k", [*good[:1], ("ce_id", "empty"), ("ce_source", "/shop"), ("ce_type", "x")])
    bus.flush()

    async def letters() -> Any:
        items = (await service.call("GET", "/v1/dead-letters?limit=500")).json()["items"]
        assert len(items) >= 9, [(item["topic"], item["reason"]) for item in items]
        return items

    for item in await eventually(letters, timeout=20):
        assert item["reason"]
        assert item["state"] == "dead"
    await service.rule("r", event={"type": "ping"}, instructions=[START])
    bus.business("ping", {"amount": 1})
    bus.flush()
    await bus.until("process-commands", 1)
    assert (await service.call("GET", "/v1/events?source=/shop&id=empty")).status_code == 200


async def test_what_does_not_fit_its_type_is_refused_at_both_doors(service: RulesService, bus: Bus) -> None:
    schema = {"type": "object", "required": ["order"], "properties": {"order": {"type": "string"}}}
    answer = await service.call("PUT", "/v1/event-types/paid", {"schema": schema, "owner": "shop"})
    assert answer.status_code == 201
    refused = await service.call("POST", "/v1/events", _event("paid", {"order": 7}, id="h"))
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/data/order"
    bus.business("paid", {}, id="k")
    bus.business("kernel.process.ready.v1", {"pid": 1}, id="forged")
    bus.flush()
    event = await eventually(lambda: _event_status(service, "k"))
    assert event["refused"]["errors"][0]["pointer"] == "/data"
    assert event["fired"] == []
    assert "kernel" in (await eventually(lambda: _event_status(service, "forged")))["refused"]["detail"]
    assert (await service.call("GET", "/v1/events?source=/shop&id=h")).status_code == 404
    await service.fsck()


async def test_kill_and_restart_lose_nothing_and_double_nothing(service: RulesService, bus: Bus) -> None:
    await service.rule(
        "each", event={"type": "n"}, instructions=[{"do": "start", "service": "s", "key": "=event.data.n"}]
    )
    for round in range(3):
        for n in range(200):
            bus.business("n", {"n": round * 200 + n}, id=f"n-{round * 200 + n}")
            bus.business("n", {"n": n}, id=f"n-{n}")
        bus.flush()
        await asyncio.sleep(0.3)
        await service.kill()
        await service.start()

    async def all_started() -> bool:
        commands = await bus.read("process-commands")
        assert {int(record.body["key"]) for record in commands} == set(range(600))
        assert len({record.headers["ce_id"] for record in commands}) == 600
        return True

    await eventually(all_started, timeout=30, interval=0.3)
    firings = (await service.call("GET", "/v1/rules/each/firings?limit=1&count=true")).json()
    assert firings["total"] == 600
    await service.fsck()


async def test_two_replicas_share_the_work_and_see_a_rule_within_a_second(
    service: RulesService, bus: Bus, kafka: str
) -> None:
    second = RulesService(service.dsn, kafka, bus.prefix, replica=2)
    await second.start()
    try:
        for n in range(5):
            replica = (service, second)[n % 2]
            await replica.rule(
                "late",
                event={"type": types.PROCESS_READY},
                instructions=[{"do": "emit", "type": "seen", "data": {"version": n, "pid": "=process.pid"}}],
            )
            await asyncio.sleep(1.0)
            for pid in range(20):
                bus.process(types.PROCESS_READY, pcb(pid + 1, n + 1, "READY"))
            bus.flush()
            seen = await bus.until("business-events", 20 * (n + 1))
            assert sum(record.body["version"] == n for record in seen) == 20
        answers = await asyncio.gather(
            *(
                replica.call("POST", "/v1/events", _event("x", {}, id=f"{n}"))
                for n in range(50)
                for replica in (service, second)
            )
        )
        assert {answer.status_code for answer in answers} == {202}
        assert sum(not answer.json()["duplicate"] for answer in answers) == 50
        await service.fsck()
    finally:
        assert await second.stop() == 0


async def test_the_rulebook_is_published(service: RulesService, bus: Bus) -> None:
    await service.rule("a", event={"type": "x"}, instructions=[START])
    await service.rule("a", event={"type": "x"}, instructions=[START])
    assert (await service.call("DELETE", "/v1/rules/a")).status_code == 204
    told = await bus.until("definitions", 2)
    first, last = (RulePublished.model_validate(record.body) for record in told)
    assert (first.version, first.deleted) == (1, False)
    assert (last.version, last.deleted) == (2, True)
    assert {record.key for record in told} == {"main/rule/a"}


def _event(type: str, data: Any, *, id: str, source: str = "/shop") -> dict[str, Any]:
    return {"specversion": "1.0", "id": id, "source": source, "type": type, "data": data}


async def _first_firing(service: RulesService, rule: str, *, made: bool) -> Any:
    items = (await service.call("GET", f"/v1/rules/{rule}/firings")).json()["items"]
    return items[0] if items and (items[0]["processes"] or not made) else None


async def _event_status(service: RulesService, id: str) -> Any:
    answer = await service.call("GET", f"/v1/events?source=/shop&id={id}")
    return answer.json() if answer.status_code == 200 else None


async def _correlated(service: RulesService, id: str, pids: list[int]) -> bool:
    event = await _event_status(service, id)
    return event is not None and event["correlated"] == pids


async def _waits(service: RulesService, count: int, *, suspended: bool = False) -> bool:
    connection = await asyncpg.connect(service.dsn)
    try:
        found = await connection.fetch("SELECT pid FROM wait WHERE suspended = $1", suspended)
    finally:
        await connection.close()
    return len(found) == count
