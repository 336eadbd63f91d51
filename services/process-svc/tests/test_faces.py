"""What clients rely on: ETags and If-Match, pages, task lists, sizes, whole documents."""

from typing import Any

import orjson
import pytest

from .lane import HEADERS, Lane


async def test_versions_are_etags_and_if_match_is_honoured(kernel: Lane) -> None:
    await kernel.define()
    made = await kernel.http.post("/v1/processes", json={"service": "check"})
    pid = made.json()["pid"]
    assert (made.status_code, made.headers["location"], made.headers["etag"]) == (201, f"/v1/processes/{pid}", '"2"')
    url = f"/v1/processes/{pid}"
    stale = await kernel.http.post(f"{url}/prioritize", json={"priority": 9}, headers={"if-match": '"1"'})
    assert (stale.status_code, stale.json()["version"]) == (412, 2)
    fresh = await kernel.http.post(f"{url}/prioritize", json={"priority": 9}, headers={"if-match": '"2"'})
    assert (fresh.status_code, fresh.headers["etag"]) == (200, '"3"')
    patched = await kernel.http.patch(f"{url}/context", json={"a": 1}, headers={"if-match": '"2"'})
    assert patched.status_code == 412
    assert (await kernel.http.get(url)).headers["etag"] == '"3"'
    service = await kernel.http.put("/v1/services/check", json={"roles": ["x"]}, headers={"if-match": '"7"'})
    assert service.status_code == 412


async def test_a_key_again_is_200_and_another_request_409(kernel: Lane) -> None:
    await kernel.define()
    bodies: list[dict[str, Any]] = [
        {"service": "check", "key": "k", "context": {"b": 1, "a": 2}},
        {"key": "k", "context": {"a": 2, "b": 1}, "service": "check", "priority": None},
        {"service": "check", "key": "k", "context": {"a": 2, "b": 2}},
    ]
    answers = [await kernel.http.post("/v1/processes", json=body) for body in bodies]
    assert [answer.status_code for answer in answers] == [201, 200, 409]
    batch = (await kernel.http.post("/v1/processes:batch", json={"items": bodies})).json()["items"]
    assert [item["status"] for item in batch] == [200, 200, 409]
    fresh = [body | {"key": "other"} for body in bodies]
    batch = (await kernel.http.post("/v1/processes:batch", json={"items": fresh})).json()["items"]
    assert [item["status"] for item in batch] == [201, 200, 409]


async def test_the_pcb_has_what_the_public_face_names(kernel: Lane) -> None:
    await kernel.define(entity_type="permit", due_in="P1D", expected_duration="PT20M")
    process = await kernel.create(entity={"type": "permit", "id": "1"}, operator="ada", priority=70)
    named = (
        "pid tenant service service_version entity operator priority state outcome version context output parent after queue"
        " dispatch_id attempt created_at ready_at started_at ended_at due not_before not_after incident waiting_for can"
    )
    assert set(named.split()) <= set(process)
    assert (process["operator"], process["priority"], process["expected_duration"]) == ("ada", 70, "PT20M")
    assert process["due"][:10] > process["created_at"][:10]
    assert process["can"] == ["suspend", "cancel", "rollback", "prioritize", "assign", "set_context", "migrate"]


async def test_history_and_snapshots_come_in_pages(kernel: Lane) -> None:
    await kernel.define()
    pid = (await kernel.create())["pid"]
    for n in range(6):
        await kernel.ask("set_context", pid, patch={"n": n}, reason=f"step {n}")
    for what, versions in (("history", list(range(1, 9))), ("snapshots", [1, *range(3, 9)])):
        seen: list[Any] = []
        url: str | None = f"/v1/processes/{pid}/{what}?limit=3&count=true"
        while url is not None:
            page = (await kernel.http.get(url)).json()
            assert page["total"] == len(versions)
            seen += page["items"]
            url = page["next"] and f"/v1/processes/{pid}/{what}?limit=3&count=true&cursor={page['next']}"
        assert [item["version"] for item in seen] == versions
        if what == "snapshots":
            assert all(item["verified"] for item in seen)
            assert [item["previous_hash"] for item in seen] == [None, *(item["hash"] for item in seen[:-1])]
            assert seen[-1]["context"] == {"n": 5}
        else:
            assert (seen[-1]["reason"], seen[-1]["by"], seen[-1]["command"]) == ("step 5", "me", "set_context")
            assert seen[-1]["changes"] == {"patch": {"n": 5}, "context_version": [7, 8]}


async def test_a_task_list_is_in_the_order_of_the_queue(kernel: Lane) -> None:
    await kernel.define("clerks", roles=["clerk"])
    await kernel.define("bosses", roles=["boss"])
    await kernel.define("machines", kind="automatic")
    await kernel.define("anyone")
    mine = [await kernel.run("clerks") for _ in range(2)]
    low = [(await kernel.create("clerks"))["pid"] for _ in range(3)]
    high = [(await kernel.create("anyone", priority=90))["pid"] for _ in range(2)]
    for other in ({"service": "bosses"}, {"service": "machines"}, {"service": "clerks", "operator": "bob"}):
        await kernel.create(**other)
    expected = [process["pid"] for process in mine] + high + low
    for limit in (1, 2, 3, 50):
        seen: list[int] = []
        base = f"/v1/operators/ada/tasks?roles=clerk,x&limit={limit}"
        url: str | None = base
        while url is not None:
            page = (await kernel.http.get(url)).json()
            seen += [task["pid"] for task in page["items"]]
            url = page["next"] and f"{base}&cursor={page['next']}"
        assert seen == expected, limit
    ready = (await kernel.http.get("/v1/operators/ada/tasks?roles=clerk&state=READY")).json()["items"]
    assert [task["pid"] for task in ready] == high + low
    assert (await kernel.http.get("/v1/operators/ada/tasks?state=WAITING")).status_code == 422
    assert (await kernel.http.get("/v1/operators/ada/tasks?cursor=WzFd&roles=clerk")).status_code == 200
    assert (await kernel.http.get("/v1/operators/ada/tasks?cursor=xx")).status_code == 422
    allowed = (await kernel.http.get("/v1/operators/ada/services?roles=clerk")).json()["items"]
    assert [service["name"] for service in allowed] == ["anyone", "clerks"]


async def test_a_large_context_is_whole_where_it_is_asked_for(kernel: Lane) -> None:
    await kernel.define()
    text = "\u00e9" * 50_000
    process = await kernel.create(context={"text": text})
    url = f"/v1/processes/{process['pid']}"
    assert (await kernel.http.get(url)).json()["context"] == {"text": text}
    listed = (await kernel.http.get("/v1/processes")).json()["items"][0]
    assert (listed["context"], listed["context_hash"]) == (None, process["context_hash"])
    told = [body for kind, body in await kernel.messages() if kind == "kernel.process.ready.v1"]
    assert "context" not in told[0]
    assert told[0]["context_hash"] == process["context_hash"]
    patched = (await kernel.http.patch(f"{url}/context", json={"more": 1})).json()
    assert patched["context"] == {"text": text, "more": 1}
    again = await kernel.ask("prioritize", process["pid"], priority=1)
    assert again["context"]["more"] == 1
    refused = await kernel.http.patch(f"{url}/context", json={"text": "\u00e9" * 140_000})
    assert refused.status_code == 413
    assert "256" in refused.json()["detail"] or "262,144" in refused.json()["detail"]
    assert await kernel.breaches() == {}


async def test_a_document_of_services_is_applied_whole_or_not(kernel: Lane) -> None:
    good = {"services": {"a": {"roles": ["x"]}, "b": {}}}
    bad = {"services": {"a": {"roles": ["y"]}, "c": {"form": {"type": 7}}}}
    for path in ("check", "apply"):
        refused = await kernel.http.post(f"/v1/services:{path}", json=bad)
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/services/c/form/type")
    checked = await kernel.http.post("/v1/services:check", json=good)
    applied = await kernel.http.post("/v1/services:apply", json=good)
    assert checked.json() == applied.json() == {"created": ["service/a", "service/b"], "changed": [], "unchanged": []}
    again = await kernel.http.post("/v1/services:apply", json=good)
    assert again.json() == {"created": [], "changed": [], "unchanged": ["service/a", "service/b"]}
    told = [body for kind, body in await kernel.messages() if kind == "kernel.service.published.v1"]
    assert [(body["name"], body["version"]) for body in told] == [("a", 1), ("b", 1)]
    viewer = HEADERS | {"x-kernel-roles": "viewer"}
    assert (await kernel.http.post("/v1/services:apply", json=good, headers=viewer)).status_code == 403


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/processes", b"{", 400),
        ("/v1/processes", b"[]", 422),
        ("/v1/processes", b'{"service":"check","context":' + b'{"a":' * 70 + b"1" + b"}" * 71, 422),
        ("/v1/processes", b'{"service":"check","context":{"a":"\\u0000"}}', 422),
        ("/v1/processes", b'{"service":"check","context":{"a":12345678901234567890123}}', 422),
        ("/v1/processes", b'{"service":"check","priority":101}', 422),
        ("/v1/processes", b'{"service":"check","parent":0}', 422),
        ("/v1/processes", b'{"service":"check","colour":"red"}', 422),
        ("/v1/processes", b'{"service":"check","due":"0001-01-01T00:00:00+14:00"}', 422),
        ("/v1/processes", b'{"service":"check","not_after":"9999-12-31T23:59:59-14:00"}', 422),
        ("/v1/processes", b'{"service":"check","service_version":9007199254740993}', 404),
        ("/v1/processes", b'{"service":"check","after":[9007199254740993]}', 422),
        ("/v1/processes/1/rollback", b'{"version":9007199254740993}', 404),
        ("/v1/processes:batch", b'{"items":[]}', 422),
        ("/v1/processes:batch", b'{"items":7}', 422),
        ("/v1/processes/1/explode", b"{}", 404),
        ("/v1/processes/0/cancel", b"{}", 404),
        ("/v1/processes/99999999999999999999/cancel", b"{}", 404),
        ("/v1/processes/x/cancel", b"{}", 404),
        ("/v1/processes/1/wait", b'{"for":{"timer":{"after":"P900000D"}}}', 409),
        ("/v1/processes/1/wait", b'{"for":{}}', 422),
        ("/v1/incidents/1/resolve", b'{"action":"retry"}', 404),
        ("/v1/incidents/1/resolve", b'{"action":"pray"}', 422),
    ],
)
async def test_what_is_wrong_is_told(kernel: Lane, path: str, body: bytes, status: int) -> None:
    await kernel.define()
    await kernel.create()
    answer = await kernel.http.post(path, content=body)
    assert answer.status_code == status, answer.text
    problem = orjson.loads(answer.content)
    assert {"type", "title", "status", "detail"} <= set(problem)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/services/%00", 404),
        ("/v1/services/check?version=99999999999", 404),
        ("/v1/services?cursor=AAAA", 200),
        ("/v1/services?cursor=x", 422),
        ("/v1/operators/%00/tasks", 404),
        ("/v1/operators/a/tasks?roles=%00", 422),
        ("/v1/processes?service=%00", 422),
        ("/v1/processes?context.a.%00=1", 422),
        ("/v1/processes?created_after=0001-01-01T00:00:00%2B14:00", 422),
        ("/v1/processes?created_after=yesterday", 422),
        ("/v1/processes?limit=501", 422),
        ("/v1/processes?cursor=x", 422),
        ("/v1/processes?sort=colour", 422),
        ("/v1/processes?state=ASLEEP", 422),
        ("/v1/processes?parent=999999999999999999", 200),
        ("/v1/processes/999999999999999999", 404),
        ("/v1/processes/1/history?cursor=999999999999", 200),
        ("/v1/processes/1/snapshots/999999999999", 404),
        ("/v1/processes/1/snapshots/1?against=x", 422),
        ("/v1/incidents?pid=x", 422),
        ("/v1/incidents/999999999999999999", 404),
    ],
)
async def test_reads_take_any_input(kernel: Lane, path: str, status: int) -> None:
    await kernel.define()
    await kernel.create()
    answer = await kernel.http.get(path)
    assert answer.status_code == status, answer.text


async def test_durations_end_somewhere(kernel: Lane) -> None:
    for field in ({"due_in": "P40000D"}, {"retry": {"backoff": {"max": "P999999D"}}}):
        answer = await kernel.http.put("/v1/services/long", json=field)
        assert answer.status_code == 422, answer.text
