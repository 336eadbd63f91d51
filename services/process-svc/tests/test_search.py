"""Lists: every filter and order against a plain look through all, pages, texts, indexed members of contexts; and their plans."""

import itertools
import random
from typing import Any
from urllib.parse import quote

import orjson
import pytest
from kernel_testing import eventually
from process_svc.store import search
from process_svc.store.filters import parsed
from process_svc.store.search import Order

from .lane import Lane

SORTS = ("pid", "created_at", "priority", "due", "ended_at")


async def listed(kernel: Lane, query: str, limit: int = 7) -> list[Any]:
    """All pages."""
    found: list[Any] = []
    cursor = ""
    while True:
        answer = await kernel.http.get(f"/v1/processes?{query}&limit={limit}{cursor}")
        assert answer.status_code == 200, answer.text
        found += answer.json()["items"]
        if answer.json()["next"] is None:
            return found
        cursor = f"&cursor={answer.json()['next']}"


async def mixed(kernel: Lane, number: int = 60) -> list[Any]:
    """Processes in all states, of two services and some operators."""
    dice = random.Random(7)
    await kernel.define("blue", title="Paint it blue", indexed=["n", "deep.er"])
    await kernel.define("red")
    for n in range(number):
        fields: dict[str, Any] = {
            "context": {"n": n % 4, "deep": {"er": n % 2 == 0}},
            "priority": dice.choice([10, 50, 90]),
        }
        if dice.random() < 0.5:
            fields["due"] = f"2027-01-{dice.randrange(1, 28):02d}T00:00:00Z"
        if dice.random() < 0.2:
            fields |= {"queue": "night", "operator": "eve"}
        if dice.random() < 0.5:
            fields["key"] = f"Order-{n}"
        process = await kernel.create(dice.choice(["blue", "red"]), **fields)
        fate = dice.choice(["", "", "run", "complete", "cancel", "suspend", "fail"])
        if fate in ("run", "complete", "fail"):
            await kernel.grant(process, operator=dice.choice(["ada", "bob"]))
        if fate not in ("", "run"):
            await kernel.ask(fate, process["pid"])
    return sorted(await listed(kernel, "sort=pid", 500), key=lambda each: each["pid"])


FILTERS = {
    "": lambda p: True,
    "state=READY": lambda p: p["state"] == "READY",
    "state=READY,TERMINATED": lambda p: p["state"] in ("READY", "TERMINATED"),
    "not_state=READY": lambda p: p["state"] != "READY",
    "outcome=cancelled": lambda p: p["outcome"] == "cancelled",
    "service=blue": lambda p: p["service"] == "blue",
    "service=blue&service=red&state=RUNNING": lambda p: p["state"] == "RUNNING",
    "service=none": lambda p: False,
    "operator=ada": lambda p: p["operator"] == "ada",
    "operator=ada&state=RUNNING": lambda p: p["operator"] == "ada" and p["state"] == "RUNNING",
    "due_before=2027-01-15T00:00:00Z": lambda p: p["due"] is not None and p["due"] < "2027-01-15",
    "created_after=2020-01-01T00:00:00Z": lambda p: True,
    "ended_after=2020-01-01T00:00:00Z&service=red": lambda p: p["state"] == "TERMINATED" and p["service"] == "red",
    "queue=night": lambda p: p["queue"] == "night",
    "queue=night&queue=default&state=READY": lambda p: p["state"] == "READY",
    "outcome=cancelled&outcome=completed": lambda p: p["outcome"] in ("cancelled", "completed"),
    "assigned=eve": lambda p: p["assigned"] == "eve",
    "has_incident=true": lambda p: p["incident"] is not None,
    "incident_type=nothing": lambda p: False,
    "q=order-1": lambda p: "order-1" in (p["key"] or "").lower(),
    "q=bLue": lambda p: p["service"] == "blue",
    "q=or&state=READY": lambda p: p["key"] is not None and p["state"] == "READY",
    "q=rder-%25": lambda p: False,
    "service=blue&context.n=3": lambda p: p["service"] == "blue" and p["context"]["n"] == 3,
    "context.n=3": lambda p: p["context"]["n"] == 3,
    "context.n=3&context.n=1&context.deep.er=false": lambda p: p["context"]["n"] in (1, 3),
    "service=blue&context.deep.er=true": lambda p: p["service"] == "blue" and p["context"]["deep"]["er"],
    "pid=3&pid=5": lambda p: p["pid"] in (3, 5),
}


def placed(process: Any, sort: str) -> Any:
    value = process[sort]
    return "9" if sort == "due" and value is None else value


async def test_every_filter_in_every_order_finds_what_looking_through_all_finds(kernel: Lane) -> None:
    everything = await mixed(kernel)
    assert len({each["state"] for each in everything}) == 4
    for (query, holds), sort in itertools.product(FILTERS.items(), SORTS):
        for minus in ("", "-"):
            found = await listed(kernel, f"{query}&sort={minus}{sort}")
            wanted = [each for each in everything if holds(each) and (sort != "ended_at" or each["ended_at"])]
            wanted.sort(key=lambda each: (placed(each, sort), each["pid"]), reverse=minus == "-")
            if sort == "due" and minus:  # those without come last all the same
                wanted.sort(key=lambda each: each["due"] is None)
            assert [each["pid"] for each in found] == [each["pid"] for each in wanted], (query, minus + sort)
        wanted = [each for each in everything if holds(each)]
        counted = (await kernel.http.get(f"/v1/processes?{query}&count=true&limit=1")).json()
        assert counted["total"] == len(wanted), query
        assert "total_capped" not in counted
    assert await kernel.breaches() == {}


async def test_members_can_be_chosen(kernel: Lane) -> None:
    await kernel.define()
    pid = (await kernel.create())["pid"]
    assert await listed(kernel, "fields=pid,state") == [{"pid": pid, "state": "READY"}]
    assert (await kernel.http.get(f"/v1/processes/{pid}?fields=version")).json() == {"version": 2}
    assert (await kernel.http.get("/v1/processes?fields=colour")).status_code == 422


async def test_a_read_waits_for_the_version_that_was_told(kernel: Lane) -> None:
    await kernel.define()
    pid = (await kernel.create())["pid"]
    url = f"/v1/processes/{pid}"
    assert (await kernel.http.get(f"{url}?min_version=2")).json()["version"] == 2
    waiting = kernel.http.get(f"{url}?min_version=3")
    _, answer = await kernel.ask("prioritize", pid, priority=1), await waiting
    assert answer.json()["version"] == 3
    late = await kernel.http.get(f"{url}?min_version=9")
    assert (late.status_code, late.json()["version"], late.headers["retry-after"]) == (412, 3, "1")
    assert (await kernel.http.get(f"{url}?min_version=x")).status_code == 422


async def test_indexed_members_follow_the_context(kernel: Lane) -> None:
    await kernel.define(indexed=["a", "b.c"])
    long = "x" * 300
    pid = (await kernel.create(context={"a": 1.5, "b": {"c": "north"}}))["pid"]
    other = (await kernel.create(context={"a": long, "b": 7}))["pid"]

    async def found(query: str) -> list[int]:
        return [each["pid"] for each in await listed(kernel, f"service=check&{query}")]

    assert await found("context.a=1.5") == await found("context.b.c=north") == [pid]
    assert (await found(f"context.a={long}"), await found(f"context.a={long}y")) == ([other], [])
    await kernel.http.patch(f"/v1/processes/{pid}/context", json={"a": None, "b": {"c": True}})
    assert (await found("context.a=1.5"), await found("context.b.c=true")) == ([], [pid])
    await kernel.ask("rollback", pid, version=2)
    assert (await found("context.a=1.5"), await found("context.b.c=true")) == ([pid], [])
    assert await kernel.breaches() == {}


async def test_what_a_later_version_declares_is_brought_in(kernel: Lane) -> None:
    await kernel.define()
    pids = [(await kernel.create(context={"a": n % 3}))["pid"] for n in range(9)]
    await kernel.ask("cancel", pids[0])
    await kernel.define(indexed=["a"])
    async with kernel.jobs(settling=0):

        async def complete() -> bool:
            async with kernel.database.connection() as connection:
                return bool(await connection.fetchval("SELECT bool_and(complete) FROM indexed_path"))

        await eventually(complete, interval=0.02)
    kernel.memory.paths_at = -1e9
    await kernel.http.patch(f"/v1/processes/{pids[3]}/context", json={"a": 9})
    assert [each["pid"] for each in await listed(kernel, "service=check&context.a=0")] == [pids[0], pids[6]]
    assert [each["pid"] for each in await listed(kernel, "service=check&context.a=9")] == [pids[3]]
    assert await kernel.breaches() == {}


FILL = """
INSERT INTO process (pid, root, created_at, context_version, version, service_version, attempt, priority, held, has_children,
    has_dependents, tenant, service, queue, state, after_mode, after_on, context_hash, context, operator, key, due, ready_at,
    ended_at)
SELECT n, n, at, 1, 1, 1, 1, 50, false, false, false, 'main', 'blue', 'default', state, 'all', 'completed', '\\x00',
    '{"n":' || n % 1000 || '}', CASE WHEN n % 3 = 0 THEN 'clerk-' || n % 40 END, 'order-' || n, at, at, at
FROM (SELECT n, timestamptz '2026-01-01' + interval '1 s' * n AS at,
    CASE WHEN n % 5 > 0 THEN 'TERMINATED' WHEN n % 2 = 0 THEN 'READY' ELSE 'SUSPENDED' END AS state
    FROM generate_series(1, 21000) AS n) made
"""
PLANS = [
    "",
    "state=SUSPENDED",
    "state=READY,TERMINATED&sort=-pid",
    "service=blue&state=READY",
    "service=nobody",
    "operator=clerk-3&sort=-pid",
    "sort=created_at",
    "sort=-priority",
    "sort=due",
    "state=READY&sort=-due",
    "state=READY&sort=-created_at",
    "created_after=2026-01-01T05:00:00Z&sort=-created_at",
    "key=order-77",
    "q=order-1234",
    "service=blue&context.n=7",
    "ended_after=2026-01-01T05:49:00Z&sort=-ended_at",
    "queue=nowhere",
    "assigned=nobody",
    "outcome=failed",
]


async def filled(kernel: Lane) -> None:
    await kernel.define("blue", indexed=["n"])
    await kernel.execute(FILL)
    await kernel.execute("INSERT INTO process_text SELECT pid, key FROM process")
    await kernel.execute("INSERT INTO process_attribute SELECT 'main', 'blue', 'n', pid % 1000, pid FROM process")
    await kernel.execute("ANALYZE")


def nodes(plan: Any) -> list[Any]:
    return [plan, *itertools.chain.from_iterable(nodes(each) for each in plan.get("Plans", ()))]


async def test_no_list_looks_through_the_table(kernel: Lane) -> None:
    """At 21,000 processes: what the plans read is in the order of a page."""
    await filled(kernel)
    for query in PLANS:
        given = [(name, value) for name, _, value in (part.partition("=") for part in query.split("&") if part)]
        sort = dict(given).get("sort", "pid")
        found = parsed([pair for pair in given if pair[0] != "sort"], "main")
        async with search.searching(kernel.database) as connection:
            order = Order(sort.removeprefix("-"), sort.startswith("-"))
            search.ordered(found, order)
            await search.resolve(connection, found)
            for sql, values in search.statements(found, order, 51):
                text = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", *values)
                plan = nodes(orjson.loads(text)[0]["Plan"])
                scanned = [each["Node Type"] for each in plan if each.get("Relation Name") == "process"]
                assert "Seq Scan" not in scanned, (query, sql, scanned)
                read = sum(
                    (each["Actual Rows"] + each.get("Rows Removed by Filter", 0)) * each["Actual Loops"]
                    for each in plan
                )
                assert read < 4_000, (query, sql, text)
                if len(await connection.fetch(sql, *values)) == 51:
                    break


async def test_a_task_list_looks_at_no_more_than_its_page(kernel: Lane) -> None:
    await filled(kernel)
    page = (await kernel.http.get("/v1/operators/ada/tasks?limit=2")).json()
    assert [each["pid"] for each in page["items"]] == [10, 20]
    async with kernel.database.connection() as connection:
        names = await connection.fetch(
            "SELECT indexrelname, idx_scan FROM pg_stat_user_indexes WHERE relname = 'process'"
        )
    assert "process_claim" in {row["indexrelname"] for row in names}


async def test_what_is_not_indexed_is_told_how_to_be(kernel: Lane) -> None:
    await filled(kernel)
    for query, status in (
        ("service=blue&context.m=1", 422),
        ("context.n=1", 422),
        ("state=READY&context.m=1", 200),
        ("service=blue&context.n=1", 200),
        ("key=order-7&context.n=7", 200),
    ):
        answer = await kernel.http.get(f"/v1/processes?{query}")
        assert answer.status_code == status, (query, answer.text)
        if status == 422:
            assert "indexed" in answer.json()["detail"]
    async with kernel.database.connection() as connection:
        assert await search.count(connection, parsed([], "main"), 1_000) == (1_000, True)


@pytest.mark.parametrize("text", ["a'b", "100%", "under_score", "back\\slash", "\u00e9t\u00e9", "\U0001f600", " "])
async def test_any_text_can_be_searched_for(kernel: Lane, text: str) -> None:
    await kernel.define(entity_type="thing")
    pid = (await kernel.create(key=f"x{text}y", entity={"type": "thing", "id": "1"}))["pid"]
    await kernel.create(key="another", entity={"type": "thing", "id": "2"})
    assert [each["pid"] for each in await listed(kernel, f"q={quote('x' + text + 'y')}")] == [pid]
    assert [each["pid"] for each in await listed(kernel, f"q={quote('x' + text[:1])}")] == [pid]
    assert (await kernel.http.get(f"/v1/processes?q={quote(text)}")).status_code == 200
