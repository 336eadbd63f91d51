"""Automatic work: claimed by long poll, held by lease and token, answered once."""

import asyncio
from typing import Any

import pytest
from kernel_runtime.database import Database
from kernel_testing import eventually
from process_svc.desk import Desk
from process_svc.domain import lease as leases
from process_svc.lines import Waiter
from process_svc.store.leases import Asked, NewLease
from process_svc.ticker import Ticker

from .installation import Bus, Service
from .lane import Lane, lane
from .values import NOW

AUTOMATIC = {"kind": "automatic"}


async def claim(kernel: Lane, *services: str, tenant: str = "main", roles: str | None = None, **fields: Any) -> Any:
    body = {"services": services or ["check"], "worker": "w1", **fields}
    headers = {"x-kernel-tenant": tenant, "x-kernel-operator": "bot"}
    answer = await kernel.http.post(
        "/v1/work:claim", json=body, headers=headers, params={} if roles is None else {"roles": roles}
    )
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


async def post(kernel: Lane, path: str, **body: Any) -> Any:
    answer = await kernel.http.post(f"/v1/work{path}", json=body)
    return answer.status_code, answer.json()


async def held(kernel: Lane, service: str = "check", **fields: Any) -> Any:
    """One that a worker has claimed."""
    made = await kernel.run(service)
    (item,) = await claim(kernel, service, **fields)
    assert item["pid"] == made["pid"]
    return item


async def test_the_way_of_one(kernel: Lane) -> None:
    await kernel.define(**AUTOMATIC, form={"required": ["ok"]}, entity_type="bill")
    made = await kernel.run(entity={"type": "bill", "id": "7"}, context={"amount": 3})
    assert await claim(kernel, "other") == []
    (item,) = await claim(kernel, "other", "check", max=5)
    assert item["pid"] == made["pid"]
    assert (item["entity"], item["context"], item["attempt"]) == ({"type": "bill", "id": "7"}, {"amount": 3}, 1)
    assert await claim(kernel) == []
    path, token = f"/{item['pid']}", item["token"]
    status, beat = await post(kernel, f"{path}/heartbeat", token=token, progress={"done": 0.5}, lease=300)
    assert status == 200
    assert beat["lease_until"] > item["lease_until"]
    shown = (await kernel.http.get(f"/v1/work{path}")).json()
    assert (shown["worker"], shown["token"], shown["progress"]) == ("w1", token, {"done": 0.5})
    assert (await kernel.http.get("/v1/work", params={"worker": "w1"})).json()["items"] == [shown]
    assert (await kernel.read(item["pid"]))["version"] == made["version"]
    status, problem = await post(kernel, f"{path}/complete", token=token, output={})
    assert (status, problem["errors"][0]["pointer"]) == (422, "/output")
    status, done = await post(kernel, f"{path}/complete", token=token, output={"ok": True})
    assert (status, done["outcome"], done["output"]) == (200, "completed", {"ok": True})
    again = await post(kernel, f"{path}/complete", token=token, output={"ok": True})
    assert again == (200, done)
    assert (await post(kernel, f"{path}/fail", token=token))[0] == 409
    status, problem = await post(kernel, f"{path}/heartbeat", token=token)
    assert (status, problem["state"], problem["lease"]) == (409, "TERMINATED (completed)", "gone")
    assert (await kernel.http.get(f"/v1/work{path}")).status_code == 404
    assert await kernel.breaches() == {}


async def test_the_same_claim_again_gives_the_same(kernel: Lane) -> None:
    await kernel.define(**AUTOMATIC)
    for _ in range(3):
        await kernel.run()

    async def keyed(key: str, **more: Any) -> tuple[int, Any]:
        body = {"services": ["check"], "worker": "w", **more}
        answer = await kernel.http.post("/v1/work:claim", json=body, headers={"idempotency-key": key})
        return answer.status_code, answer.json()

    first = await keyed("k")
    assert first[0] == 200
    assert len(first[1]["items"]) == 1
    assert await keyed("k") == first
    assert (await keyed("k", max=2))[0] == 422
    twins = await asyncio.gather(keyed("t"), keyed("t"))
    assert twins[0] == twins[1]
    pids = {first[1]["items"][0]["pid"], twins[0][1]["items"][0]["pid"]}
    assert len(pids) == 2
    assert {item["pid"] for item in await claim(kernel, max=9)}.isdisjoint(pids)


async def test_late_answers_change_nothing(kernel: Lane) -> None:
    await kernel.define(**AUTOMATIC, retry={"max_attempts": 5, "backoff": {"initial": "PT0S"}})
    item = await held(kernel)
    path = f"/{item['pid']}"
    assert (await post(kernel, f"{path}/complete", token=item["token"] + 1))[0] == 409
    assert (await post(kernel, f"{path}/complete"))[0] == 422
    await kernel.execute("UPDATE work_lease SET until = clock_timestamp()")
    for name in ("complete", "fail", "release", "heartbeat"):
        assert (await post(kernel, f"{path}/{name}", token=item["token"]))[0] == 409, name
    assert (await kernel.read(item["pid"]))["state"] == "RUNNING"
    await kernel.execute("UPDATE work_lease SET until = clock_timestamp() + interval '1 min'")
    status, failed = await post(kernel, f"{path}/fail", token=item["token"], error={"class": "transient", "code": "x"})
    assert (status, failed["state"], failed["attempt"]) == (200, "NEW", 2)
    assert (await post(kernel, f"{path}/fail", token=item["token"]))[1]["attempt"] == 2
    await kernel.tick(item["pid"])
    await kernel.grant(await kernel.read(item["pid"]))
    assert (await post(kernel, f"{path}/complete", token=item["token"] + 1))[0] == 409
    (second,) = await claim(kernel)
    assert second["token"] > item["token"]
    assert second["attempt"] == 2
    assert (await post(kernel, f"{path}/complete", token=item["token"]))[0] == 409
    assert (await post(kernel, f"{path}/release", token=second["token"], reason="stops"))[1]["state"] == "READY"
    assert await claim(kernel) == []
    assert await kernel.breaches() == {}


async def test_a_lapsed_lease_fails_the_attempt_by_itself(kernel: Lane) -> None:
    await kernel.define(**AUTOMATIC, retry={"max_attempts": 2, "backoff": {"initial": "P1D"}})
    ticking = asyncio.ensure_future(Ticker(kernel.database, kernel.pipeline).run(1))
    item = await held(kernel, lease=1)

    async def failed() -> bool:
        return bool((await kernel.read(item["pid"]))["state"] == "NEW")

    await eventually(failed, timeout=5)
    ticking.cancel()
    last = (await kernel.http.get(f"/v1/processes/{item['pid']}/history")).json()["items"][-1]
    assert (last["command"], last["changes"]["error"]["code"]) == ("time_out", "lease_lapsed")
    assert (last["changes"]["error"]["class"], last["changes"]["attempt"]) == ("transient", [1, 2])
    assert await kernel.breaches() == {}


@pytest.mark.parametrize("how", ["cancel", "suspend", "release", "complete"])
async def test_the_worker_is_told_when_others_end_it(kernel: Lane, how: str) -> None:
    await kernel.define(**AUTOMATIC)
    item = await held(kernel)
    await kernel.ask(how, item["pid"])
    status, problem = await post(kernel, ":heartbeat", items=[{"pid": item["pid"], "token": item["token"]}])
    assert status == 200
    assert problem["items"][0]["status"] == 409
    assert await kernel.breaches() == {}


async def test_priority_then_services_in_turn_then_age(kernel: Lane) -> None:
    for name in ("a", "b"):
        await kernel.define(name, **AUTOMATIC)
    pids = [(await kernel.run("a"))["pid"] for _ in range(3)]
    young = (await kernel.run("b"))["pid"]
    urgent = (await kernel.run("a", priority=90))["pid"]
    raised = (await kernel.run("b"))["pid"]
    await kernel.ask("prioritize", raised, priority=80)
    order = [(await claim(kernel, "a", "b"))[0]["pid"] for _ in range(3)]
    order += [item["pid"] for item in await claim(kernel, "b", "a", max=9)]
    assert order[:2] == [urgent, raised]
    assert order[2:4] in ([pids[0], young], [young, pids[0]])
    assert order[4:] == pids[1:]


async def test_a_waiting_claim_gets_what_comes(kernel: Lane, database: str) -> None:
    await kernel.define(**AUTOMATIC)
    async with lane(database) as other:
        for dispatcher in (kernel, other):
            waiting = asyncio.ensure_future(claim(kernel, wait=10))
            await asyncio.sleep(0.05)
            assert not waiting.done()
            made = await dispatcher.run()
            assert [item["pid"] for item in await waiting] == [made["pid"]]
    began = asyncio.get_running_loop().time()
    assert await claim(kernel, wait="PT0.2S") == []
    assert 0.15 < asyncio.get_running_loop().time() - began < 2


async def test_many_workers_two_replicas_one_holder_each(kernel: Lane, database: str) -> None:
    """Claims race on two replicas while work is made: each process is handed out once, and none is left."""
    number, workers = 300, 40
    for name in ("a", "b"):
        await kernel.define(name, **AUTOMATIC)
    taken: list[int] = []

    async def work(each: Lane, name: str) -> None:
        while len(taken) < number:
            items = await claim(each, *("a", "b")[: 1 + len(name) % 2], worker=name, max=4, wait=0.3)
            taken.extend(item["pid"] for item in items)
            answers = [{"pid": item["pid"], "token": item["token"], "output": {}} for item in items]
            if answers:
                status, told = await post(each, ":complete", items=answers)
                assert status == 200
                assert {answer["status"] for answer in told["items"]} == {200}, told

    async def make(each: Lane, count: int) -> None:
        for n in range(count):
            await each.run("ab"[n % 2])

    async with lane(database) as other:
        lanes = (kernel, other)
        makers = [make(lanes[n % 2], number // 10) for n in range(10)]
        claimers = [work(lanes[n % 2], "w" * (n + 1)) for n in range(workers)]
        await asyncio.gather(*makers, *claimers)
    assert len(taken) == len(set(taken)) == number
    async with kernel.database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM work_lease") == 0
        assert await connection.fetchval("SELECT count(*) FROM process WHERE outcome = 'completed'") == number
    assert await kernel.breaches() == {}


async def test_who_goes_away_takes_nothing_along(kernel: Lane) -> None:
    await kernel.define(**AUTOMATIC)
    waiting = asyncio.ensure_future(claim(kernel, wait=30))
    await asyncio.sleep(0.05)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    made = await kernel.run()

    async def there() -> bool:
        return [item["pid"] for item in await claim(kernel)] == [made["pid"]]

    await eventually(there, timeout=5)


async def test_a_stopping_replica_sends_all_home(kernel: Lane, database: str) -> None:
    async with lane(database) as other:
        waiting = [asyncio.ensure_future(claim(other, wait=60)) for _ in range(20)]
        await asyncio.sleep(0.05)
    assert await asyncio.wait_for(asyncio.gather(*waiting), 2) == [[]] * 20


async def test_tenants_and_roles_are_kept_apart(kernel: Lane) -> None:
    await kernel.define("open", **AUTOMATIC, timeout={"heartbeat": "PT7S"})
    await kernel.define("kept", **AUTOMATIC, roles=["billing"])
    await kernel.define("mind", kind="agent")
    assert await claim(kernel, "open", tenant="other") == []
    for name in ("open", "kept", "mind"):
        await kernel.grant(await kernel.create(name), operator="ada" if name == "mind" else None)
    assert [item["service"] for item in await claim(kernel, "kept", roles="audit")] == []
    assert [item["service"] for item in await claim(kernel, "mind", roles="audit")] == []
    assert [item["service"] for item in await claim(kernel, "kept", roles="audit,billing")] == ["kept"]
    assert [item["lease"] for item in await claim(kernel, "open", "kept")] == [7.0]
    (mind,) = await claim(kernel, "mind")
    assert mind["operator"] == "ada"
    body = {"services": ["open"], "worker": "w"}
    answer = await kernel.http.post("/v1/work:claim", json=body, headers={"x-kernel-roles": "viewer"})
    assert answer.status_code == 403
    path = f"/v1/work/{mind['pid']}"
    for name, given in (("complete", {}), ("heartbeat", {})):
        answer = await kernel.http.post(
            f"{path}/{name}", json={"token": mind["token"], **given}, headers={"x-kernel-tenant": "other"}
        )
        assert answer.status_code == 404
    assert (await kernel.http.get(path, headers={"x-kernel-tenant": "other"})).status_code == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"services": []},
        {"services": ["a"], "max": 101},
        {"services": ["a"], "wait": 61},
        {"services": ["a"], "lease": 0.5},
        {"services": ["a"], "lease": "P2D"},
        {"services": ["a"], "worker": ""},
        {"services": "a"},
    ],
)
async def test_limits_are_told(kernel: Lane, wrong: dict[str, Any]) -> None:
    answer = await kernel.http.post("/v1/work:claim", json={"worker": "w", **wrong})
    assert answer.status_code == 422
    assert answer.json()["errors"]


async def test_bad_heartbeats_and_answers(kernel: Lane) -> None:
    assert (await post(kernel, "/7/heartbeat", token=1))[0] == 404
    assert (await post(kernel, "/7/heartbeat", token=1, progress={"x": "y" * 5000}))[0] == 422
    assert (await post(kernel, "/7/nothing", token=1))[0] == 404
    status, told = await post(
        kernel, ":complete", items=[{"pid": 7, "token": 1}, {"pid": 7, "token": 1, "output": {}}, 3]
    )
    assert status == 200
    assert [item["status"] for item in told["items"]] == [422, 404, 422]
    status, told = await post(kernel, ":heartbeat", items=[{"pid": 2**62, "token": 1}, {"pid": "x"}])
    assert [item["status"] for item in told["items"]] == [404, 422]


async def test_who_waits_is_served_by_the_dispatch_itself() -> None:
    """In turn, the highest priority first, where roles fit; what did not commit is given to nobody."""
    desk = Desk(Database("", name="nowhere"))

    def waiter(name: str, most: int = 1, roles: tuple[str, ...] | None = None) -> Waiter:
        return Waiter(Asked("main", ("a",), roles, None), name, "me", most, None)

    def lease(pid: int, priority: int = 50, roles: tuple[str, ...] = ()) -> NewLease:
        return NewLease(pid, "main", "d", "a", roles, None, priority, NOW, 1, 60.0)

    async def never() -> None:
        await asyncio.Event().wait()

    first, second, audit = waiter("first", 2), waiter("second"), waiter("audit", 1, ("audit",))
    claims = [asyncio.ensure_future(desk.claim(each, 30, never)) for each in (first, second, audit)]
    await asyncio.sleep(0)
    assert desk.reserve([lease(1)]) == {}, "nobody has looked for older ones yet"
    desk._hot.clear()
    new = [lease(1), lease(2, 90), lease(3), lease(4, roles=("billing",)), lease(5, roles=("audit",))]
    assert desk.reserve(new[:2]) == {2: first, 1: second}
    assert desk.reserve(new[2:]) == {3: audit}, "those who are being served wait for that"
    desk.free([first, second, audit])
    taken = desk.reserve(new)
    assert taken == {2: first, 1: second, 3: first, 5: audit}
    row = {"entity_type": None, "context": "{}"} | dict.fromkeys(
        ("token", "service", "service_version", "attempt", "priority", "operator", "due", "seconds", "until"), 1
    )
    desk.hand_over(
        {each: [{**row, "pid": pid} for pid, by in taken.items() if by is each] for each in set(taken.values())}
    )
    assert [[item["pid"] for item in await each] for each in claims] == [[2, 3], [1], [5]]
    assert not desk._lines


def test_the_token_says_who_holds_it() -> None:
    held = leases.Lease(1, "main", "d", leases.first_token(3) + 1, "w", 60.0, NOW)
    before = NOW.replace(hour=11)
    assert leases.gone(held, held.token, before) is None
    assert "lapsed" in str(leases.gone(held, held.token, NOW))
    assert leases.gone(held, held.token - 1, before) is not None
    assert leases.gone(None, held.token, before) is not None
    assert leases.lapsed(held, held.token, before) is None
    assert leases.lapsed(held, held.token, NOW) is not None
    assert leases.lapsed(held, held.token + 1, NOW) is None


async def test_a_signal_ends_long_polls_at_once(service_database: str, kafka: str, bus: Bus) -> None:
    service = await Service(service_database, kafka, bus.prefix).start()
    await service.define("a", **AUTOMATIC)
    body = {"services": ["a"], "worker": "w", "wait": 60}
    claims = [asyncio.ensure_future(service.http.post("/v1/work:claim", json=body, timeout=70)) for _ in range(5)]
    await asyncio.sleep(0.2)
    process = await service.create("a")
    bus.grant(process, "d-1", operator=None)
    done, _ = await asyncio.wait(claims, timeout=10, return_when=asyncio.FIRST_COMPLETED)
    (item,) = done.pop().result().json()["items"]
    assert item["pid"] == process["pid"]
    began = asyncio.get_running_loop().time()
    service.signal()
    answers = await asyncio.wait_for(asyncio.gather(*claims), 3)
    assert [len(each.json()["items"]) for each in answers].count(0) == 4
    assert asyncio.get_running_loop().time() - began < 1.5
    assert await service.stop() == 0
