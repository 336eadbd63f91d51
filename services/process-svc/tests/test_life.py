"""A process on the real database: what each command does, what it tells, and what is refused."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from kernel_contracts.process import ProcessEvent
from kernel_runtime.problem import Problem

from .lane import Lane


async def test_a_whole_life(kernel: Lane) -> None:
    await kernel.define(roles=["clerk"], form={"type": "object", "required": ["ok"]})
    process = await kernel.run(context={"amount": 3}, entity={"type": "permit", "id": "P-1"})
    assert (process["state"], process["operator"], process["version"]) == ("RUNNING", "ada", 3)
    refused = await kernel.ask("complete", process["pid"], output={})
    assert isinstance(refused, Problem)
    assert refused.status == 422
    assert refused.errors[0][0] == "/output"
    done = await kernel.ask("complete", process["pid"], output={"ok": True})
    assert (done["state"], done["outcome"], done["output"], done["can"]) == (
        "TERMINATED",
        "completed",
        {"ok": True},
        [],
    )
    history = (await kernel.http.get(f"/v1/processes/{process['pid']}/history")).json()["items"]
    assert [(row["version"], row["state"]) for row in history] == [
        (1, "NEW"),
        (2, "READY"),
        (3, "RUNNING"),
        (4, "TERMINATED"),
    ]
    told = [(kind, body) for kind, body in await kernel.messages() if kind.startswith("kernel.process.")]
    assert [kind.split(".")[2] for kind, _ in told] == ["created", "ready", "running", "terminated"]
    events = [ProcessEvent.model_validate(body) for _, body in told]
    assert [event.version for event in events] == [1, 2, 3, 4]
    assert events[1].demands is not None
    assert (events[1].demands[0].type, events[1].demands[0].roles) == ("operator", ["clerk"])
    assert events[3].context == {"amount": 3}
    assert await kernel.breaches() == {}


async def test_a_key_makes_one_process(kernel: Lane) -> None:
    await kernel.define()
    first, again = await asyncio.gather(kernel.create(key="k"), kernel.create(key="k"))
    assert first["pid"] == again["pid"]
    other = await kernel.create(key="k", entity={"type": "a", "id": "b"})
    assert isinstance(other, Problem)
    assert other.status == 409


async def test_what_can_not_be_created_says_why(kernel: Lane) -> None:
    await kernel.define("permit", entity_type="permit", entity_access="exclusive")
    wrong: list[tuple[dict[str, Any], int]] = [
        ({"service": "nothing"}, 404),
        ({"service": "permit"}, 422),
        ({"service": "permit", "entity": {"type": "cow", "id": "1"}}, 422),
        ({"service": "permit", "entity": {"type": "permit", "id": "1"}, "service_version": 2}, 404),
        ({"service": "permit", "entity": {"type": "permit", "id": "1"}, "parent": 99}, 422),
        ({"service": "permit", "entity": {"type": "permit", "id": "1"}, "after": [99]}, 422),
        ({"service": "permit", "entity": {"type": "permit", "id": "1"}, "context": {"a": "x" * 300_000}}, 413),
        ({"service": "permit", "entity": {"type": "permit", "id": "1"}, "context": {"a": 2**70}}, 422),
        ({"service": "permit", "entity": {"type": "permit", "id": "1"}, "not_after": "2020-01-01T00:00:00Z"}, 422),
    ]
    for fields, status in wrong:
        found = await kernel.create(**fields)
        assert isinstance(found, Problem), fields
        assert found.status == status, (fields, found)
    process = await kernel.create("permit", entity={"type": "permit", "id": "1"})
    ready = next(body for kind, body in await kernel.messages() if kind == "kernel.process.ready.v1")
    assert {"type": "entity", "resource": "entity:permit:1", "hold": "process"} in ready["demands"]
    assert process["state"] == "READY"
    assert await kernel.breaches() == {}


async def test_illegal_names_the_state_and_what_is_allowed_and_changes_nothing(kernel: Lane) -> None:
    await kernel.define()
    process = await kernel.create()
    refused = await kernel.ask("complete", process["pid"])
    assert isinstance(refused, Problem)
    assert refused.status == 409
    assert "READY" in refused.detail
    assert "cancel" in refused.extra["allowed"]
    stale = await kernel.ask("cancel", process["pid"], expected_version=1)
    assert isinstance(stale, Problem)
    assert stale.status == 412
    assert await kernel.read(process["pid"]) == process


async def test_a_late_grant_is_refused_and_the_units_go_back(kernel: Lane) -> None:
    await kernel.define()
    process = await kernel.create()
    await kernel.ask("prioritize", process["pid"], priority=90)
    await kernel.grant(process)
    assert (await kernel.read(process["pid"]))["state"] == "READY"
    kind, body = (await kernel.messages())[-1]
    assert kind == "kernel.process.dispatch_refused.v1"
    assert body["dispatch_id"] == f"{process['pid']}.{process['version']}.1"
    async with kernel.database.connection() as connection:
        headers = await connection.fetchval("SELECT headers FROM outbox ORDER BY id DESC LIMIT 1")
    assert "ce_give" in headers


async def test_the_same_grant_again_does_nothing(kernel: Lane) -> None:
    await kernel.define()
    process = await kernel.create()
    await kernel.grant(process)
    await kernel.grant(process)
    await kernel.ask("complete", process["pid"])
    await kernel.grant(process)
    kinds = [kind for kind, _ in await kernel.messages()]
    assert kinds.count("kernel.process.running.v1") == 1
    assert "kernel.process.dispatch_refused.v1" not in kinds


async def test_failure_attempts_incident_and_its_ends(kernel: Lane) -> None:
    await kernel.define(retry={"max_attempts": 2, "backoff": {"initial": "PT0S"}})
    process = await kernel.run()
    again = await kernel.ask("fail", process["pid"], error={"class": "transient", "code": "down"})
    assert (again["state"], again["attempt"]) == ("NEW", 2)
    await kernel.tick(process["pid"])
    ready = await kernel.read(process["pid"])
    assert ready["state"] == "READY"
    await kernel.grant(ready)
    failed = await kernel.ask("fail", process["pid"], error={"class": "transient", "code": "down", "message": "still"})
    assert failed["state"] == "SUSPENDED"
    incidents = (await kernel.http.get("/v1/incidents?state=open")).json()["items"]
    assert [(one["id"], one["pid"], one["type"]) for one in incidents] == [(failed["incident"], process["pid"], "down")]
    answer = await kernel.http.post(
        f"/v1/incidents/{failed['incident']}/resolve", json={"action": "retry", "context": {"fixed": True}}
    )
    assert answer.status_code == 200
    after = await kernel.read(process["pid"])
    assert (after["state"], after["attempt"], after["context"], after["incident"]) == (
        "READY",
        3,
        {"fixed": True},
        None,
    )
    twice = await kernel.http.post(f"/v1/incidents/{failed['incident']}/resolve", json={"action": "terminate"})
    assert twice.status_code == 409
    assert await kernel.breaches() == {}


async def test_context_snapshots_rollback_and_difference(kernel: Lane) -> None:
    await kernel.define()
    process = await kernel.create(context={"a": 1})
    url = f"/v1/processes/{process['pid']}"
    patched = (await kernel.http.patch(f"{url}/context", json={"a": None, "b": {"c": 2}})).json()
    assert (patched["context"], patched["version"]) == ({"b": {"c": 2}}, 3)
    snapshots = (await kernel.http.get(f"{url}/snapshots")).json()["items"]
    assert [(one["version"], one["verified"]) for one in snapshots] == [(1, True), (3, True)]
    assert snapshots[1]["previous_hash"] == snapshots[0]["hash"]
    assert (await kernel.http.get(f"{url}/snapshots/2")).json()["context"] == {"a": 1}
    operations = (await kernel.http.get(f"{url}/snapshots/3?against=1")).json()
    assert {"op": "remove", "path": "/a"} in operations
    back = await kernel.ask("rollback", process["pid"], version=1, resume=True)
    assert (back["context"], back["version"], back["state"]) == ({"a": 1}, 4, "READY")
    assert (await kernel.http.get(f"{url}/snapshots/9")).status_code == 404
    await kernel.execute("UPDATE snapshot SET context = '{}' WHERE version = 3")
    broken = (await kernel.http.get(f"{url}/snapshots")).json()["items"]
    assert [one["verified"] for one in broken] == [True, False, False]


async def test_a_window_is_opened_by_time(kernel: Lane) -> None:
    await kernel.define()
    process = await kernel.create(not_before=(datetime.now(UTC) + timedelta(seconds=0.3)).isoformat())
    assert process["state"] == "NEW"
    await asyncio.sleep(0.4)
    await kernel.tick(process["pid"])
    assert (await kernel.read(process["pid"]))["state"] == "READY"


@pytest.mark.parametrize(("hold", "give"), [(False, True), (True, False)])
async def test_suspension_gives_back_unless_it_holds(kernel: Lane, hold: bool, give: bool) -> None:
    await kernel.define()
    process = await kernel.run()
    await kernel.ask("suspend", process["pid"], hold=hold)
    async with kernel.database.connection() as connection:
        headers = await connection.fetchval("SELECT headers FROM outbox ORDER BY id DESC LIMIT 1")
    assert ("ce_give" in headers) is give
    resumed = await kernel.ask("resume", process["pid"])
    assert resumed["state"] == "READY"


async def test_a_change_after_the_window_opened_does_not_make_it_forgotten(kernel: Lane) -> None:
    await kernel.define()
    process = await kernel.create(not_before=(datetime.now(UTC) + timedelta(seconds=0.1)).isoformat())
    await asyncio.sleep(0.2)
    changed = await kernel.ask("prioritize", process["pid"], priority=9)
    assert (changed["state"], changed["priority"], changed["version"]) == ("READY", 9, 3)
    assert await kernel.breaches() == {}


@pytest.mark.parametrize("relation", [{"parent": 0}, {"after": [0]}])
async def test_nor_does_a_relative_that_comes_then(kernel: Lane, relation: dict[str, object]) -> None:
    await kernel.define()
    opens = (datetime.now(UTC) + timedelta(seconds=0.1)).isoformat()
    pid = (await kernel.create(not_before=opens))["pid"]
    await asyncio.sleep(0.2)
    made = await kernel.create(**{name: [pid] if value else pid for name, value in relation.items()})
    assert made["state"] == ("NEW" if "after" in relation else "READY")
    assert (await kernel.read(pid))["state"] == "READY"
    assert await kernel.breaches() == {}
