"""Definitions on the whole installation: canary, migration, compensation, incident, retirement; all through the gateway."""

from typing import Any

import aiohttp
import pytest
from kernel_testing import eventually

from .installation import Installation
from .test_gateway import Face

P = "life"


@pytest.fixture
async def face(installation: Installation) -> Any:
    await installation.ready()
    async with aiohttp.ClientSession() as http:
        async with http.get(installation.gateway + "/openapi.json") as answer:
            document = await answer.json()
        yield Face(installation, http, document)


async def reaches(face: Face, pid: int, state: str) -> Any:
    async def there() -> Any:
        found = await face("GET", f"/v1/processes/{pid}")
        assert found["state"] == state, found
        return found

    return await eventually(there, timeout=60, interval=0.1)


async def done(face: Face, pid: int, **output: Any) -> Any:
    await reaches(face, pid, "RUNNING")
    return await face("POST", f"/v1/processes/{pid}/complete", {"output": output})


async def test_a_definition_lives_through_the_gateway(installation: Installation, face: Face) -> None:
    await face("PUT", f"/v1/operators/{P}-ada", {"name": "Ada", "roles": [P], "capacity": 20}, expect=201)
    plain = {"roles": [P]}
    await face("PUT", f"/v1/services/{P}-undo", plain | {"input": {"seat": "=context.output.seat"}}, expect=201)
    await face("PUT", f"/v1/services/{P}-book", plain | {"compensation": f"{P}-undo"}, expect=201)
    await face("PUT", f"/v1/services/{P}-trip", {"roles": [f"{P}-nobody"], "priority": 40}, expect=201)
    await face("PUT", f"/v1/services/{P}-trip", plain | {"priority": 60, "output": {"ended": True}})
    canary = await face("POST", f"/v1/services/{P}-trip/canary", {"version": 2, "share": 0.0})
    assert (canary["current"], canary["canary"]["version"]) == (1, 2)
    trip = await face("POST", "/v1/processes", {"service": f"{P}-trip"}, expect=201)
    assert (trip["service_version"], trip["state"]) == (1, "READY")
    pid = trip["pid"]
    plan = await face("POST", f"/v1/processes/{pid}/migrate?dry_run=true", {"to": 2})
    assert plan["possible"]
    assert plan["changes"]["demands"][1][0]["roles"] == [P]
    moved = await face("POST", f"/v1/processes/{pid}/migrate", {"to": 2})
    assert (moved["service_version"], moved["priority"]) == (2, 60)
    await reaches(face, pid, "RUNNING")
    seats = []
    for seat in ("a", "b"):
        body = {"service": f"{P}-book", "parent": pid, "context": {"of": seat}}
        child = await face("POST", "/v1/processes", body, expect=201)
        await done(face, child["pid"], seat=seat)
        seats.append(child["pid"])
    failed = await face("POST", f"/v1/processes/{pid}/fail", {"error": {"class": "poison", "code": "storm"}})
    incident = failed["incident"]
    await face("POST", f"/v1/incidents/{incident}/assign", {"assignee": f"{P}-ada"})
    groups = (await face("GET", "/v1/incidents?group=type"))["items"]
    assert f"{P}-trip" in {each["service"] for each in groups if each["type"] == "storm"}
    ended = await face("POST", f"/v1/incidents/{incident}/resolve", {"action": "terminate", "compensate": True})
    assert ended["state"] == "resolved"
    for of in reversed(seats):

        async def undoing(of: int = of) -> Any:
            tree = await face("GET", f"/v1/processes/{pid}/tree")
            return [each["pid"] for each in tree["children"] if each["compensates"] == of]

        (step,) = await eventually(undoing, timeout=60, interval=0.1)
        running = await reaches(face, step, "RUNNING")
        assert running["context"]["seat"] == "ab"[seats.index(of)]
        await done(face, step)

    async def over() -> bool:
        return (await face("GET", f"/v1/processes/{pid}"))["compensating"] is False

    await eventually(over, timeout=30, interval=0.1)
    await face("POST", f"/v1/services/{P}-trip/promote")
    await face("POST", f"/v1/services/{P}-trip/versions/1/deprecate", {"reason": "use 2"})
    old = await face("POST", "/v1/processes", {"service": f"{P}-trip", "service_version": 1}, expect=201)
    assert "use 2" in old["deprecated"]["detail"]
    await face("POST", f"/v1/processes/{old['pid']}/cancel")
    await face("POST", f"/v1/services/{P}-trip/retire", {"reason": "done"})
    await face("POST", "/v1/processes", {"service": f"{P}-trip"}, expect=409)
    listed = await face("GET", f"/v1/services/{P}-trip/versions?alive=true")
    assert [(each["version"], each["state"], each["alive"]) for each in listed["items"]] == [
        (2, "retired", 0),
        (1, "retired", 0),
    ]
    await installation.check()
