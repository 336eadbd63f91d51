"""Calling children: one, many, one after the other; what they bring, how they fail, and deaths in between."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_contracts.vocabulary import CommandName, OnChildFailure, Rest
from kernel_runtime.problem import Problem
from process_svc.domain.calls import Call, Verdict, startable, verdict
from process_svc.store import follow_ups as store
from process_svc.ticker import Ticker

from .lane import Lane


@given(
    total=st.integers(0, 12),
    share=st.floats(0, 1),
    limit=st.integers(1, 12),
    mode=st.sampled_from(OnChildFailure),
    fates=st.lists(st.booleans(), min_size=12, max_size=12),
)
def test_a_call_is_over_exactly_when_nothing_can_change_it(
    total: int, share: float, limit: int, mode: OnChildFailure, fates: list[bool]
) -> None:
    """The verdict is that of all that could still happen, never more than `limit` live, and an open call can go on."""
    need = round(total * share)
    started = ended = completed = 0
    while True:
        it = Call(
            1, 1, CommandName.MAP, "s", 1, "s", total, need, limit, mode, Rest.CANCEL, "", started, ended, completed
        )
        counted = ended if mode is OnChildFailure.WAKE else completed
        found = verdict(it)
        assert (found is Verdict.MET) == (counted >= need)
        assert (found is Verdict.NEVER) == (counted < need and counted + total - ended < need)
        more = startable(it)
        assert 0 <= more <= total - started
        assert it.alive + more <= limit
        if found is not Verdict.OPEN:
            assert more == 0
            return
        started += more
        assert started > ended  # it can always go on
        completed += fates[ended]
        ended += 1


async def take(kernel: Lane, service: str, how: str = "complete", **fields: Any) -> Any:
    """Lets the oldest READY process of a service run and end."""
    found = await waiting(kernel, service)
    await kernel.grant(found[0])
    await kernel.settle()
    done = await kernel.ask(how, found[0]["pid"], **fields)
    await kernel.settle()
    return done


async def waiting(kernel: Lane, service: str) -> list[Any]:
    await kernel.settle()
    found = (await kernel.http.get(f"/v1/processes?service={service}&state=READY&limit=500")).json()["items"]
    return list(found)


async def caught_up(kernel: Lane) -> None:
    """By the ticker alone: whoever had something to do has died."""
    ticker = Ticker(kernel.database, kernel.pipeline, abandoned=0.0)
    while True:
        async with kernel.database.connection() as connection:
            if not await store.abandoned(connection, 0, 1):
                return
        await ticker._pass()


async def test_the_output_of_a_child_lands_in_the_callers_context(kernel: Lane) -> None:
    await kernel.define("parent")
    await kernel.define("child", entity_type="order")
    caller = await kernel.run("parent", entity={"type": "order", "id": "7"}, context={"a": 1}, priority=80)
    called = await kernel.ask("call", caller["pid"], service="child", context={"b": "=context.a + 1"}, into="got")
    assert (called["state"], called["waiting_for"]["call"]["kind"]) == ("WAITING", "call")
    (child,) = await waiting(kernel, "child")
    assert (child["parent"], child["context"], child["priority"]) == (caller["pid"], {"b": 2}, 80)
    assert child["entity"] == caller["entity"]
    await take(kernel, "child", output={"c": 3})
    back = await kernel.read(caller["pid"])
    assert (back["state"], back["context"], back["waiting_for"]) == ("READY", {"a": 1, "got": {"c": 3}}, None)
    history = (await kernel.http.get(f"/v1/processes/{caller['pid']}/history")).json()["items"]
    assert [each["command"] for each in history][-2:] == ["call", "return"]
    (call,) = (await kernel.http.get(f"/v1/processes/{caller['pid']}/calls")).json()["items"]
    assert (call["open"], call["completed"]) == (False, 1)
    (item,) = (await kernel.http.get(f"/v1/calls/{call['id']}/items")).json()["items"]
    assert (item["pid"], item["outcome"], item["output"]) == (child["pid"], "completed", {"c": 3})
    assert await kernel.breaches() == {}


async def test_a_map_keeps_the_order_and_the_limit(kernel: Lane) -> None:
    await kernel.define("parent")
    await kernel.define("child")
    caller = await kernel.run("parent", context={"lines": [{"n": n} for n in range(5)]})
    await kernel.ask("map", caller["pid"], service="child", over="=context.lines", max_running=2, into="all")
    order = []
    for _ in range(5):
        ready = await waiting(kernel, "child")
        assert len(ready) <= 2
        last = ready[-1]  # the one that started last ends first
        order.append(last["context"]["index"])
        await kernel.grant(last)
        await kernel.ask("complete", last["pid"], output={"n": last["context"]["item"]["n"] * 10})
        assert await kernel.breaches() == {}
    assert order != sorted(order)
    back = await kernel.read(caller["pid"])
    assert back["context"]["all"] == [{"n": n * 10} for n in range(5)]
    tree = (await kernel.http.get(f"/v1/processes/{caller['pid']}/tree")).json()
    assert len(tree["children"]) == 5


async def test_iterate_is_one_after_the_other_and_sees_the_one_before(kernel: Lane) -> None:
    await kernel.define("parent")
    await kernel.define("child")
    caller = await kernel.run("parent")
    context = {"sum": "=item + (previous == null ? 0 : previous.sum)"}
    await kernel.ask("iterate", caller["pid"], service="child", over=[1, 2, 3], context=context)
    for _ in range(3):
        (child,) = await waiting(kernel, "child")
        await take(kernel, "child", output=child["context"])
    back = await kernel.read(caller["pid"])
    assert back["context"]["child"] == [{"sum": 1}, {"sum": 3}, {"sum": 6}]
    assert await kernel.breaches() == {}


async def test_a_call_that_was_let_in_goes_on_when_its_service_retires(kernel: Lane) -> None:
    await kernel.define("parent")
    await kernel.define("child")
    caller, late = await kernel.run("parent"), await kernel.run("parent")
    await kernel.ask("iterate", caller["pid"], service="child", over=[1, 2])
    await kernel.define("child", title="another version")
    await kernel.http.post("/v1/services/child/retire", json={"reason": "done"})
    assert (await kernel.ask("call", late["pid"], service="child")).title == "Service is retired"
    for _ in range(2):
        assert (await take(kernel, "child"))["service_version"] == 1
    assert (await kernel.read(caller["pid"]))["context"]["child"] == [{}, {}]
    assert await kernel.breaches() == {}


@pytest.mark.parametrize(("rest", "left"), [("cancel", 0), ("leave", 2)])
async def test_enough_of_them_are_enough(kernel: Lane, rest: str, left: int) -> None:
    await kernel.define("parent")
    await kernel.define("child")
    caller = await kernel.run("parent")
    await kernel.ask("map", caller["pid"], service="child", over=[0, 1, 2, 3], join=2, rest=rest)
    await take(kernel, "child", output={"n": 0})
    await take(kernel, "child", output={"n": 1})
    back = await kernel.read(caller["pid"])
    assert (back["state"], back["context"]["child"]) == ("READY", [{"n": 0}, {"n": 1}, None, None])
    assert len(await waiting(kernel, "child")) == left
    assert await kernel.breaches() == {}


async def test_a_child_that_fails_is_a_failure_of_its_caller(kernel: Lane) -> None:
    await kernel.define("parent", retry={"max_attempts": 2, "backoff": {"initial": "PT0S"}})
    await kernel.define("child", on_exhausted="fail")
    caller = await kernel.run("parent")
    await kernel.ask("map", caller["pid"], service="child", over=[0, 1, 2])
    await take(kernel, "child", "fail", error={"class": "poison", "code": "broken", "message": "no way"})
    again = await kernel.read(caller["pid"])
    assert (again["state"], again["attempt"], again["waiting_for"]) == ("NEW", 2, None)
    assert await waiting(kernel, "child") == []
    await kernel.tick(caller["pid"])
    await kernel.grant(await kernel.read(caller["pid"]))
    await kernel.ask("call", caller["pid"], service="child")
    (child,) = await waiting(kernel, "child")
    await kernel.ask("cancel", child["pid"], reason="not needed")
    stuck = await kernel.read(caller["pid"])
    assert (stuck["state"], stuck["waiting_for"]) == ("SUSPENDED", None)
    (incident,) = (await kernel.http.get(f"/v1/incidents?pid={caller['pid']}")).json()["items"]
    assert incident["type"] == "cancelled"
    assert f"process {child['pid']} (child): not needed" in incident["error"]["message"]
    assert await kernel.breaches() == {}


async def test_a_caller_may_take_failures_as_results(kernel: Lane) -> None:
    await kernel.define("parent")
    await kernel.define("child", on_exhausted="fail")
    caller = await kernel.run("parent")
    await kernel.ask("map", caller["pid"], service="child", over=[0, 1], on_child_failure="wake", into="got")
    await take(kernel, "child", "fail", error={"code": "broken"})
    await take(kernel, "child", output={"n": 1})
    first, second = (await kernel.read(caller["pid"]))["context"]["got"]
    assert (first["outcome"], first["output"], first["error"]["code"]) == ("failed", None, "broken")
    assert (second["outcome"], second["output"], second["error"]) == ("completed", {"n": 1}, None)


async def test_items_that_no_child_can_be_made_of_fail_alone(kernel: Lane) -> None:
    await kernel.define("parent")
    await kernel.define("child")
    caller = await kernel.run("parent")
    context = {"x": "=item.x"}
    await kernel.ask(
        "map", caller["pid"], service="child", over=[{}, {"x": 1}], context=context, on_child_failure="wake"
    )
    await take(kernel, "child")
    first, second = (await kernel.read(caller["pid"]))["context"]["child"]
    assert (first["pid"], first["error"]["code"], second["outcome"]) == (None, "not_started", "completed")
    assert await kernel.breaches() == {}


async def test_a_time_limit(kernel: Lane) -> None:
    await kernel.define("parent")
    await kernel.define("child")
    for on_timeout, state in (("wake", "READY"), ("fail", "SUSPENDED")):
        caller = await kernel.run("parent")
        how = {"timeout": "PT0S", "on_timeout": on_timeout}
        await kernel.ask("map", caller["pid"], service="child", over=[0, 1], **how)
        await kernel.settle()
        await take(kernel, "child", output={"n": 0})
        await kernel.tick(caller["pid"])
        back = await kernel.read(caller["pid"])
        assert (back["state"], back["waiting_for"]) == (state, None)
        assert back["context"].get("child") == ([{"n": 0}, None] if on_timeout == "wake" else None)
        assert await waiting(kernel, "child") == []
    assert await kernel.breaches() == {}


async def test_a_suspended_caller_gets_what_came_when_it_resumes(kernel: Lane) -> None:
    await kernel.define("parent")
    await kernel.define("child")
    caller = await kernel.run("parent")
    await kernel.ask("iterate", caller["pid"], service="child", over=[0, 1])
    await kernel.settle()
    await kernel.ask("suspend", caller["pid"])
    await take(kernel, "child", output={"n": 0})
    assert await waiting(kernel, "child") == []  # nothing new begins
    await kernel.ask("resume", caller["pid"])
    assert len(await waiting(kernel, "child")) == 1
    await kernel.ask("suspend", caller["pid"])
    await take(kernel, "child", output={"n": 1})
    assert (await kernel.read(caller["pid"]))["state"] == "SUSPENDED"
    await kernel.ask("resume", caller["pid"])
    back = await kernel.read(caller["pid"])
    assert (back["state"], back["context"]["child"]) == ("READY", [{"n": 0}, {"n": 1}])
    assert await kernel.breaches() == {}


@pytest.mark.parametrize(("policy", "outcome"), [("cancel", "cancelled"), ("detach", None)])
async def test_the_end_of_a_caller_is_that_of_a_parent(kernel: Lane, policy: str, outcome: str | None) -> None:
    await kernel.define("parent")
    await kernel.define("child", on_parent_close=policy)
    caller = await kernel.run("parent")
    await kernel.ask("call", caller["pid"], service="child")
    (child,) = await waiting(kernel, "child")
    await kernel.ask("cancel", caller["pid"])
    assert (await kernel.read(child["pid"]))["outcome"] == outcome
    assert await kernel.breaches() == {}


@pytest.mark.parametrize("way", ["rollback", "wake"])
async def test_a_caller_that_goes_another_way_leaves_no_child(kernel: Lane, way: str) -> None:
    await kernel.define("parent")
    await kernel.define("child")
    caller = await kernel.run("parent", context={"a": 1})
    await kernel.ask("map", caller["pid"], service="child", over=[1, 2, 3])
    await kernel.settle()
    await take(kernel, "child")
    await kernel.ask(way, caller["pid"], **({"version": 1} if way == "rollback" else {}))
    assert (await kernel.read(caller["pid"]))["state"] == "READY"
    assert await waiting(kernel, "child") == []
    assert await kernel.breaches() == {}


async def test_a_program_that_lost_its_lease_calls_nobody(kernel: Lane) -> None:
    await kernel.define("parent", kind="automatic")
    await kernel.define("child")
    caller = await kernel.run("parent")
    for name, fields in (
        ("call", {"service": "child"}),
        ("arrive", {"name": "papers", "parties": 2}),
        ("wait", {"for": {"event": {"type": "paid"}}}),
    ):
        refused = await kernel.ask(name, caller["pid"], token=7, **fields)
        assert (refused.status, refused.title) == (409, "Lease is gone")
    assert (await kernel.read(caller["pid"]))["state"] == "RUNNING"


async def test_what_can_not_be_called_is_said(kernel: Lane) -> None:
    await kernel.define("parent")
    await kernel.define("child")
    await kernel.define("bound", entity_type="order")
    caller = await kernel.run("parent", context={"x": "text"})
    pid = caller["pid"]
    wrong = {
        "nothing": {"service": "nothing"},
        "/over": {"service": "child", "over": "context.x"},
        "gives str": {"service": "child", "over": "=context.x"},
        "Key not found": {"service": "child", "over": "=context.zz"},
        "only 1 items": {"service": "child", "over": [1], "join": 2},
        "only 0 items": {"service": "child", "over": [], "join": "any"},
        "line 1": {"service": "child", "over": [1], "context": {"a": "=1 +"}},
        "order": {"service": "bound", "over": [1]},
    }
    for told, body in wrong.items():
        refused = await kernel.ask("map", pid, **{"over": [1]} | body)
        assert isinstance(refused, Problem), told
        assert told in refused.detail + str(refused.errors)
    assert (await kernel.read(pid))["version"] == caller["version"]
    await kernel.ask("map", pid, service="child", over=[])
    assert (await kernel.read(pid))["context"]["child"] == []
    assert (await kernel.ask("call", pid, service="child")).status == 409
    assert await kernel.breaches() == {}


async def test_results_too_large_for_a_context_are_referred_to(kernel: Lane) -> None:
    await kernel.define("parent")
    await kernel.define("child")
    caller = await kernel.run("parent")
    await kernel.ask("map", caller["pid"], service="child", over=[1, 2], max_running=1)
    for _ in range(2):
        await take(kernel, "child", output={"x": "x" * 200_000})
    landed = (await kernel.read(caller["pid"]))["context"]["child"]
    assert (landed["total"], landed["completed"]) == (2, 2)
    items = (await kernel.http.get(f"{landed['ref']}?limit=1")).json()
    assert len(items["items"][0]["output"]["x"]) == 200_000
    more = (await kernel.http.get(f"{landed['ref']}?cursor={items['next']}")).json()
    assert [each["index"] for each in more["items"]] == [1]


@pytest.mark.parametrize("kind", ["call", "map", "iterate"])
async def test_a_death_at_any_time_loses_no_call(kernel: Lane, kind: str) -> None:
    """Nobody carries out what a change left for others, but the ticker of another replica."""
    await kernel.define("parent")
    await kernel.define("child")
    kernel.crash = True
    number = 1 if kind == "call" else 450
    fields: dict[str, Any] = {} if kind == "call" else {"over": list(range(3 if kind == "iterate" else number))}
    caller = await kernel.run("parent")
    await kernel.ask(kind, caller["pid"], service="child", **fields)
    assert await kernel.breaches() == {}
    await caught_up(kernel)
    while (await kernel.read(caller["pid"]))["state"] == "WAITING":
        for child in await waiting(kernel, "child"):
            await kernel.grant(child)
            await kernel.ask("complete", child["pid"], output={"i": child["context"].get("index", 0)})
        assert await kernel.breaches() == {}
        await caught_up(kernel)
    landed = (await kernel.read(caller["pid"]))["context"]["child"]
    expected = [{"i": n} for n in range(len(fields.get("over", [0])))]
    assert landed == (expected[0] if kind == "call" else expected)
    assert await kernel.breaches() == {}


async def test_bad_input_is_told_and_changes_nothing(kernel: Lane) -> None:
    await kernel.define("parent")
    await kernel.define("child")
    pid = (await kernel.run("parent", context={"l": [1]}))["pid"]
    deep = "[" * 5_000 + "]" * 5_000
    bodies = {
        "map": [
            '{"service": "child"}',
            '{"service": "child", "over": "="}',
            '{"service": "child", "over": "=[1.0 / 0.0]"}',
            '{"service": "child", "over": "=context"}',
            '{"service": "child", "over": {}}',
            '{"service": "child", "over": [1], "max_running": 0}',
            '{"service": "child", "over": [1], "join": "some"}',
            '{"service": "child", "over": [1], "join": 0}',
            '{"service": "child", "over": [1], "join": 1e30}',
            '{"service": "child", "over": [1], "timeout": "P999999999D"}',
            '{"service": "child", "over": [1], "timeout": "soon"}',
            '{"service": "child", "over": [1], "into": "a\\u0000"}',
            '{"service": "child", "over": [1], "rest": "keep"}',
            '{"service": "child", "over": [1], "context": []}',
            '{"service": "child", "over": [123456789012345678901234567890]}',
            f'{{"service": "child", "over": {deep}}}',
            f'{{"service": "child", "over": [1], "context": {{"a": "={"x" * 5000}"}}}}',
            f'{{"service": "child", "over": [1], "context": {{"a": "{"x" * 300_000}"}}}}',
        ],
        "call": ["[]", '{"service": "child", "over": [1]}', '{"service": "child", "entity": {"type": "=1 +"}}'],
        "arrive": ['{"name": "a", "parties": 0}', '{"name": "a/b", "parties": 2}', '{"name": "a"}'],
        "wait": ['{"for": {"barrier": {"name": "a", "parties": 2}, "children": {}}}'],
    }
    for command, texts in bodies.items():
        for text in texts:
            answer = await kernel.http.post(f"/v1/processes/{pid}/{command}", content=text)
            assert answer.status_code in (400, 413, 422), (command, text[:100], answer.status_code, answer.text[:300])
    for path, body in (
        ("/v1/barriers/a/arrive", {"pid": 10**30, "parties": 2}),
        ("/v1/barriers/a/arrive", {"pid": 999, "parties": 2}),
        (f"/v1/barriers/{'a' * 300}/arrive", {"pid": pid, "parties": 2}),
    ):
        assert (await kernel.http.post(path, json=body)).status_code in (404, 422)
    for path in ("/v1/calls/9/items", f"/v1/calls/{'9' * 30}/items", "/v1/processes/9/calls", "/v1/barriers/a%00b"):
        assert (await kernel.http.get(path)).status_code == 404, path
    for path in ("/v1/barriers/a?entity_type=x", f"/v1/processes/{pid}/calls?cursor=x"):
        assert (await kernel.http.get(path)).status_code == 422, path
    assert (await kernel.read(pid))["state"] == "RUNNING"
    assert await kernel.breaches() == {}
