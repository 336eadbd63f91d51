"""Entities and events on the whole installation: lines, gangs of locks, events before their wait, over the death of replicas."""

import asyncio
import json
import os
import sys
import uuid
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from .installation import Installation
from .test_gateway import Face

CLERK = "entities-clerk"
DESIGN = {
    "services": {
        "entities-bill": {"roles": [CLERK], "entity_type": "invoice", "per_entity": "serialise"},
        "entities-pay": {"roles": [CLERK], "entity_type": "invoice", "per_entity": "reject"},
        "entities-move": {"roles": [CLERK]},
    },
    "operators": {CLERK: {"roles": [CLERK], "capacity": 10}},
    "event_types": {"entities.paid": {"key": "=event.data.order", "ttl": "PT10M", "meets": "one"}},
}


@pytest.fixture
async def face(installation: Installation) -> Any:
    async with aiohttp.ClientSession() as http, http.get(f"{installation.gateway}/openapi.json") as answer:
        yield Face(installation, http, await answer.json())


async def start(face: Face, service: str, expect: int = 201, **body: Any) -> Any:
    return await face("POST", "/v1/processes", {"service": service, **body}, expect=expect)


async def until(face: Face, pid: int, state: str, event: str | None = None) -> Any:
    """The process once it is there; with `event`, once that is in its context."""
    for _ in range(600):
        process = await face("GET", f"/v1/processes/{pid}")
        if process["state"] == state and (event is None or process["context"].get("event", {}).get("id") == event):
            return process
        await asyncio.sleep(0.05)
    raise AssertionError(f"process {pid} is {process['state']} with {process['context']}, not {state}")


async def test_an_entity_bears_one_at_a_time_and_shows_all(face: Face) -> None:
    await face("POST", "/v1/design:apply", DESIGN)
    invoice = {"type": "invoice", "id": uuid.uuid4().hex}
    buyer = {"type": "customer", "id": uuid.uuid4().hex, "role": "buyer"}
    first, second = [await start(face, "entities-bill", entity=invoice, entities=[buyer]) for _ in range(2)]
    pays = await start(face, "entities-pay", entity=invoice)
    await face("POST", "/v1/processes", {"service": "entities-pay", "entity": invoice}, expect=409)
    await until(face, first["pid"], "RUNNING")
    assert (await face("GET", f"/v1/processes/{second['pid']}"))["state"] == "NEW"
    why = await face("GET", f"/v1/processes/{second['pid']}/why")
    assert why["blockers"][0]["held_by"] == [{"pid": first["pid"], "until": None}]
    view = await face("GET", f"/v1/entities/customer/{buyer['id']}")
    assert [each["pid"] for each in view["alive"]] == [first["pid"], second["pid"]]
    assert view["roles"] == {"buyer": 2}
    found = await face("GET", f"/v1/processes?entity_type=customer&entity_id={buyer['id']}")
    assert [each["pid"] for each in found["items"]] == [first["pid"], second["pid"]]
    listed = await asyncio.create_subprocess_exec(
        *(Path(sys.executable).with_name("kernel"), "ps", "--json", "--entity", f"customer:{buyer['id']}"),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "KERNEL_HOME": str(face.installation.home.root)},
    )
    assert [each["pid"] for each in json.loads((await listed.communicate())[0])] == [second["pid"], first["pid"]]
    await face("POST", f"/v1/processes/{first['pid']}/complete", {"output": {}})
    await until(face, second["pid"], "RUNNING")
    for pid in (second["pid"], pays["pid"]):
        await face("POST", f"/v1/processes/{pid}/cancel", {})


async def test_all_locks_of_a_process_are_had_at_once(face: Face) -> None:
    await face("POST", "/v1/design:apply", DESIGN)
    crane, dock = (
        {"type": kind, "id": uuid.uuid4().hex, "role": kind, "access": "exclusive"} for kind in ("crane", "dock")
    )
    both = await start(face, "entities-move", entities=[crane, dock])
    await until(face, both["pid"], "RUNNING")
    one = await start(face, "entities-move", entities=[dock])
    looks = await start(face, "entities-move", entities=[{**dock, "access": "shared"}])
    await until(face, looks["pid"], "RUNNING")
    assert (await face("GET", f"/v1/processes/{one['pid']}"))["state"] == "READY"
    held = (await face("GET", f"/v1/allocations?pid={both['pid']}"))["items"]
    assert {each["resource"] for each in held} >= {f"entity:{each['type']}:{each['id']}" for each in (crane, dock)}
    await face("POST", f"/v1/processes/{both['pid']}/complete", {"output": {}})
    await until(face, one["pid"], "RUNNING")
    for each in (one, looks):
        await face("POST", f"/v1/processes/{each['pid']}/cancel", {})


async def test_an_event_before_its_wait_and_one_for_a_suspended_process(face: Face, installation: Installation) -> None:
    await face("POST", "/v1/design:apply", DESIGN)
    order = f"o/{uuid.uuid4().hex}"
    pid = (await start(face, "entities-move", context={"order": order}))["pid"]
    await until(face, pid, "RUNNING")

    async def tell(id: str) -> None:
        event = {
            "specversion": "1.0",
            "id": id,
            "source": "/entities",
            "type": "entities.paid",
            "data": {"order": order},
        }
        await face("POST", "/v1/events", event, expect=202)

    async def became(id: str) -> Any:
        return await face("GET", f"/v1/events?source=/entities&id={id}")

    wait = {"for": {"event": {"type": "entities.paid", "key": "=context.order"}}, "timeout": "PT5M"}
    early, late = uuid.uuid4().hex, uuid.uuid4().hex
    await tell(early)
    await tell(early)
    assert (await became(early))["buffered_until"] is not None
    for replica in installation.pids("rules-svc"):
        installation.kill(replica)
        await installation.gone(replica)
    await installation.ready()
    await face("POST", f"/v1/processes/{pid}/wait", wait)
    await until(face, pid, "RUNNING", early)
    found = await became(early)
    assert (found["correlated"], found["buffered_until"], found["expired"]) == ([pid], None, False)
    await face("POST", f"/v1/processes/{pid}/wait", wait)
    await face("POST", f"/v1/processes/{pid}/suspend", {})
    await tell(late)
    suspended = await until(face, pid, "SUSPENDED", late)
    assert suspended["waiting_for"]["met"] is True
    await face("POST", f"/v1/processes/{pid}/resume", {})
    await until(face, pid, "RUNNING", late)
    await face("POST", f"/v1/processes/{pid}/cancel", {})
    await installation.check()
