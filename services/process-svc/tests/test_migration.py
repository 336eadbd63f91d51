"""To another version of the service: told first, then done; and what speaks against it."""

from typing import Any

import pytest
from kernel_runtime.problem import Problem

from .lane import Lane

FIRST: dict[str, Any] = {"roles": ["clerk"], "priority": 40, "due_in": "P1D"}
SECOND: dict[str, Any] = {"roles": ["boss"], "priority": 60, "due_in": "P2D", "queue": "fast"}


async def in_state(kernel: Lane, state: str) -> Any:
    if state == "NEW":
        return await kernel.create(not_before="2099-01-01T00:00:00Z")
    if state == "READY":
        return await kernel.create()
    process = await kernel.run()
    if state == "WAITING":
        return await kernel.ask("wait", process["pid"], **{"for": {"event": {"type": "paid"}}})
    return process if state == "RUNNING" else await kernel.ask("suspend", process["pid"])


@pytest.mark.parametrize("state", ["NEW", "READY", "WAITING", "SUSPENDED"])
async def test_it_follows_the_definition_in_its_state(kernel: Lane, state: str) -> None:
    await kernel.define(**FIRST)
    process = await in_state(kernel, state)
    await kernel.define(**SECOND)
    pid = process["pid"]
    body = {"to": 2, "context_patch": {"district": "north"}}
    plan = (await kernel.http.post(f"/v1/processes/{pid}/migrate?dry_run=true", json=body)).json()
    assert (plan["possible"], plan["problems"], plan["from"], plan["to"]) == (True, [], 1, 2)
    assert plan["changes"]["priority"] == [40, 60]
    assert plan["changes"]["demands"][1][0]["roles"] == ["boss"]
    assert (await kernel.read(pid))["version"] == process["version"]
    moved = await kernel.ask("migrate", pid, **body, reason="the new form")
    assert (moved["state"], moved["service_version"], moved["priority"], moved["queue"]) == (state, 2, 60, "fast")
    assert moved["context"] == {"district": "north"}
    assert moved["due"] > process["due"]
    assert await kernel.read(pid) == moved
    kind, event = (await kernel.messages())[-1]
    assert event["service_version"] == 2
    if state == "READY":
        assert (kind, event["demands"][0]["roles"]) == ("kernel.process.ready.v1", ["boss"])
        assert moved["ready_at"] == process["ready_at"]
    else:
        assert kind == "kernel.process.context_changed.v1"
    history = (await kernel.http.get(f"/v1/processes/{pid}/history")).json()["items"][-1]
    assert (history["command"], history["changes"]["service_version"]) == ("migrate", [1, 2])
    back = await kernel.ask("migrate", pid, to=1)
    assert (back["service_version"], back["priority"], back["queue"]) == (1, 40, "default")
    assert await kernel.breaches() == {}


async def test_what_was_chosen_for_the_process_stays(kernel: Lane) -> None:
    await kernel.define(**FIRST)
    process = await kernel.create(priority=90, queue="own", due="2030-01-01T00:00:00Z")
    await kernel.define(**SECOND)
    moved = await kernel.ask("migrate", process["pid"], to=2)
    assert [moved[name] for name in ("priority", "queue", "due")] == [90, "own", "2030-01-01T00:00:00Z"]


async def test_a_running_one_keeps_what_it_was_dispatched_with(kernel: Lane) -> None:
    await kernel.define(**FIRST)
    process = await kernel.run()
    await kernel.define(**SECOND)
    refused = await kernel.ask("migrate", process["pid"], to=2)
    assert isinstance(refused, Problem)
    assert (refused.status, "roles differ" in refused.detail) == (409, True)
    await kernel.define(**FIRST | {"timeout": "PT1H"})
    moved = await kernel.ask("migrate", process["pid"], to=3)
    assert (moved["state"], moved["service_version"], moved["dispatch_id"]) == ("RUNNING", 3, process["dispatch_id"])
    async with kernel.database.connection() as connection:
        assert await connection.fetchval("SELECT run_until - started_at = '1 h' FROM process") is True
    assert (await kernel.ask("complete", process["pid"]))["outcome"] == "completed"
    assert isinstance(await kernel.ask("migrate", process["pid"], to=2), Problem)
    assert await kernel.breaches() == {}


async def test_what_speaks_against_it_is_told(kernel: Lane) -> None:
    await kernel.define()
    pid = (await kernel.create(context={"fee": "x"}))["pid"]
    await kernel.define(entity_type="permit")
    schema = {"type": "object", "properties": {"fee": {"type": "number"}}}
    await kernel.define(input_schema=schema)
    url = f"/v1/processes/{pid}/migrate"
    for to, said in ((1, "already"), (2, "entity"), (9, "version 9"), (2**40, "version"), (3, "input_schema")):
        refused = await kernel.ask("migrate", pid, to=to)
        assert isinstance(refused, Problem)
        assert said in refused.detail, refused
    plan = (await kernel.http.post(url + "?dry_run=true", json={"to": 3})).json()
    assert (plan["possible"], plan["problems"][0]["pointer"]) == (False, "/context/fee")
    plan = (await kernel.http.post(url + "?dry_run=true", json={"to": 2})).json()
    assert (plan["possible"], len(plan["problems"])) == (False, 1)
    fits = await kernel.http.post(url, json={"to": 3, "context_patch": {"fee": 3}}, headers={"if-match": '"2"'})
    assert fits.json()["context"] == {"fee": 3}
    assert (await kernel.http.post(url, json={"to": 3}, headers={"if-match": '"2"'})).status_code == 412
    assert (await kernel.http.post(url, json={})).status_code == 422
