"""Bulk jobs: what they find, what becomes of each item, steering, deaths in the middle, who may."""

import asyncio
from typing import Any

import pytest
from kernel_testing import eventually
from process_svc.handlers.commands import NAMED

from .lane import HEADERS, Lane, lane


async def bulk(kernel: Lane, command: str, filter: dict[str, Any], dry_run: bool = False, **body: Any) -> Any:
    given = {"filter": filter, "command": command, "body": body, "dry_run": dry_run}
    answer = await kernel.http.post("/v1/processes:bulk", json=given)
    assert answer.status_code == 202, answer.text
    return answer.json()


async def ended(kernel: Lane, job: Any, state: str = "completed") -> Any:
    async def there() -> Any:
        found = (await kernel.http.get(f"/v1/jobs/{job['id']}")).json()
        assert found["state"] == state, found
        return found

    found = await eventually(there, timeout=20, interval=0.02)
    await kernel.settle()
    return found


async def items(kernel: Lane, job: Any, query: str = "") -> list[Any]:
    found: list[Any] = []
    cursor = ""
    while True:
        page = (await kernel.http.get(f"/v1/jobs/{job['id']}/items?limit=7{query}{cursor}")).json()
        found += page["items"]
        if page["next"] is None:
            return found
        cursor = f"&cursor={page['next']}"


async def states(kernel: Lane) -> dict[str, int]:
    async with kernel.database.connection() as connection:
        return dict(await connection.fetch("SELECT state, count(*) FROM process GROUP BY 1"))


async def test_a_command_to_all_that_a_filter_finds(kernel: Lane) -> None:
    await kernel.define()
    await kernel.define("other")
    mine = [(await kernel.create())["pid"] for _ in range(20)]
    await kernel.create("other")
    async with kernel.jobs():
        job = await bulk(kernel, "cancel", {"service": "check"}, reason="closed")
        assert (job["total"], job["dry_run"], job["by"]) == (20, False, "me")
        done = await ended(kernel, job)
        assert (done["total"], done["done"], done["failed"]) == (20, 20, 0)
        assert await items(kernel, job) == [{"pid": pid, "status": "done"} for pid in mine]
        assert await states(kernel) == {"READY": 1, "TERMINATED": 20}
        last = (await kernel.http.get(f"/v1/processes/{mine[0]}/history")).json()["items"][-1]
        assert (last["by"], last["cause"], last["reason"]) == ("me", f"job-{job['id']}", "closed")
        again = await ended(kernel, await bulk(kernel, "cancel", {"service": "check"}))
        assert again["total"] == 0
        listed = (await kernel.http.get("/v1/jobs?state=completed&count=true")).json()
        assert ([each["id"] for each in listed["items"]], listed["total"]) == ([again["id"], job["id"]], 2)
    assert await kernel.breaches() == {}


async def test_a_dry_run_says_what_would_happen_and_does_nothing(kernel: Lane) -> None:
    await kernel.define(form={"type": "object", "required": ["ok"]})
    runs = [(await kernel.run())["pid"] for _ in range(2)]
    ready = (await kernel.create())["pid"]
    async with kernel.jobs():
        job = await ended(kernel, await bulk(kernel, "cancel", {}, True))
        assert (job["done"], job["failed"]) == (3, 0)
        changes = [item["change"] for item in await items(kernel, job)]
        assert changes[0] == {"from": "RUNNING", "to": "TERMINATED", "outcome": "cancelled"}
        assert changes[2]["from"] == "READY"
        job = await ended(
            kernel, await bulk(kernel, "complete", {"state": ["RUNNING", "READY"]}, True, output={"ok": 1})
        )
        assert [item["status"] for item in await items(kernel, job)] == ["done", "done", "failed"]
        job = await ended(kernel, await bulk(kernel, "complete", {"pid": runs}, True, output={}))
        found = await items(kernel, job, "&status=failed")
        assert [(item["pid"], item["problem"]["status"]) for item in found] == [(pid, 422) for pid in runs]
        assert await items(kernel, job, "&status=done") == []
    assert await states(kernel) == {"RUNNING": 2, "READY": 1}
    assert (await kernel.read(ready))["version"] == 2
    assert await kernel.breaches() == {}


async def test_refusals_are_told_item_by_item(kernel: Lane) -> None:
    await kernel.define()
    running_one, ready = (await kernel.run())["pid"], (await kernel.create())["pid"]
    async with kernel.jobs():
        job = await bulk(kernel, "complete", {"state": "READY,RUNNING"})
        done = await ended(kernel, job)
    assert (done["done"], done["failed"]) == (1, 1)
    first, second = await items(kernel, job)
    assert first == {"pid": running_one, "status": "done"}
    assert (second["pid"], second["status"], second["problem"]["status"]) == (ready, "failed", 409)
    assert second["problem"]["state"] == "READY"


@pytest.mark.parametrize(
    ("command", "body", "filter", "field", "expected"),
    [
        ("suspend", {}, {"service": "check"}, "state", "SUSPENDED"),
        ("suspend", {}, {"queue": "night"}, "state", "SUSPENDED"),
        ("suspend", {}, {"entity_type": "permit", "entity_id": "7"}, "state", "SUSPENDED"),
        ("prioritize", {"priority": 9}, {"context.n": 1}, "priority", 9),
        ("assign", {"operator": "ada"}, {"key": "k"}, "assigned", "ada"),
        ("set_context", {"patch": {"n": 2}}, {"not_state": "TERMINATED"}, "context", {"n": 2}),
    ],
)
async def test_any_command_over_any_filter(
    kernel: Lane, command: str, body: Any, filter: Any, field: str, expected: Any
) -> None:
    await kernel.define(entity_type="permit")
    await kernel.define("other")
    pid = (await kernel.create(queue="night", key="k", context={"n": 1}, entity={"type": "permit", "id": "7"}))["pid"]
    other = await kernel.create("other", context={"n": 2})
    async with kernel.jobs():
        await ended(kernel, await bulk(kernel, command, filter, **body))
        assert (await kernel.read(pid))[field] == expected
        if command == "suspend":
            assert (await kernel.read(other["pid"]))["state"] == "READY"
            await ended(kernel, await bulk(kernel, "resume", filter))
            assert (await kernel.read(pid))["state"] == "READY"


async def test_a_tree_is_suspended_and_resumed(kernel: Lane) -> None:
    await kernel.define()
    root = (await kernel.create())["pid"]
    child = (await kernel.create(parent=root))["pid"]
    grandchild = (await kernel.create(parent=child))["pid"]
    async with kernel.jobs():
        for command, state in (("suspend", "SUSPENDED"), ("resume", "READY")):
            await ended(kernel, await bulk(kernel, command, {"root": root}))
            assert {(await kernel.read(pid))["state"] for pid in (root, child, grandchild)} == {state}
            await ended(kernel, await bulk(kernel, command, {"pid": child}, cascade=True))
        assert (await kernel.read(grandchild))["state"] == "READY"
        await ended(kernel, await bulk(kernel, "suspend", {"pid": [child]}, cascade=True))
        assert [(await kernel.read(pid))["state"] for pid in (root, child, grandchild)] == ["READY", *["SUSPENDED"] * 2]


async def test_incidents_are_resolved_in_bulk(kernel: Lane) -> None:
    await kernel.define()
    failed = []
    for code in ("away", "away", "broken"):
        failed.append((await kernel.run())["pid"])
        await kernel.ask("fail", failed[-1], error={"class": "poison", "code": code, "message": "no"})
    async with kernel.jobs():
        for dry_run in (True, False):
            body = {"filter": {"incident_type": "away"}, "action": "retry", "dry_run": dry_run}
            answer = await kernel.http.post("/v1/incidents:resolve", json=body)
            assert (answer.status_code, answer.json()["total"]) == (202, 2), answer.text
            done = await ended(kernel, answer.json())
            assert (done["kind"], done["done"]) == ("incidents", 2)
            assert [(item["pid"], item["incident"]) for item in await items(kernel, done)] == [
                (failed[0], 1),
                (failed[1], 2),
            ]
            if dry_run:
                assert await states(kernel) == {"SUSPENDED": 3}
    assert [(await kernel.read(pid))["state"] for pid in failed] == ["READY", "READY", "SUSPENDED"]
    assert await kernel.breaches() == {}


async def test_pause_resume_cancel(kernel: Lane) -> None:
    await kernel.define()
    for _ in range(30):
        await kernel.create()
    job = await bulk(kernel, "cancel", {})
    url = f"/v1/jobs/{job['id']}"
    paused = await kernel.http.post(f"{url}/pause")
    assert (paused.status_code, paused.json()["state"]) == (200, "paused")
    assert (await kernel.http.post(f"{url}/pause")).status_code == 409
    async with kernel.jobs():
        await asyncio.sleep(0.1)
        assert await states(kernel) == {"READY": 30}
        assert (await kernel.http.post(f"{url}/resume")).json()["state"] == "collecting"
        await ended(kernel, job)
    assert await states(kernel) == {"TERMINATED": 30}
    assert (await kernel.http.post(f"{url}/cancel")).status_code == 409
    await kernel.create()
    other = await bulk(kernel, "cancel", {})
    assert (await kernel.http.post(f"/v1/jobs/{other['id']}/cancel")).json()["state"] == "cancelled"
    async with kernel.jobs():
        await asyncio.sleep(0.05)
    assert await states(kernel) == {"READY": 1, "TERMINATED": 30}
    assert (await kernel.http.post(f"/v1/jobs/{other['id']}/explode")).status_code == 404
    assert await kernel.breaches() == {}


async def test_runners_that_die_lose_nothing_and_do_nothing_twice(kernel: Lane, database: str) -> None:
    """Two runners at once, as where a lease was lost unnoticed, and each cut off now and then."""
    await kernel.define()
    for _ in range(4):
        items = [{"service": "check"}] * 250
        await kernel.http.post("/v1/processes:batch", json={"items": items})
    job = await bulk(kernel, "prioritize", {}, priority=1)
    async with lane(database) as other:
        for _ in range(12):
            async with kernel.jobs(), other.jobs():
                await asyncio.sleep(0.06)
        async with other.jobs():
            done = await ended(kernel, job)
    assert (done["total"], done["done"], done["failed"]) == (1_000, 1_000, 0)
    async with kernel.database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM journal WHERE command = 'prioritize'") == 1_000
        assert (
            await connection.fetchval("SELECT count(DISTINCT pid) FROM journal WHERE command = 'prioritize'") == 1_000
        )
    assert await kernel.breaches() == {}


async def test_interactive_commands_are_not_starved(kernel: Lane) -> None:
    await kernel.define()
    for _ in range(4):
        await kernel.http.post("/v1/processes:batch", json={"items": [{"service": "check"}] * 500})
    async with kernel.jobs():
        job = await bulk(kernel, "prioritize", {}, priority=1)
        served = 0
        while (await kernel.http.get(f"/v1/jobs/{job['id']}")).json()["state"] != "completed":
            await kernel.create()
            served += 1
        assert served >= 10


async def test_who_may_and_what_is_wrong_is_told(kernel: Lane) -> None:
    await kernel.define()
    await kernel.create()
    viewer = HEADERS | {"x-kernel-roles": "viewer,operator", "x-kernel-operator": "ada"}
    good = {"filter": {}, "command": "cancel"}
    assert (await kernel.http.post("/v1/processes:bulk", json=good, headers=viewer)).status_code == 403
    job = (await kernel.http.post("/v1/processes:bulk", json=good)).json()
    assert (await kernel.http.post(f"/v1/jobs/{job['id']}/cancel", headers=viewer)).status_code == 403
    stranger = HEADERS | {"x-kernel-tenant": "other"}
    assert (await kernel.http.get(f"/v1/jobs/{job['id']}", headers=stranger)).status_code == 404
    for path in (f"/v1/jobs/{job['id']}/items", f"/v1/jobs/{job['id']}/cancel"):
        method = "GET" if path.endswith("items") else "POST"
        assert (await kernel.http.request(method, path, headers=stranger)).status_code == 404
    for wrong, where in (
        ({"command": "cancel"}, "/filter"),
        ({"filter": {"colour": "red"}, "command": "cancel"}, "/filter/colour"),
        ({"filter": {"state": "ASLEEP"}, "command": "cancel"}, "/filter/state"),
        ({"filter": {"key": {"a": 1}}, "command": "cancel"}, "/filter/key"),
        ({"filter": {"parent": "x"}, "command": "cancel"}, "/filter/parent"),
        ({"filter": {}, "command": "dispatch"}, "/command"),
        ({"filter": {}, "command": "prioritize"}, "/body/priority"),
        ({"filter": {}, "command": "cancel", "body": {"pid": 1}}, "/body/pid"),
    ):
        answer = await kernel.http.post("/v1/processes:bulk", json=wrong)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, where), answer.text
    for path in ("/v1/jobs/999", "/v1/jobs/x", "/v1/jobs/999/items"):
        assert (await kernel.http.get(path)).status_code == 404
    for path in ("/v1/jobs?state=x", "/v1/jobs?cursor=x", f"/v1/jobs/{job['id']}/items?status=x"):
        assert (await kernel.http.get(path)).status_code == 422


async def test_the_same_idempotency_key_makes_one_job(kernel: Lane) -> None:
    await kernel.define()
    headers = HEADERS | {"idempotency-key": "once"}
    body = {"filter": {}, "command": "cancel"}
    answers = [await kernel.http.post("/v1/processes:bulk", json=body, headers=headers) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    other = await kernel.http.post("/v1/processes:bulk", json=body | {"dry_run": True}, headers=headers)
    assert other.status_code == 422


async def test_running_processes_are_migrated_in_bulk(kernel: Lane) -> None:
    await kernel.define()
    old = [(await kernel.create(context={"n": n}))["pid"] for n in range(3)]
    await kernel.ask("cancel", old[2])
    await kernel.define(priority=70)
    await kernel.create()
    given = {"service": "check", "from": 1, "to": 2, "filter": {"state": "READY"}, "context_patch": {"scheme": "new"}}
    async with kernel.jobs():
        for dry_run in (True, False):
            answer = await kernel.http.post("/v1/processes:migrate", json=given | {"dry_run": dry_run})
            assert (answer.status_code, answer.json()["total"]) == (202, 2), answer.text
            done = await ended(kernel, answer.json())
            assert (done["command"], done["done"], done["failed"]) == ("migrate", 2, 0)
            found = await items(kernel, done)
            assert [item["pid"] for item in found] == old[:2]
            if dry_run:
                assert found[0]["change"]["changes"]["service_version"] == [1, 2]
                assert (await kernel.read(old[0]))["service_version"] == 1
    moved = await kernel.read(old[1])
    assert (moved["service_version"], moved["state"]) == (2, "READY")
    assert moved["context"] == {"n": 1, "scheme": "new"}
    for wrong, status in (
        ({"service": "check", "to": 9}, 404),
        ({"service": "nobody", "to": 1}, 404),
        ({"service": "check", "to": 2, "filter": {"service": "x"}}, 422),
        ({"service": "check"}, 422),
    ):
        assert (await kernel.http.post("/v1/processes:migrate", json=wrong)).status_code == status, wrong
    assert await kernel.breaches() == {}


async def test_a_job_that_can_not_be_gone_on_with_fails_and_says_why(kernel: Lane) -> None:
    await kernel.define()
    await kernel.create()
    broken, sound = await bulk(kernel, "cancel", {}), await bulk(kernel, "prioritize", {}, priority=1)
    await kernel.execute("UPDATE job SET filter = '{\"colour\": 1}' WHERE id = $1", broken["id"])
    async with kernel.jobs():
        failed = await ended(kernel, broken, "failed")
        assert "colour" in failed["error"]
        await ended(kernel, sound)
    assert await states(kernel) == {"READY": 1}
    assert await kernel.breaches() == {}


BODIES: dict[str, Any] = {
    "wait": {"for": {"timer": {"after": "PT1H"}}},
    "prioritize": {"priority": 3},
    "assign": {"operator": "eve"},
    "rollback": {"version": 1},
    "set_context": {"patch": {"a": 1}},
    "migrate": {"to": 1},
    "call": {"service": "check"},
    "map": {"service": "check", "over": [1, 2]},
    "iterate": {"service": "check", "over": [1, 2]},
    "arrive": {"name": "gate", "parties": 2},
}


async def test_every_command_can_be_asked_and_given_in_bulk(kernel: Lane) -> None:
    """None breaks, and none does anything while it is only asked."""
    await kernel.define()
    await kernel.run(context={"a": 0})
    async with kernel.jobs():
        for name in (each.value for each in NAMED):
            before = await states(kernel)
            asked = await ended(
                kernel, await bulk(kernel, name, {"pid": 1, "state": "RUNNING"}, True, **BODIES.get(name, {}))
            )
            (item,) = await items(kernel, asked)
            assert item["status"] == "done" or item["problem"]["status"] in (409, 422), (name, item)
            assert await states(kernel) == before, name
        for name in ("prioritize", "set_context", "map"):
            given = await ended(kernel, await bulk(kernel, name, {"pid": 1}, **BODIES[name]))
            assert (given["done"], given["failed"]) == (1, 0), (name, await items(kernel, given))
    assert len(await states(kernel)) == 2
    assert await kernel.breaches() == {}
