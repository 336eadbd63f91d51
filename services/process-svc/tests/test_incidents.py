"""Incidents: the same failure again is the same incident; somebody's; resolved once."""

from typing import Any

from kernel_runtime.problem import Problem

from .lane import Lane


async def failed(kernel: Lane, service: str = "check", code: str = "down") -> Any:
    process = await kernel.run(service)
    return await kernel.ask("fail", process["pid"], error={"class": "poison", "code": code})


async def incident(kernel: Lane, id: int) -> Any:
    return (await kernel.http.get(f"/v1/incidents/{id}")).json()


async def again(kernel: Lane, pid: int, code: str) -> Any:
    await kernel.grant(await kernel.ask("retry", pid))
    return await kernel.ask("fail", pid, error={"class": "poison", "code": code})


async def test_the_same_failure_again_is_the_same_incident(kernel: Lane) -> None:
    await kernel.define()
    process = await failed(kernel)
    pid, id = process["pid"], process["incident"]
    await kernel.http.post(f"/v1/incidents/{id}/assign", json={"assignee": "ada"})
    assert (await again(kernel, pid, "down"))["incident"] == id
    found = await incident(kernel, id)
    assert (found["state"], found["count"], found["assignee"], found["action"]) == ("open", 2, "ada", None)
    assert found["last_at"] > found["opened_at"]
    other = (await again(kernel, pid, "elsewhere"))["incident"]
    assert other != id
    assert ((await incident(kernel, id))["state"], (await incident(kernel, other))["count"]) == ("resolved", 1)
    told = [body for kind, body in await kernel.messages() if kind.startswith("kernel.incident")]
    assert [(each["state"], each["count"]) for each in told] == [
        ("open", 1),
        ("resolved", 1),
        ("open", 2),
        ("resolved", 2),
        ("open", 1),
    ]
    async with kernel.database.connection() as connection:
        ids = await connection.fetch(
            "SELECT headers::jsonb ->> 'ce_id' AS id FROM outbox WHERE headers LIKE '%incident-%'"
        )
    assert len({row["id"] for row in ids}) == len(told)
    assert await kernel.breaches() == {}


async def test_alike_ones_are_one_group(kernel: Lane) -> None:
    await kernel.define()
    await kernel.define("other")
    pids = [(await failed(kernel))["pid"] for _ in range(3)]
    await failed(kernel, "other")
    await failed(kernel, code="up")
    await again(kernel, pids[0], "down")
    groups = (await kernel.http.get("/v1/incidents?group=type")).json()["items"]
    first = groups[0]
    assert (first["type"], first["code"], first["service"]) == ("down", "down", "check")
    assert (first["incidents"], first["occurrences"], first["unassigned"]) == (3, 4, 3)
    assert sorted(first["examples"]) == pids
    assert [each["incidents"] for each in groups] == [3, 1, 1]
    assert len((await kernel.http.get("/v1/incidents?type=up")).json()["items"]) == 1
    assert (await kernel.http.get("/v1/incidents?type=down&count=true&state=open")).json()["total"] == 4
    for wrong in ("group=pid", "state=gone", "type=%00", "pid=x"):
        assert (await kernel.http.get(f"/v1/incidents?{wrong}")).status_code == 422


async def test_somebody_looks_after_it_and_resolves_what_they_saw(kernel: Lane) -> None:
    await kernel.define()
    id = (await failed(kernel))["incident"]
    url = f"/v1/incidents/{id}"
    assert (await kernel.http.get(url)).headers["etag"] == '"1"'
    ada = {"x-kernel-roles": "operator", "x-kernel-operator": "ada"}
    bob = {"x-kernel-roles": "operator", "x-kernel-operator": "bob"}
    assert (await kernel.http.post(f"{url}/assign", json={"assignee": "bob"}, headers=ada)).status_code == 403
    taken = await kernel.http.post(f"{url}/assign", json={"assignee": "ada"}, headers=ada)
    assert (taken.json()["assignee"], taken.headers["etag"]) == ("ada", '"2"')
    assert (await kernel.http.post(f"{url}/assign", json={"assignee": "bob"}, headers=bob)).status_code == 403
    assert len((await kernel.http.get("/v1/incidents?assignee=ada")).json()["items"]) == 1
    assert len((await kernel.http.get("/v1/incidents?assignee=")).json()["items"]) == 0
    body = {"action": "retry", "context": {"fixed": True}}
    assert (await kernel.http.post(f"{url}/resolve", json=body, headers={"if-match": '"1"'})).status_code == 412
    done = await kernel.http.post(f"{url}/resolve", json=body, headers={"if-match": '"2"'})
    assert (done.json()["version"], done.json()["process"]["context"]) == (3, {"fixed": True})
    assert (await kernel.http.get(url)).headers["etag"] == '"3"'
    assert (await kernel.http.post(f"{url}/assign", json={"assignee": "bob"})).status_code == 409
    assert (await kernel.http.post("/v1/incidents/99/assign", json={"assignee": "bob"})).status_code == 404
    assert (await kernel.http.post(f"{url}/assign", json={"assignee": "a/b"})).status_code == 422
    assert not isinstance(await kernel.read(1), Problem)
    assert await kernel.breaches() == {}
