"""The HTTP door: lists and their filters, batches, definitions, permissions."""

import pytest

from .lane import HEADERS, Lane


async def test_a_definition_is_a_version_only_where_it_changes(kernel: Lane) -> None:
    first = await kernel.http.put("/v1/services/check", json={"roles": ["clerk"]})
    again = await kernel.http.put("/v1/services/check", json={"roles": ["clerk"], "priority": 50})
    second = await kernel.http.put("/v1/services/check", json={"roles": ["boss"]})
    assert [answer.status_code for answer in (first, again, second)] == [201, 200, 200]
    assert [answer.json()["version"] for answer in (first, again, second)] == [1, 1, 2]
    assert (await kernel.http.get("/v1/services/check?version=1")).json()["roles"] == ["clerk"]
    assert (await kernel.http.get("/v1/services/check")).json()["roles"] == ["boss"]
    listed = (await kernel.http.get("/v1/services?count=true")).json()
    assert (listed["total"], [one["version"] for one in listed["items"]]) == (1, [2])
    checked = await kernel.http.post("/v1/services:check", json={"services": {"check": {}, "new": {}}})
    assert checked.json() == {"created": ["service/new"], "changed": ["service/check"], "unchanged": []}
    assert (await kernel.http.get("/v1/services/new")).status_code == 404


@pytest.mark.parametrize("form", [{"type": "nonsense"}, {"$ref": "http://example.invalid/x"}, {"pattern": 7}])
async def test_a_form_must_be_a_schema(kernel: Lane, form: dict[str, object]) -> None:
    answer = await kernel.http.put("/v1/services/check", json={"form": form})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].startswith("/form")


async def test_running_processes_keep_their_version(kernel: Lane) -> None:
    await kernel.define(form={"required": ["a"]})
    process = await kernel.run()
    await kernel.define(form={"required": ["b"]})
    assert (await kernel.ask("complete", process["pid"], output={"a": 1}))["state"] == "TERMINATED"
    assert (await kernel.create())["service_version"] == 2


async def test_a_batch_spoils_no_item(kernel: Lane) -> None:
    await kernel.define()
    items = [{"service": "check"}, {"service": "nothing"}, {"service": 7}, {"service": "check"}]
    answer = (await kernel.http.post("/v1/processes:batch", json={"items": items})).json()["items"]
    assert [item["status"] for item in answer] == [201, 404, 422, 201]
    pids = [item["process"]["pid"] for item in answer if item["status"] == 201]
    commands = [
        {"pid": pids[0], "command": "cancel"},
        {"pid": pids[0], "command": "cancel"},
        {"pid": pids[1], "command": "explode"},
        {"pid": pids[1], "command": "prioritize", "priority": 1},
    ]
    answer = (await kernel.http.post("/v1/processes:commands", json={"items": commands})).json()["items"]
    assert [item["status"] for item in answer] == [200, 409, 422, 200]


async def test_an_idempotency_key_gives_the_same_answer_once(kernel: Lane) -> None:
    await kernel.define()
    key = {"idempotency-key": "k1"}
    first = await kernel.http.post("/v1/processes", json={"service": "check"}, headers=key)
    again = await kernel.http.post("/v1/processes", json={"service": "check"}, headers=key)
    other = await kernel.http.post("/v1/processes", json={"service": "check", "priority": 1}, headers=key)
    assert (first.status_code, first.json()) == (again.status_code, again.json())
    assert other.status_code == 422
    assert (await kernel.http.get("/v1/processes?count=true")).json()["total"] == 1


async def test_lists_filter_sort_and_page(kernel: Lane) -> None:
    await kernel.define()
    await kernel.define("other")
    for n in range(7):
        await kernel.create(
            priority=n % 3, context={"n": n, "deep": {"x": "y"}}, entity={"type": "a", "id": str(n % 2)}
        )
    await kernel.create("other", key="special")
    count = {
        "service=check": 7,
        "state=READY": 8,
        "state=RUNNING,TERMINATED": 0,
        "entity_type=a&entity_id=1": 3,
        "key=special": 1,
        "q=spec": 1,
        "q=%25": 0,
        "context.n=3": 1,
        "context.deep.x=y": 7,
        "has_incident=false": 8,
        "created_after=2020-01-01T00:00:00Z": 8,
        "due_before=2020-01-01T00:00:00Z": 0,
    }
    for query, total in count.items():
        answer = (await kernel.http.get(f"/v1/processes?{query}&count=true")).json()
        assert (answer["total"], len(answer["items"])) == (total, total), query
    for sort in ("pid", "-pid", "priority", "-created_at", "due"):
        seen: list[int] = []
        url: str | None = f"/v1/processes?limit=3&sort={sort}"
        while url is not None:
            page = (await kernel.http.get(url)).json()
            seen += [one["pid"] for one in page["items"]]
            url = None if page["next"] is None else f"/v1/processes?limit=3&sort={sort}&cursor={page['next']}"
        assert sorted(seen) == list(range(1, 9)), sort
    assert (await kernel.http.get("/v1/processes?surprise=1")).status_code == 422


async def test_tenants_do_not_see_each_other(kernel: Lane) -> None:
    await kernel.define()
    process = await kernel.create()
    other = HEADERS | {"x-kernel-tenant": "other"}
    assert (await kernel.http.get(f"/v1/processes/{process['pid']}", headers=other)).status_code == 404
    cancelled = await kernel.http.post(f"/v1/processes/{process['pid']}/cancel", json={}, headers=other)
    assert cancelled.status_code == 404
    assert (await kernel.http.get("/v1/processes", headers=other)).json()["items"] == []
    assert (await kernel.http.post("/v1/processes", json={"service": "check"}, headers=other)).status_code == 404


async def test_operators_complete_their_own_and_no_other(kernel: Lane) -> None:
    await kernel.define(roles=["clerk"])
    process = await kernel.run()
    url = f"/v1/processes/{process['pid']}/complete"
    bob = HEADERS | {"x-kernel-roles": "operator", "x-kernel-operator": "bob"}
    ada = HEADERS | {"x-kernel-roles": "operator", "x-kernel-operator": "ada"}
    assert (await kernel.http.post(url, json={}, headers=bob)).status_code == 403
    tasks = (await kernel.http.get("/v1/operators/ada/tasks?roles=clerk", headers=ada)).json()["items"]
    assert [task["pid"] for task in tasks] == [process["pid"]]
    assert (await kernel.http.post(url, json={}, headers=ada)).status_code == 200
    assert (await kernel.http.post("/v1/processes", json={"service": "check"}, headers=ada)).status_code == 403
    services = (await kernel.http.get("/v1/operators/bob/services?roles=cook", headers=bob)).json()["items"]
    assert services == []
