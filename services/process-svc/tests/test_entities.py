"""What a process is about: references with roles, and how many processes of a service an entity bears."""

import asyncio
import random
from typing import Any

import pytest
from kernel_contracts.process import CreateProcess
from kernel_runtime.problem import Problem
from process_svc.handlers.bodies import Batch
from process_svc.ticker import FollowUps, Ticker

from .lane import Lane, lane

INVOICE = {"type": "invoice", "id": "7"}
BUYER = {"type": "customer", "id": "ada", "role": "buyer"}
PAYER = {"type": "customer", "id": "bob", "role": "payer", "access": "exclusive"}


async def listed(kernel: Lane, **query: Any) -> list[int]:
    answer = await kernel.http.get("/v1/processes", params=query)
    return [each["pid"] for each in answer.json()["items"]]


async def seen(kernel: Lane, type: str, id: str, **query: Any) -> Any:
    return (await kernel.http.get(f"/v1/entities/{type}/{id}", params=query)).json()


async def test_a_process_is_found_by_any_of_its_references(kernel: Lane) -> None:
    await kernel.define()
    one = await kernel.create(entity=INVOICE, entities=[BUYER, PAYER, BUYER | {"role": "sponsor"}])
    two = await kernel.create(entity={"type": "customer", "id": "ada"})
    await kernel.create(entity={"type": "customer", "id": "eve"})
    assert one["entity"] == INVOICE
    assert one["entities"][0] == INVOICE | {"role": "subject"}
    assert one["entities"][1:] == [BUYER | {"access": "shared"}, PAYER, BUYER | {"role": "sponsor", "access": "shared"}]
    assert (await kernel.read(one["pid"]))["entities"] == one["entities"]
    assert await listed(kernel, entity_type="customer", entity_id="ada") == [one["pid"], two["pid"]]
    assert await listed(kernel, entity_type="customer", entity_id="bob", state="READY") == [one["pid"]]
    assert len(await listed(kernel, entity_type="customer")) == 3
    assert await listed(kernel, entity_type="invoice", entity_id="ada") == []
    [told] = [body for kind, body in await kernel.messages() if kind.endswith("ready.v1") and body["pid"] == one["pid"]]
    assert told["entities"] == one["entities"]
    assert await kernel.breaches() == {}


async def test_each_exclusive_reference_is_a_demand_of_its_own(kernel: Lane) -> None:
    await kernel.define(entity_type="invoice", entity_access="exclusive", kind="automatic")
    twice = {"type": "invoice", "id": "7", "role": "template", "access": "exclusive"}
    await kernel.create(entity=INVOICE, entities=[BUYER, PAYER, twice])
    [demands] = [body["demands"] for kind, body in await kernel.messages() if kind.endswith("ready.v1")]
    assert [(each["type"], each["resource"], each["hold"]) for each in demands] == [
        ("entity", "entity:customer:bob", "process"),
        ("entity", "entity:invoice:7", "process"),
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"entities": [BUYER, BUYER]},
        {"entities": [BUYER | {"role": "subject"}]},
        {"entities": [BUYER | {"access": "sole"}]},
        {"entities": [BUYER] * 33},
        {"entities": [{"type": "customer", "id": "ada"}]},
    ],
)
async def test_bad_references_are_refused(kernel: Lane, wrong: Any) -> None:
    await kernel.define()
    answer = await kernel.http.post("/v1/processes", json={"service": "check"} | wrong)
    assert answer.status_code == 422
    assert answer.json()["errors"]


async def test_a_later_one_waits_for_its_turn_in_the_order_of_pids(kernel: Lane) -> None:
    await kernel.define("bill", entity_type="invoice", per_entity="serialise")
    await kernel.define("note", entity_type="invoice")
    first, second, third, fourth = [await kernel.create("bill", entity=INVOICE) for _ in range(4)]
    elsewhere = await kernel.create("bill", entity=INVOICE | {"id": "8"})
    unbound = await kernel.create("note", entity=INVOICE)
    states = [each["state"] for each in (first, second, third, fourth, elsewhere, unbound)]
    assert states == ["READY", "NEW", "NEW", "NEW", "READY", "READY"]
    assert ((await kernel.read(first["pid"]))["ahead"], second["ahead"]) == (None, first["pid"])
    assert (await kernel.read(third["pid"]))["ahead"] == second["pid"]
    await kernel.ask("cancel", third["pid"])
    assert (await kernel.read(fourth["pid"]))["state"] == "NEW"
    assert (await kernel.ask("rollback", second["pid"], version=1)).status == 409
    await kernel.ask("suspend", first["pid"])
    assert (await kernel.read(second["pid"]))["state"] == "NEW"
    await kernel.ask("resume", first["pid"])
    await kernel.grant(await kernel.read(first["pid"]))
    await kernel.ask("complete", first["pid"])
    assert (await kernel.read(second["pid"]))["state"] == "READY"
    assert (await kernel.read(fourth["pid"]))["state"] == "NEW"
    await kernel.ask("cancel", second["pid"])
    assert (await kernel.read(fourth["pid"]))["state"] == "READY"
    back = await kernel.ask("rollback", second["pid"], version=1)
    assert isinstance(back, Problem)
    assert str(fourth["pid"]) in back.detail
    await kernel.ask("cancel", fourth["pid"])
    assert (await kernel.ask("rollback", second["pid"], version=1))["state"] == "READY"
    assert (await kernel.create("bill", entity=INVOICE))["state"] == "NEW"
    await kernel.settle()
    assert await kernel.breaches() == {}


async def test_a_child_does_not_wait_for_a_parent_that_waits(kernel: Lane) -> None:
    await kernel.define("bill", entity_type="invoice", per_entity="serialise")
    parent = await kernel.run("bill", entity=INVOICE)
    assert (await kernel.create("bill", entity=INVOICE, parent=parent["pid"]))["state"] == "NEW"
    await kernel.ask("wait", parent["pid"], **{"for": {"children": {}}})
    refused = await kernel.create("bill", entity=INVOICE, parent=parent["pid"])
    assert (refused.status, refused.title) == (409, "Would wait for itself")
    other = await kernel.create("bill", entity=INVOICE | {"id": "8"}, parent=parent["pid"])
    assert other["state"] == "READY"
    assert await kernel.breaches() == {}


async def test_a_long_line_is_gone_through_in_its_order(kernel: Lane) -> None:
    await kernel.define("bill", entity_type="invoice", per_entity="serialise")
    bodies = [CreateProcess.model_validate({"service": "bill", "entity": INVOICE})] * 300
    made = (await kernel.give("create_batch", Batch([("create", body) for body in bodies])))["items"]
    pids = [item["process"]["pid"] for item in made]
    assert pids == sorted(pids)
    assert [item["process"]["ahead"] for item in made] == [None, *pids[:-1]]
    gone = pids[150:200]
    await asyncio.gather(*(kernel.ask("cancel", pid) for pid in gone))
    assert (await kernel.read(pids[200]))["ahead"] == pids[149]
    await asyncio.gather(*(kernel.ask("cancel", pid) for pid in pids[1:150]))
    await kernel.ask("cancel", pids[0])
    assert (await kernel.read(pids[200]))["state"] == "READY"
    assert await listed(kernel, state="READY") == [pids[200]]
    last = await kernel.create("bill", entity=INVOICE)
    assert last["ahead"] == pids[-1]
    await kernel.settle()
    assert await kernel.breaches() == {}


async def test_a_further_one_is_refused_and_told_which_is_in_its_way(kernel: Lane) -> None:
    await kernel.define("bill", entity_type="invoice", per_entity="reject")
    bodies = [CreateProcess.model_validate({"service": "bill", "entity": INVOICE | {"id": id}}) for id in "778"]
    items = (await kernel.give("create_batch", Batch([("create", body) for body in bodies])))["items"]
    assert [item["status"] for item in items] == [201, 409, 201]
    pid = items[0]["process"]["pid"]
    assert items[1]["problem"]["pid"] == pid
    assert str(pid) in items[1]["problem"]["detail"]
    answer = await kernel.http.post("/v1/processes", json={"service": "bill", "entity": INVOICE})
    assert (answer.status_code, answer.json()["pid"]) == (409, pid)
    await kernel.ask("cancel", pid)
    assert (await kernel.create("bill", entity=INVOICE))["state"] == "READY"
    assert (await kernel.ask("rollback", pid, version=1)).status == 409
    await kernel.settle()
    assert await kernel.breaches() == {}


async def test_earlier_ones_are_replaced_even_where_the_replica_dies_in_between(kernel: Lane) -> None:
    await kernel.define("bill", entity_type="invoice", per_entity="replace")
    first = await kernel.run("bill", entity=INVOICE)
    second = await kernel.create("bill", entity=INVOICE)
    assert second["state"] == "NEW"
    replaced = await kernel.read(first["pid"])
    assert (replaced["outcome"], (await kernel.read(second["pid"]))["state"]) == ("cancelled", "READY")
    history = (await kernel.http.get(f"/v1/processes/{first['pid']}/history")).json()["items"]
    assert history[-1]["reason"] == f"replaced by process {second['pid']}"
    kernel.crash = True
    third = await kernel.create("bill", entity=INVOICE)
    fourth = await kernel.create("bill", entity=INVOICE)
    assert await kernel.breaches() == {}
    ticker = Ticker(kernel.database, kernel.pipeline, abandoned=0)
    for _ in range(3):
        await ticker._pass()
    found = [await kernel.read(each["pid"]) for each in (second, third, fourth)]
    assert [each["state"] for each in found] == ["TERMINATED", "TERMINATED", "READY"]
    assert await kernel.breaches() == {}


async def test_versions_that_do_not_care_are_left_alone(kernel: Lane) -> None:
    await kernel.define("bill", entity_type="invoice")
    await kernel.create("bill", entity=INVOICE)
    await kernel.define("bill", entity_type="invoice", per_entity="reject")
    assert (await kernel.create("bill", entity=INVOICE))["state"] == "READY"
    assert (await kernel.create("bill", entity=INVOICE, service_version=1))["state"] == "READY"
    assert (await kernel.create("bill", entity=INVOICE)).status == 409
    refused = await kernel.http.put("/v1/services/lone", json={"per_entity": "reject"})
    assert refused.status_code == 422
    assert await kernel.breaches() == {}


async def test_the_promise_holds_under_races(kernel: Lane, database: str) -> None:
    """Two replicas create (one by one and in batches), end and roll back on three entities at once."""
    for policy in ("serialise", "reject", "replace"):
        await kernel.define(policy, entity_type="invoice", per_entity=policy)
    pids: list[int] = []

    async def busy(each: Lane, dice: random.Random) -> None:
        for _ in range(60):
            if dice.random() < 0.6 or not pids:
                bodies = [
                    CreateProcess(
                        service=dice.choice(["serialise", "reject", "replace"]),
                        entity={"type": "invoice", "id": dice.choice("123")},  # type: ignore[arg-type]
                        parent=dice.choice([None, *pids[-3:]]),
                    )
                    for _ in range(dice.choice([1, 4]))
                ]
                made = await each.give("create_batch", Batch([("create", body) for body in bodies]))
                pids.extend(item["process"]["pid"] for item in made["items"] if item["status"] == 201)
            else:
                process = (await each.http.get(f"/v1/processes/{dice.choice(pids[-20:])}")).json()
                await each.grant(process, dispatch=f"{process['pid']}.{process['version']}.{id(dice)}")
                name = dice.choice(["complete", "cancel", "cancel", "suspend", "resume", "rollback"])
                await each.ask(name, process["pid"], **({"version": 1} if name == "rollback" else {}))

    async with lane(database) as other:
        sends = FollowUps()
        sends.pipeline = other.pipeline
        other.memory.follow_up = sends
        ticking = asyncio.ensure_future(Ticker(kernel.database, kernel.pipeline, abandoned=0.2).run(1))
        await asyncio.gather(*(busy(each, random.Random(n)) for n, each in enumerate((kernel, other, kernel, other))))
        for _ in range(200):
            async with kernel.database.connection() as connection:
                if not await connection.fetchval("SELECT count(*) FROM follow_up"):
                    break
            await asyncio.sleep(0.02)
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)
    assert await kernel.breaches() == {}
    async with kernel.database.connection() as connection:
        stuck = await connection.fetch(
            "SELECT min(pid) FROM entity_turn JOIN process USING (pid) GROUP BY process.service, process.entity_id"
            " HAVING (array_agg(state ORDER BY pid))[1] = 'NEW'"
        )
        assert not stuck
        overlaps = await connection.fetch(
            "SELECT a.pid, b.pid FROM journal a JOIN journal b ON a.pid < b.pid AND a.command = 'dispatch'"
            " AND b.command = 'dispatch' JOIN process p ON p.pid = a.pid JOIN process q ON q.pid = b.pid"
            " AND (p.service, p.entity_id) = (q.service, q.entity_id)"
            " WHERE a.at < b.at AND coalesce((SELECT min(at) FROM journal e WHERE e.pid = a.pid AND e.at >= a.at"
            "   AND e.state = 'TERMINATED'), 'infinity') > b.at"
        )
        assert not overlaps
    assert len(pids) > 60


async def test_all_processes_of_an_entity_in_one_view(kernel: Lane) -> None:
    await kernel.define(entity_type="invoice")
    await kernel.define("ship")
    runs = await kernel.run(entity=INVOICE, entities=[BUYER])
    child = await kernel.create("ship", entities=[INVOICE | {"role": "cargo"}], parent=runs["pid"], after=[runs["pid"]])
    ended = [await kernel.create(entity=INVOICE) for _ in range(3)]
    for each in ended:
        await kernel.ask("cancel", each["pid"])
    view = await seen(kernel, "invoice", "7", limit=2)
    assert view["roles"] == {"subject": 4, "cargo": 1}
    assert (view["states"]["RUNNING"], view["states"]["NEW"], view["states"]["TERMINATED"]) == (1, 1, 3)
    assert view["outcomes"] == {"cancelled": 3}
    assert view["services"] == [
        {"service": "check", "alive": 1, "ended": 3},
        {"service": "ship", "alive": 1, "ended": 0},
    ]
    assert [each["pid"] for each in view["alive"]] == [runs["pid"], child["pid"]]
    assert view["operators"] == [{"operator": "ada", "running": [runs["pid"]]}]
    assert {(each["pid"], each["kind"], each["of"]) for each in view["relations"]} == {
        (child["pid"], "parent", runs["pid"]),
        (child["pid"], "after", runs["pid"]),
    }
    assert [each["pid"] for each in view["ended"]["items"]] == [ended[2]["pid"], ended[1]["pid"]]
    rest = await seen(kernel, "invoice", "7", limit=2, cursor=view["ended"]["next"])
    assert ([each["pid"] for each in rest["ended"]["items"]], rest["ended"]["next"]) == ([ended[0]["pid"]], None)
    nothing = await seen(kernel, "invoice", "none")
    assert (nothing["alive"], nothing["roles"], nothing["states"]["READY"]) == ([], {}, 0)


async def test_another_version_of_the_service_keeps_the_line(kernel: Lane) -> None:
    await kernel.define("bill", entity_type="invoice", per_entity="serialise")
    first, second = [await kernel.create("bill", entity=INVOICE) for _ in range(2)]
    await kernel.define("bill", entity_type="invoice", per_entity="serialise", priority=60)
    await kernel.define("bill", entity_type="invoice", per_entity="reject")
    assert (await kernel.ask("migrate", first["pid"], to=3)).status == 409
    for each in (second, first):
        assert (await kernel.ask("migrate", each["pid"], to=2))["service_version"] == 2
    assert (await kernel.create("bill", entity=INVOICE)).status == 409
    await kernel.ask("cancel", first["pid"])
    assert (await kernel.read(second["pid"]))["state"] == "READY"
    await kernel.settle()
    assert await kernel.breaches() == {}


async def test_children_that_are_called_stand_in_line_too(kernel: Lane) -> None:
    """Three of a map on one entity run one after the other; of a service that rejects only the first is there."""
    await kernel.define("order", entity_type="invoice")
    await kernel.define("bill", entity_type="invoice", per_entity="serialise")
    await kernel.define("pay", entity_type="invoice", per_entity="reject")
    caller = await kernel.run("order", entity=INVOICE)
    await kernel.ask("map", caller["pid"], service="bill", over=[1, 2, 3], into="bills")
    await kernel.settle()
    children = (await kernel.http.get(f"/v1/processes?parent={caller['pid']}&sort=pid")).json()["items"]
    assert [each["state"] for each in children] == ["READY", "NEW", "NEW"]
    for child in children:
        await kernel.grant(await kernel.read(child["pid"]))
        await kernel.ask("complete", child["pid"], output={"pid": child["pid"]})
        await kernel.settle()
    back = await kernel.read(caller["pid"])
    assert (back["state"], len(back["context"]["bills"])) == ("READY", 3)
    await kernel.grant(back)
    await kernel.ask("map", caller["pid"], service="pay", over=[1, 2])
    await kernel.settle()
    paying = (await kernel.http.get(f"/v1/processes?parent={caller['pid']}&service=pay")).json()["items"]
    assert len(paying) == 1
    await kernel.ask("cancel", caller["pid"])
    await kernel.settle()
    assert await kernel.breaches() == {}


async def test_what_undoes_a_process_waits_for_its_turn(kernel: Lane) -> None:
    await kernel.define("book", entity_type="invoice", compensation="refund")
    await kernel.define("refund", entity_type="invoice", per_entity="reject")
    await kernel.define("order", entity_type="invoice")
    order = await kernel.run("order", entity=INVOICE)
    child = await kernel.run("book", entity=INVOICE, parent=order["pid"])
    await kernel.ask("complete", child["pid"])
    other = await kernel.create("refund", entity=INVOICE)
    await kernel.ask("cancel", order["pid"], compensate=True)
    await kernel.settle()
    [step] = (await kernel.http.get(f"/v1/processes?parent={order['pid']}&service=refund")).json()["items"]
    assert step["state"] == "NEW"
    assert await kernel.breaches() == {}
    await kernel.ask("cancel", other["pid"])
    assert (await kernel.read(step["pid"]))["state"] == "READY"
    assert await kernel.breaches() == {}
