"""The whole service on a real Kafka: grants, commands from the bus, duplicates, rubbish, deaths, two replicas."""

import asyncio
import secrets
from typing import Any

from kernel_contracts import message_types as types
from kernel_contracts.process import CommandRefused, DispatchRefused, ProcessEvent
from kernel_testing import eventually

from .installation import Bus, Service


async def test_grants_run_processes_and_late_ones_are_refused(service: Service, bus: Bus) -> None:
    await service.define(roles=["clerk"])
    process = await service.create()
    pid = process["pid"]
    for _ in range(2):
        bus.grant(process, f"{pid}.2.1")
    running = await service.until(pid, "RUNNING")
    assert (running["operator"], running["dispatch_id"], running["version"]) == ("ada", f"{pid}.2.1", 3)
    bus.grant(process, f"{pid}.2.2", "bob")

    async def refused() -> Any:
        return [each for each in await bus.events(pid) if each.type == types.DISPATCH_REFUSED]

    (told,) = await eventually(refused, timeout=20, interval=0.2)
    assert DispatchRefused.model_validate(told.body).dispatch_id == f"{pid}.2.2"
    about = {name: told.headers[f"ce_{name}"] for name in ("dispatchid", "give", "aggregateversion")}
    assert about == {"dispatchid": f"{pid}.2.2", "give": "running", "aggregateversion": "3"}
    id = bus.command(types.COMPLETE_PROCESS, {"pid": pid, "output": {"ok": True}})
    await service.until(pid, "TERMINATED")
    bus.grant(process, f"{pid}.2.1")
    bus.command(types.COMPLETE_PROCESS, {"pid": pid, "output": {"ok": True}}, id=id)
    marker = await _marked(service, bus)
    events = await bus.events(pid)
    assert [each.type.split(".")[2] for each in events] == [
        "created",
        "ready",
        "running",
        "dispatch_refused",
        "terminated",
    ]
    lives = [each for each in events if each.type != types.DISPATCH_REFUSED]
    assert [ProcessEvent.model_validate(each.body).version for each in lives] == [1, 2, 3, 4]
    assert [each.headers["ce_id"] for each in lives] == [f"{pid}.{version}" for version in (1, 2, 3, 4)]
    ended = lives[-1].headers
    assert (ended["ce_give"], ended["ce_dispatchid"], ended["ce_causationid"]) == ("all", f"{pid}.2.1", id)
    assert marker > pid
    await service.sound()


async def _marked(service: Service, bus: Bus) -> int:
    """A process that was started over the bus just now: whatever was sent before has been dealt with."""
    key = secrets.token_hex(4)
    bus.command(types.CREATE_PROCESS, {"service": "check", "key": key})

    async def there() -> Any:
        return (await service.http.get(f"/v1/processes?key={key}")).json()["items"]

    (found,) = await eventually(there, timeout=20)
    await asyncio.sleep(0.5)
    return int(found["pid"])


async def test_commands_from_the_bus_count_once_and_refusals_are_told(service: Service, bus: Bus) -> None:
    await service.define()
    for _ in range(3):
        bus.command(types.CREATE_PROCESS, {"service": "check", "context": {"n": 1}}, id="same")
    refused = {
        bus.command(types.CREATE_PROCESS, {"service": "nothing"}): (404, None),
        bus.command(types.CANCEL_PROCESS, {"pid": 999}): (404, 999),
    }
    pid = await _marked(service, bus)
    refused[bus.command(types.WAKE_PROCESS, {"pid": pid, "expected_version": 1})] = (412, pid)
    refused[bus.command(types.WAKE_PROCESS, {"pid": pid})] = (409, pid)
    bus.command(types.SUSPEND_PROCESS, {"pid": pid, "reason": "not now"})
    assert (await service.until(pid, "SUSPENDED"))["version"] == 3
    assert (await service.http.get("/v1/processes?count=true")).json()["total"] == 2

    async def told() -> Any:
        found = {each.headers["ce_causationid"]: each for each in await bus.events() if "refused" in each.type}
        assert set(found) == set(refused)
        return found

    for id, record in (await eventually(told, timeout=20, interval=0.2)).items():
        body = CommandRefused.model_validate(record.body)
        assert (body.command_id, body.status, body.pid) == (id, *refused[id])
    await service.sound()


async def test_rubbish_becomes_dead_letters_and_the_service_lives_on(service: Service, bus: Bus) -> None:
    await service.define()
    attributes = {"ce_specversion": "1.0", "ce_id": "x", "ce_source": "/x", "ce_type": types.CREATE_PROCESS}
    rubbish: list[tuple[str, bytes | None, dict[str, str]]] = [
        ("process-commands", b"\xff\xfe\x00", attributes),
        ("process-commands", None, attributes),
        ("process-commands", b"{}", {"ce_type": "x"}),
        ("process-commands", b"[" * 100_000, attributes),
        ("process-commands", b'{"service": "check", "context": {"a": "\\u0000"}}', attributes),
        ("process-commands", b'{"service": "check", "surprise": 1}', attributes),
        ("resource-events", b"garbage", attributes | {"ce_type": types.RESOURCES_GRANTED}),
    ]
    for number, (topic, value, headers) in enumerate(rubbish):
        bus.raw(topic, value, f"k{number}", headers)
    await _marked(service, bus)

    async def buried() -> Any:
        found = (await service.http.get("/v1/dead-letters")).json()["items"]
        assert len(found) == len(rubbish)
        return True

    await eventually(buried, timeout=20)
    await service.sound()


async def test_time_and_relatives_survive_a_death(service: Service, bus: Bus) -> None:
    await service.define(retry={"max_attempts": 2, "backoff": {"initial": "PT2S"}})
    first = await service.create()
    bus.grant(first, f"{first['pid']}.2.1")
    await service.until(first["pid"], "RUNNING")
    await service.post(f"/v1/processes/{first['pid']}/fail", error={"class": "transient", "code": "down"})
    parent = await service.create()
    children = [await service.create(parent=parent["pid"], after=[first["pid"]]) for _ in range(3)]
    await service.kill()
    await service.start()
    ready = await service.until(first["pid"], "READY")
    assert ready["attempt"] == 2
    bus.grant(ready, f"{first['pid']}.{ready['version']}.1")
    await service.until(first["pid"], "RUNNING")
    await service.post(f"/v1/processes/{first['pid']}/complete", output={})
    await service.kill()
    await service.start()
    for child in children:
        await service.until(child["pid"], "READY")
    await service.post(f"/v1/processes/{parent['pid']}/cancel", reason="enough")
    await service.kill()
    await service.start()
    for child in children:
        assert (await service.until(child["pid"], "TERMINATED"))["outcome"] == "cancelled"
    await service.sound()


async def test_two_replicas_make_one_process_of_a_key(
    service: Service, bus: Bus, kafka: str, service_database: str
) -> None:
    second = await Service(service_database, kafka, bus.prefix, replica=2).start()
    try:
        await service.define()
        keys = [f"k{n}" for n in range(40)]
        made = await asyncio.gather(*(each.create(key=key) for key in keys for each in (service, second)))
        assert len({process["pid"] for process in made}) == len(keys)
        pids = sorted({process["pid"] for process in made})
        answers = await asyncio.gather(
            *(each.http.post(f"/v1/processes/{pid}/cancel", json={}) for pid in pids for each in (service, second))
        )
        assert sorted(answer.status_code for answer in answers) == [200] * len(pids) + [409] * len(pids)
        await service.sound()
    finally:
        assert await second.stop() == 0


async def test_a_bulk_job_survives_the_death_of_its_replica(service: Service) -> None:
    await service.define()
    for _ in range(5):
        batch = await service.http.post("/v1/processes:batch", json={"items": [{"service": "check"}] * 1_000})
        assert batch.status_code == 200
    body = {"filter": {"service": "check"}, "command": "prioritize", "body": {"priority": 1}}
    job = (await service.http.post("/v1/processes:bulk", json=body)).json()
    url = f"/v1/jobs/{job['id']}"

    async def begun() -> bool:
        return bool((await service.http.get(url)).json()["done"] > 0)

    await eventually(begun, interval=0.02)
    await service.kill()
    await service.start()
    assert (await service.http.get(url)).json()["state"] == "running"

    async def ended() -> Any:
        found = (await service.http.get(url)).json()
        assert found["state"] == "completed", found
        return found

    found = await eventually(ended, timeout=30, interval=0.1)
    assert (found["total"], found["done"], found["failed"]) == (5_000, 5_000, 0)
    versions = (await service.http.get("/v1/processes?limit=500&fields=version")).json()["items"]
    assert {each["version"] for each in versions} == {3}
    await service.sound()


async def test_calls_and_barriers_over_the_bus_and_a_death(service: Service, bus: Bus) -> None:
    await service.define("parent")
    await service.define("child")
    first, second = await service.create("parent"), await service.create("parent")
    for process in (first, second):
        bus.grant(process, f"{process['pid']}.2.1")
        await service.until(process["pid"], "RUNNING")
    asked = {"pid": first["pid"], "service": "child", "over": [3, 1, 2], "max_running": 2}
    for _ in range(2):
        bus.command(types.MAP_PROCESS, asked, id="map")
    bus.command(types.ARRIVE_AT_BARRIER, {"pid": second["pid"], "name": "gate", "parties": 2})
    await service.until(first["pid"], "WAITING")
    await service.until(second["pid"], "WAITING")
    await service.kill()
    await service.start()
    done: set[int] = set()

    async def ready() -> Any:
        found = (await service.http.get(f"/v1/processes?parent={first['pid']}&state=READY")).json()["items"]
        assert found
        return found

    while len(done) < 3:
        for child in await eventually(ready, timeout=20):
            pid = child["pid"]
            bus.grant(child, f"{pid}.2.1")
            await service.until(pid, "RUNNING")
            bus.command(types.COMPLETE_PROCESS, {"pid": pid, "output": {"n": child["context"]["item"]}})
            done.add(pid)
            if len(done) == 3:
                await service.kill()
                await service.start()
            await service.until(pid, "TERMINATED")
    back = await service.until(first["pid"], "READY")
    assert back["context"]["child"] == [{"n": 3}, {"n": 1}, {"n": 2}]
    bus.grant(back, f"{first['pid']}.{back['version']}.1")
    await service.until(first["pid"], "RUNNING")
    bus.command(types.ARRIVE_AT_BARRIER, {"pid": first["pid"], "name": "gate", "parties": 2})
    for process in (first, second):
        await service.until(process["pid"], "READY")
    await service.sound()
