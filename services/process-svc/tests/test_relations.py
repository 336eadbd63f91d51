"""Parents, children and predecessors; also where the process dies between an end and what follows from it."""

import asyncio

import pytest
from kernel_runtime.problem import Problem
from process_svc.store import follow_ups as store

from .lane import Lane


async def end(kernel: Lane, pid: int, how: str = "complete") -> None:
    process = await kernel.read(pid)
    if how == "complete" and process["state"] == "READY":
        await kernel.grant(process)
    await kernel.ask(how, pid)
    await kernel.settle()


async def test_what_comes_after_waits_for_all(kernel: Lane) -> None:
    await kernel.define()
    first, second = await kernel.create(), await kernel.create()
    third = await kernel.create(after=[first["pid"], second["pid"]])
    assert third["state"] == "NEW"
    await end(kernel, first["pid"])
    assert (await kernel.read(third["pid"]))["state"] == "NEW"
    await end(kernel, second["pid"])
    assert (await kernel.read(third["pid"]))["state"] == "READY"
    late = await kernel.create(after=[first["pid"]])
    assert late["state"] == "READY"
    assert await kernel.breaches() == {}


async def test_what_can_never_start_is_an_incident(kernel: Lane) -> None:
    await kernel.define()
    first = await kernel.create()
    second = await kernel.create(after=[first["pid"]])
    third = await kernel.create(after=[first["pid"]], after_on="always")
    await end(kernel, first["pid"], "cancel")
    assert (await kernel.read(third["pid"]))["state"] == "READY"
    stuck = await kernel.read(second["pid"])
    assert stuck["state"] == "SUSPENDED"
    incidents = (await kernel.http.get(f"/v1/incidents?pid={second['pid']}")).json()["items"]
    assert incidents[0]["type"] == "unsatisfiable"
    assert await kernel.breaches() == {}


@pytest.mark.parametrize(
    ("policy", "state", "outcome"),
    [("cancel", "TERMINATED", "cancelled"), ("detach", "READY", None), ("wait", "READY", None)],
)
async def test_children_of_a_parent_that_ends(kernel: Lane, policy: str, state: str, outcome: str | None) -> None:
    await kernel.define("parent")
    await kernel.define("child", on_parent_close=policy)
    parent = await kernel.create("parent")
    child = await kernel.create("child", parent=parent["pid"])
    grandchild = await kernel.create("child", parent=child["pid"])
    assert (child["root"], grandchild["root"]) == (parent["pid"], parent["pid"])
    await end(kernel, parent["pid"], "cancel")
    after = await kernel.read(child["pid"])
    assert (after["state"], after["outcome"]) == (state, outcome)
    assert (await kernel.read(grandchild["pid"]))["outcome"] == outcome
    assert after["parent"] == parent["pid"]
    late = await kernel.create("child", parent=parent["pid"])
    assert isinstance(late, Problem)
    assert late.status == 409


async def test_a_parent_waits_for_its_children(kernel: Lane) -> None:
    await kernel.define()
    parent = await kernel.run()
    children = [await kernel.create(parent=parent["pid"]) for _ in range(3)]
    waiting = await kernel.ask("wait", parent["pid"], **{"for": {"children": {"mode": "all", "count": 2}}})
    assert waiting["state"] == "WAITING"
    await end(kernel, children[0]["pid"])
    assert (await kernel.read(parent["pid"]))["state"] == "WAITING"
    await end(kernel, children[1]["pid"])
    assert (await kernel.read(parent["pid"]))["state"] == "READY"
    tree = (await kernel.http.get(f"/v1/processes/{parent['pid']}/tree")).json()
    assert [child["pid"] for child in tree["children"]] == [child["pid"] for child in children]


async def test_suspension_cascades_where_asked(kernel: Lane) -> None:
    await kernel.define()
    parent = await kernel.create()
    child = await kernel.create(parent=parent["pid"])
    grandchild = await kernel.create(parent=child["pid"])
    await kernel.ask("suspend", parent["pid"])
    assert (await kernel.read(child["pid"]))["state"] == "READY"
    await kernel.ask("resume", parent["pid"])
    await kernel.ask("suspend", parent["pid"], cascade=True)
    for pid in (child["pid"], grandchild["pid"]):
        assert (await kernel.read(pid))["state"] == "SUSPENDED"
    await kernel.ask("resume", parent["pid"], cascade=True)
    for pid in (child["pid"], grandchild["pid"]):
        assert (await kernel.read(pid))["state"] == "READY"


async def test_a_death_before_the_follow_up_loses_nothing(kernel: Lane) -> None:
    await kernel.define()
    first = await kernel.create()
    second = await kernel.create(after=[first["pid"]])
    kernel.crash = True
    await end(kernel, first["pid"])
    assert (await kernel.read(second["pid"]))["state"] == "NEW"
    kernel.crash = False
    async with kernel.database.connection() as connection:
        left = await store.abandoned(connection, 0, 10)
    assert [each.kind for each in left] == ["admit"]
    for _ in range(2):
        await kernel.give("follow_up", kernel.followed[-1])
    assert (await kernel.read(second["pid"]))["state"] == "READY"
    assert await kernel.breaches() == {}


async def test_a_parent_is_not_completed_before_children_that_it_has_to_wait_for(kernel: Lane) -> None:
    await kernel.define("parent")
    await kernel.define("child", on_parent_close="wait")
    parent = await kernel.run("parent")
    child = await kernel.create("child", parent=parent["pid"])
    refused = await kernel.ask("complete", parent["pid"])
    assert isinstance(refused, Problem)
    assert (refused.status, "child (1)" in refused.detail) == (409, True)
    await end(kernel, child["pid"])
    assert (await kernel.ask("complete", parent["pid"]))["outcome"] == "completed"
    assert await kernel.breaches() == {}


async def test_many_relatives_are_told_in_parts(kernel: Lane) -> None:
    await kernel.define()
    parent = await kernel.create()
    count = store.PART * 2 + 7
    for fields in ({"parent": parent["pid"]}, {"after": [parent["pid"]], "after_on": "always"}):
        items = [{"service": "check", **fields}] * count
        answer = (await kernel.http.post("/v1/processes:batch", json={"items": items})).json()["items"]
        assert {item["status"] for item in answer} == {201}
    await kernel.ask("cancel", parent["pid"])
    await kernel.settle()
    for query, total in (
        ("state=TERMINATED", count + 1),
        ("state=READY", count),
        ("state=NEW", 0),
        (f"parent={parent['pid']}&state=TERMINATED", count),
        (f"root={parent['pid']}", count + 1),
    ):
        assert (await kernel.http.get(f"/v1/processes?count=true&limit=1&{query}")).json()["total"] == total, query
    assert await kernel.breaches() == {}


async def test_a_parent_suspended_while_it_waits_goes_on_when_its_children_have_ended(kernel: Lane) -> None:
    await kernel.define()
    parent = await kernel.run()
    child = await kernel.create(parent=parent["pid"])
    await kernel.ask("wait", parent["pid"], **{"for": {"children": {}}})
    await kernel.ask("suspend", parent["pid"])
    await end(kernel, child["pid"])
    assert (await kernel.read(parent["pid"]))["state"] == "SUSPENDED"
    assert (await kernel.ask("resume", parent["pid"]))["state"] == "READY"
    assert await kernel.breaches() == {}


async def test_what_could_never_start_is_not_made(kernel: Lane) -> None:
    await kernel.define()
    first = await kernel.create()
    await end(kernel, first["pid"], "cancel")
    refused = await kernel.create(after=[first["pid"]])
    assert isinstance(refused, Problem)
    assert (refused.status, refused.errors[0][0]) == (422, "/after")
    assert f"{first['pid']} has ended cancelled" in refused.detail


async def test_a_predecessor_that_is_rolled_back_counts_anew(kernel: Lane) -> None:
    await kernel.define()
    first, second = await kernel.create(), await kernel.create()
    await end(kernel, first["pid"], "cancel")
    third = await kernel.create(after=[first["pid"], second["pid"]], after_on="always")
    await kernel.ask("rollback", first["pid"], version=1)
    await end(kernel, second["pid"])
    assert (await kernel.read(third["pid"]))["state"] == "NEW"
    await end(kernel, first["pid"])
    assert (await kernel.read(third["pid"]))["state"] == "READY"
    assert await kernel.breaches() == {}


async def test_a_successor_on_its_way_back_to_new_is_not_forgotten(kernel: Lane) -> None:
    """Another replica resumes it in a transaction that does not see its predecessor's end."""
    await kernel.define()
    first = await kernel.create()
    second = await kernel.create(after=[first["pid"]], after_on="always")
    await kernel.ask("suspend", second["pid"])
    async with kernel.database.transaction() as connection:
        await connection.execute(
            "UPDATE process SET state = 'NEW', version = 3, suspended_from = NULL, suspended_at = NULL WHERE pid = $1",
            second["pid"],
        )
        await connection.execute(
            "INSERT INTO journal (pid, version, command, type, from_state, state, at, by, correlation)"
            " VALUES ($1, 3, 'resume', 'created', 'SUSPENDED', 'NEW', now(), 'other', 'c')",
            second["pid"],
        )
        await kernel.ask("cancel", first["pid"])
        await asyncio.sleep(0.3)
    await kernel.settle()
    assert (await kernel.read(second["pid"]))["state"] == "READY"
    assert (await kernel.breaches()).keys() == {"journal_verifies"}  # the row that was written by hand has no hash


async def test_predecessors_that_are_retried_or_skipped(kernel: Lane) -> None:
    await kernel.define()
    first, second = await kernel.run(), await kernel.run()
    after = [first["pid"], second["pid"]]
    both = await kernel.create(after=after)
    either = await kernel.create(after=after, after_mode="any", after_on="failed")
    for process in (first, second):
        await kernel.ask("fail", process["pid"])
    for follower in (both, either):  # an incident is no end
        assert (await kernel.read(follower["pid"]))["state"] == "NEW"
    await kernel.ask("retry", first["pid"])
    await end(kernel, first["pid"])
    (incident,) = (await kernel.http.get(f"/v1/incidents?pid={second['pid']}")).json()["items"]
    resolved = await kernel.http.post(f"/v1/incidents/{incident['id']}/resolve", json={"action": "skip"})
    assert resolved.status_code == 200
    assert (await kernel.read(both["pid"]))["state"] == "READY"
    stuck = await kernel.read(either["pid"])
    assert stuck["state"] == "SUSPENDED"
    (told,) = (await kernel.http.get(f"/v1/incidents?pid={either['pid']}")).json()["items"]
    assert told["type"] == "unsatisfiable"
    assert "has ended completed" in told["error"]["message"]
    assert await kernel.breaches() == {}


async def test_a_long_chain_ends_where_it_is_cut(kernel: Lane) -> None:
    """A cycle can't be named: a pid is known when its process is there, with all that it comes after."""
    await kernel.define()
    chain = [await kernel.create()]
    for _ in range(60):
        chain.append(await kernel.create(after=[chain[-1]["pid"]], after_on="always"))
    for process in chain[:-1]:
        await kernel.ask("cancel", process["pid"])
    await kernel.settle()
    assert (await kernel.read(chain[-1]["pid"]))["state"] == "READY"
    assert isinstance(await kernel.create(after=[chain[-1]["pid"] + 1]), Problem)
    assert await kernel.breaches() == {}


async def test_close_policies_and_cascades_reach_any_depth(kernel: Lane) -> None:
    await kernel.define()
    await kernel.define("free", on_parent_close="detach")
    line = [await kernel.create()]
    for depth in range(12):
        line.append(await kernel.create("free" if depth == 8 else "check", parent=line[-1]["pid"]))
    pids = [process["pid"] for process in line]
    await kernel.ask("suspend", pids[0], cascade=True)
    assert {(await kernel.read(pid))["state"] for pid in pids} == {"SUSPENDED"}
    await kernel.ask("resume", pids[0], cascade=True)
    assert {(await kernel.read(pid))["state"] for pid in pids} == {"READY"}
    await kernel.ask("cancel", pids[0])
    assert [(await kernel.read(pid))["outcome"] for pid in pids] == ["cancelled"] * 9 + [None] * 4
    node, depth = (await kernel.http.get(f"/v1/processes/{pids[0]}/tree")).json(), 1
    while node["children"]:
        (node,), depth = node["children"], depth + 1
    assert depth == 13
    assert await kernel.breaches() == {}


async def test_the_tree_of_a_family_with_many_generations_ends_somewhere(kernel: Lane) -> None:
    await kernel.define()
    first = parent = (await kernel.create())["pid"]
    above = 0
    for _ in range(129):
        above, parent = parent, (await kernel.create(parent=parent))["pid"]
    answer = await kernel.http.get(f"/v1/processes/{first}/tree")
    node, generations = answer.json(), 1
    assert (answer.status_code, node["pid"], node["truncated"]) == (200, first, True)
    while node["children"]:
        (node,), generations = node["children"], generations + 1
    assert generations == 100
    deep = (await kernel.http.get(f"/v1/processes/{above}/tree")).json()
    assert (deep["pid"], [child["pid"] for child in deep["children"]], deep["truncated"]) == (above, [parent], True)
