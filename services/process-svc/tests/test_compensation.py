"""Compensation: what was done is undone in reverse order, one step after the other, also where the process dies in between."""

from typing import Any

from kernel_runtime.problem import Problem
from process_svc.store import follow_ups as store

from .lane import Lane


async def defined(kernel: Lane) -> None:
    for name in ("flight", "hotel"):
        await kernel.define(name, compensation=f"cancel {name}")
        await kernel.define(f"cancel {name}", input={"booking": "=context.output.booking"})
    await kernel.define("note")
    await kernel.define("trip", compensation="apologise")
    await kernel.define("apologise")


async def booked(kernel: Lane, parent: int, service: str, booking: str) -> Any:
    child = await kernel.run(service, parent=parent, context={"of": booking})
    return await kernel.ask("complete", child["pid"], output={"booking": booking})


async def alive(kernel: Lane, parent: int) -> list[Any]:
    await kernel.settle()
    found = (await kernel.http.get(f"/v1/processes?parent={parent}&sort=pid")).json()["items"]
    return [each for each in found if each["state"] != "TERMINATED"]


async def finish(kernel: Lane, process: Any) -> None:
    await kernel.grant(process)
    await kernel.ask("complete", process["pid"])
    await kernel.settle()


async def test_a_cancelled_trip_is_undone_in_reverse_order(kernel: Lane) -> None:
    await defined(kernel)
    trip = await kernel.run("trip", context={"who": "ada"})
    pid = trip["pid"]
    done = [await booked(kernel, pid, service, service[0]) for service in ("flight", "hotel", "note")]
    open_one = await kernel.create("flight", parent=pid)
    cancelled = await kernel.ask("cancel", pid, compensate=True)
    assert (cancelled["outcome"], cancelled["compensating"]) == ("cancelled", True)
    order = []
    while running := await alive(kernel, pid):
        (step,) = running
        order.append((step["service"], step["compensates"], step["context"].get("booking")))
        assert step["parent"] == pid
        await finish(kernel, step)
    assert order == [
        ("cancel hotel", done[1]["pid"], "h"),
        ("cancel flight", done[0]["pid"], "f"),
        ("apologise", pid, None),
    ]
    assert (await kernel.read(open_one["pid"]))["outcome"] == "cancelled"
    after = await kernel.read(pid)
    assert (after["state"], after["compensating"], after["version"]) == ("TERMINATED", False, cancelled["version"])
    tree = (await kernel.http.get(f"/v1/processes/{pid}/tree")).json()
    assert [child["compensates"] for child in tree["children"]] == [None] * 4 + [done[1]["pid"], done[0]["pid"], pid]
    last = tree["children"][-1]["pid"]
    assert (await kernel.read(last))["context"]["context"] == {"who": "ada"}
    assert await kernel.breaches() == {}


async def test_a_rollback_undoes_what_came_after_and_goes_on_then(kernel: Lane) -> None:
    await defined(kernel)
    trip = await kernel.run("trip")
    pid = trip["pid"]
    before = await booked(kernel, pid, "hotel", "early")
    version = (await kernel.ask("set_context", pid, patch={"n": 1}))["version"]
    after = await booked(kernel, pid, "flight", "late")
    await kernel.ask("set_context", pid, patch={"n": 2})
    back = await kernel.ask("rollback", pid, version=version)
    assert (back["state"], back["compensating"], back["context"]) == ("SUSPENDED", True, {"n": 1})
    for name, asked in (("resume", {}), ("rollback", {"version": 1})):
        refused = await kernel.ask(name, pid, **asked)
        assert isinstance(refused, Problem)
        assert (refused.status, refused.title) == (409, "Compensation is under way")
    (step,) = await alive(kernel, pid)
    assert step["compensates"] == after["pid"]
    await finish(kernel, step)
    on = await kernel.read(pid)
    assert (on["state"], on["compensating"], on["context"]) == ("READY", False, {"n": 1})
    assert before["state"] == "TERMINATED"
    await kernel.grant(on)
    undone = await kernel.ask("rollback", pid, version=1, resume=False)
    order = []
    while running := await alive(kernel, pid):
        order.append(running[0]["compensates"])
        await finish(kernel, running[0])
    assert order == [before["pid"], pid]
    stays = await kernel.read(pid)
    assert (undone["state"], stays["state"], stays["compensating"]) == ("SUSPENDED", "SUSPENDED", False)
    assert (await kernel.ask("resume", pid))["state"] == "READY"
    assert await kernel.breaches() == {}


async def test_a_rollback_gives_everything_back(kernel: Lane) -> None:
    await kernel.define(requirements=[{"type": "glue", "units": 2}, {"type": "room", "hold": "process"}])
    process = await kernel.run()
    await kernel.ask("suspend", process["pid"], hold=True)
    back = await kernel.ask("rollback", process["pid"], version=1)
    assert back["state"] == "READY"
    async with kernel.database.connection() as connection:
        headers = await connection.fetchval("SELECT headers FROM outbox ORDER BY id DESC LIMIT 1")
    assert '"ce_give":"all"' in headers
    assert f'"ce_dispatchid":"{process["dispatch_id"]}"' in headers
    assert await kernel.breaches() == {}


async def test_a_death_in_the_middle_loses_no_step_and_does_none_twice(kernel: Lane) -> None:
    await defined(kernel)
    pid = (await kernel.run("trip"))["pid"]
    for service in ("flight", "hotel"):
        await booked(kernel, pid, service, service)
    kernel.crash = True
    await kernel.ask("cancel", pid, compensate=True)
    await kernel.settle()
    assert await alive(kernel, pid) == []
    order = []
    for _ in range(4):
        async with kernel.database.connection() as connection:
            left = await store.abandoned(connection, 0, 10)
        assert "compensate" in {each.kind for each in left}
        for each in [*left, *left]:
            await kernel.give("follow_up", each)
        assert await kernel.breaches() == {}
        for step in await alive(kernel, pid):
            order.append(step["service"])
            await finish(kernel, step)
    assert order == ["cancel hotel", "cancel flight", "apologise"]
    assert (await kernel.read(pid))["compensating"] is False
    assert await kernel.breaches() == {}


async def test_a_compensation_that_fails_needs_somebody(kernel: Lane) -> None:
    await kernel.define("flight", compensation="cancel flight")
    await kernel.define("cancel flight", on_exhausted="fail", input={"booking": "=context.output.booking"})
    await kernel.define("trip")
    pid = (await kernel.run("trip"))["pid"]
    for booking in ({"booking": "a"}, {}):
        child = await kernel.run("flight", parent=pid)
        await kernel.ask("complete", child["pid"], output=booking)
    await kernel.ask("fail", pid, error={"class": "poison"})
    incident = (await kernel.http.get(f"/v1/incidents?pid={pid}")).json()["items"][0]["id"]
    body = {"action": "terminate", "compensate": True}
    ended = await kernel.http.post(f"/v1/incidents/{incident}/resolve", json=body)
    assert ended.json()["process"]["outcome"] == "cancelled"
    (stuck,) = await alive(kernel, pid)
    assert (stuck["state"], stuck["incident"] is not None) == ("SUSPENDED", True)
    listed = (await kernel.http.get(f"/v1/incidents?pid={stuck['pid']}")).json()["items"]
    assert listed[0]["type"] == "compensation_input"
    await kernel.ask("cancel", stuck["pid"])
    (step,) = await alive(kernel, pid)
    await kernel.grant(step)
    failed = await kernel.ask("fail", step["pid"])
    assert (failed["state"], failed["incident"] is not None) == ("SUSPENDED", True)
    again = await kernel.ask("retry", step["pid"])
    await finish(kernel, again)
    assert await alive(kernel, pid) == []
    assert (await kernel.read(pid))["compensating"] is False
    async with kernel.database.connection() as connection:
        states = await connection.fetch("SELECT state FROM compensation ORDER BY number")
    assert [row["state"] for row in states] == ["skipped", "done"]
    assert await kernel.breaches() == {}


async def test_what_would_undo_it_must_be_defined(kernel: Lane) -> None:
    await kernel.define("trip", compensation="nothing", on_exhausted="fail")
    process = await kernel.run("trip")
    for name, asked in (("cancel", {"compensate": True}), ("rollback", {"version": 1})):
        refused = await kernel.ask(name, process["pid"], **asked)
        assert isinstance(refused, Problem)
        assert (refused.status, refused.title) == (409, "Compensation is not defined")
    assert (await kernel.read(process["pid"]))["state"] == "RUNNING"
    await kernel.define("nothing")
    await kernel.http.post("/v1/services/nothing/retire")
    failed = await kernel.ask("fail", process["pid"], compensate=True)
    assert (failed["outcome"], failed["compensating"]) == ("failed", True)
    (step,) = await alive(kernel, process["pid"])
    await finish(kernel, step)
    never_ran = await kernel.create("trip")
    assert (await kernel.ask("cancel", never_ran["pid"], compensate=True))["compensating"] is False
    assert await kernel.breaches() == {}


async def test_grandchildren_are_undone_unless_their_parent_is_as_a_whole(kernel: Lane) -> None:
    await defined(kernel)
    await kernel.define("leg")
    top = await kernel.run("note")
    pid = top["pid"]
    leg = await kernel.run("leg", parent=pid)
    inner = await booked(kernel, leg["pid"], "flight", "inner")
    await kernel.ask("complete", leg["pid"])
    whole = await kernel.run("hotel", parent=pid)
    await booked(kernel, whole["pid"], "flight", "of the hotel")
    await kernel.ask("complete", whole["pid"], output={"booking": "x"})
    await kernel.ask("cancel", pid, compensate=True)
    order = []
    while running := await alive(kernel, pid):
        order.append(running[0]["compensates"])
        await finish(kernel, running[0])
    assert order == [whole["pid"], inner["pid"]]
    assert await kernel.breaches() == {}
