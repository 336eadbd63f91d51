"""Calls and barriers on the whole installation, over the death of replicas."""

import uuid
from typing import Any

import aiohttp
import pytest

from .installation import Installation
from .test_entities import start, until
from .test_gateway import Face

CLERK = "calls-clerk"
DESIGN = {
    "services": {"calls-parent": {"roles": [CLERK]}, "calls-child": {"roles": [CLERK]}},
    "operators": {CLERK: {"roles": [CLERK], "capacity": 10}},
}


@pytest.fixture
async def face(installation: Installation) -> Any:
    async with aiohttp.ClientSession() as http, http.get(f"{installation.gateway}/openapi.json") as answer:
        made = Face(installation, http, await answer.json())
        await made("POST", "/v1/design:apply", DESIGN)
        yield made


async def test_a_map_comes_back_over_a_death(installation: Installation, face: Face) -> None:
    caller = await start(face, "calls-parent", context={"lines": [{"n": 1}, {"n": 2}, {"n": 3}]})
    pid = caller["pid"]
    await until(face, pid, "RUNNING")
    asked = {"service": "calls-child", "over": "=context.lines", "context": {"n": "=item.n"}, "max_running": 2}
    called = await face("POST", f"/v1/processes/{pid}/map", asked | {"into": "sums"})
    assert (called["state"], called["waiting_for"]["call"]["total"]) == ("WAITING", 3)
    done: set[int] = set()
    while len(done) < 3:
        found = (await face("GET", f"/v1/processes?parent={pid}"))["items"]
        for child in [each for each in found if each["pid"] not in done]:
            running = await until(face, child["pid"], "RUNNING")
            if not done:
                why = await face("GET", f"/v1/processes/{pid}/why")
                assert "0 of 3 have completed" in why["reason"]
            output = {"sum": running["context"]["n"] * 10}
            await face("POST", f"/v1/processes/{child['pid']}/complete", {"output": output})
            done.add(child["pid"])
            if len(done) == 2:
                for replica in installation.pids("process-svc"):
                    installation.kill(replica)
                    await installation.gone(replica)
                await installation.ready()
    back = await until(face, pid, "RUNNING")
    assert back["context"]["sums"] == [{"sum": 10}, {"sum": 20}, {"sum": 30}]
    (call,) = (await face("GET", f"/v1/processes/{pid}/calls"))["items"]
    assert (call["completed"], call["open"]) == (3, False)
    items = (await face("GET", f"/v1/calls/{call['id']}/items"))["items"]
    assert [each["output"] for each in items] == back["context"]["sums"]
    await face("POST", f"/v1/processes/{pid}/complete", {"output": {}})


async def test_processes_of_an_entity_wait_for_each_other(face: Face) -> None:
    entity = {"type": "parcel", "id": uuid.uuid4().hex}
    pids = [(await start(face, "calls-parent", entity=entity))["pid"] for _ in range(2)]
    for pid in pids:
        await until(face, pid, "RUNNING")
    path = "/v1/barriers/papers"
    waiting = await face("POST", f"{path}/arrive", {"pid": pids[0], "parties": 2})
    assert waiting["state"] == "WAITING"
    await face("POST", f"{path}/arrive", {"pid": pids[1], "parties": 3}, expect=409)
    shown = await face("GET", f"{path}?entity_type=parcel&entity_id={entity['id']}")
    assert [each["pid"] for each in shown["arrived"]] == pids[:1]
    await face("POST", f"{path}/arrive", {"pid": pids[1], "parties": 2})
    for pid in pids:
        await until(face, pid, "RUNNING")
        await face("POST", f"/v1/processes/{pid}/complete", {"output": {}})
