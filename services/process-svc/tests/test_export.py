"""Event logs: what is exported is what other tools, and our own readers, take for it."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema_rs
import pytest
from kernel_client.eventlog import read
from process_svc.domain.eventlog import Life
from process_svc.store import exports

from .lane import Lane

PERMIT = {"type": "permit", "id": 'no "7" <&'}


async def lived(kernel: Lane) -> list[int]:
    """A root with a child, a failed and repeated one, and one that never ran."""
    await kernel.define()
    await kernel.define("inspect", retry={"max_attempts": 2, "backoff": {"initial": 0.001}})
    root = await kernel.run(entity=PERMIT)
    child = await kernel.run("inspect", parent=root["pid"], entity=PERMIT)
    await kernel.ask("fail", child["pid"], error={"class": "transient", "code": "x", "message": "bad, \x07 \n"})
    await asyncio.sleep(0.01)
    await kernel.tick(child["pid"])
    await kernel.grant(await kernel.read(child["pid"]), "bob")
    await kernel.ask("suspend", child["pid"], reason="lunch")
    await kernel.ask("resume", child["pid"])
    await kernel.grant(await kernel.read(child["pid"]), "bob")
    await kernel.ask("complete", child["pid"])
    await kernel.ask("complete", root["pid"])
    lone = await kernel.create()
    await kernel.ask("cancel", lone["pid"])
    return [root["pid"], child["pid"], lone["pid"]]


async def fetch(kernel: Lane, **query: Any) -> bytes:
    answer = await kernel.http.get("/v1/export", params=query)
    assert answer.status_code == 200, answer.text
    return answer.content


@pytest.mark.parametrize("form", ["csv", "xes"])
async def test_our_own_readers_read_it(kernel: Lane, tmp_path: Path, form: str) -> None:
    root, child, _ = await lived(kernel)
    file = tmp_path / f"log.{form}"
    file.write_bytes(await fetch(kernel, format=form))
    log = read(file)
    assert {case.id for case in log.cases} == {str(root), str(child)}
    assert log.tasks == 2
    assert set(log.activities) == {"check", "inspect"}
    assert {log.resources[task.resource] for case in log.cases for task in case.tasks} == {"ada", "bob"}
    assert log.bad.count == 1  # the attempt that failed was started and never completed
    assert all(task.duration > 0 for case in log.cases for task in case.tasks)
    file.write_bytes(await fetch(kernel, format=form, case="root", lifecycle="start,resume,complete"))
    assert {case.id: len(case.tasks) for case in read(file).cases} == {str(root): 2}
    file.write_bytes(await fetch(kernel, format=form, case="entity", service="inspect"))
    assert {case.id: len(case.tasks) for case in read(file).cases} == {f"permit:{PERMIT['id']}": 1}


async def test_xes_says_what_each_row_meant(kernel: Lane) -> None:
    _, child, lone = await lived(kernel)
    log = ElementTree.fromstring(await fetch(kernel, format="xes"))
    name = "{http://www.xes-standard.org/}"
    traces = {}
    for trace in log.findall(f"{name}trace"):
        events = [{item.get("key"): item.get("value") for item in event} for event in trace.findall(f"{name}event")]
        traces[trace[0].get("value")] = [each["lifecycle:transition"] for each in events]
        assert all(len(each) >= 8 for each in events)
    assert traces[str(lone)] == ["schedule", "unknown", "withdraw"]
    # created, ready, running | failed, ready, running, suspended, ready, running, completed
    second = ["ate_abort", "unknown", "start", "suspend", "unknown", "resume", "complete"]
    assert traces[str(child)] == ["schedule", "unknown", "start", *second]


OCEL = {
    "type": "object",
    "required": ["objectTypes", "eventTypes", "objects", "events"],
    "properties": {
        "objectTypes": {"$ref": "#/$defs/types"},
        "eventTypes": {"$ref": "#/$defs/types"},
        "objects": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["id", "type"],
                "properties": {
                    "id": {"type": "string"},
                    "type": {"type": "string"},
                    "attributes": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["name", "value", "time"],
                            "properties": {"time": {"format": "date-time"}},
                        },
                    },
                    "relationships": {"$ref": "#/$defs/relationships"},
                },
            },
        },
        "events": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["id", "type", "time"],
                "properties": {
                    "time": {"type": "string", "format": "date-time"},
                    "attributes": {"type": "array", "items": {"type": "object", "required": ["name", "value"]}},
                    "relationships": {"$ref": "#/$defs/relationships"},
                },
            },
        },
    },
    "$defs": {
        "types": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "attributes"],
                "properties": {
                    "attributes": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["name", "type"],
                            "properties": {"type": {"enum": ["string", "time", "integer", "float", "boolean"]}},
                        },
                    }
                },
            },
        },
        "relationships": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["objectId", "qualifier"],
                "additionalProperties": {"type": "string"},
            },
        },
    },
}
"""What OCEL 2.0 asks of a JSON file (https://www.ocel-standard.org), in our words."""


async def test_ocel_is_whole(kernel: Lane) -> None:
    root, child, lone = await lived(kernel)
    buyer = {"type": "customer", "id": "9", "role": "buyer"}
    await kernel.create(entity={"type": "process", "id": "1"}, entities=[buyer])
    answer = await kernel.http.get("/v1/export", params={"format": "ocel"})
    log = answer.json()
    jsonschema_rs.validator_for(OCEL, validate_formats=True).validate(log)
    ids = Counter(each["id"] for each in log["objects"])
    assert set(ids.values()) == {1}
    assert {f"process:{pid}" for pid in (root, child, lone)} | {"operator:ada", "operator:bob"} <= set(ids)
    assert {f"permit:{PERMIT['id']}", "entity process:1"} <= set(ids)
    for each in (*log["objects"], *log["events"]):
        assert {related["objectId"] for related in each["relationships"]} <= set(ids)
    types = {each["name"] for each in log["objectTypes"]}
    assert (
        types
        == {"process", "operator", "permit", "entity process", "customer"}
        == {each["type"] for each in log["objects"]}
    )
    assert {each["type"] for each in log["events"]} == {each["name"] for each in log["eventTypes"]}
    parents = [
        each
        for each in log["objects"]
        if {"objectId": f"process:{root}", "qualifier": "child of"} in each["relationships"]
    ]
    assert [each["id"] for each in parents] == [f"process:{child}"]
    last = log["events"][-1]["relationships"]
    assert {"objectId": "customer:9", "qualifier": "buyer"} in last
    traces = (await fetch(kernel, format="csv", case="entity")).splitlines()
    assert Counter(line.split(b",")[0] for line in traces)[b"customer:9"] == 2
    some = (await kernel.http.get("/v1/export", params={"format": "ocel", "service": "inspect"})).json()
    assert not any(related["qualifier"] == "child of" for each in some["objects"] for related in each["relationships"])
    empty = (await kernel.http.get("/v1/export", params={"format": "ocel", "service": "none"})).json()
    assert empty["events"] == empty["objects"] == empty["eventTypes"] == []


async def test_parts_make_a_whole(kernel: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    await lived(kernel)
    whole = {
        (form, case): await fetch(kernel, format=form, case=case)
        for form in ("csv", "xes")
        for case in exports.CASE_KINDS
    }
    assert whole["csv", "process"].count(b"\n") == 1 + 4 + 10 + 3 + 1  # a reason has two lines
    monkeypatch.setattr(exports, "ROWS", 2)
    limit = exports.ROWS
    original = exports.rows

    async def fewer(connection: Any, *arguments: Any) -> list[Any]:
        return (await original(connection, *arguments))[:limit]

    monkeypatch.setattr(exports, "rows", fewer)
    for (form, case), text in whole.items():
        assert await fetch(kernel, format=form, case=case) == text


async def test_times_bound_it(kernel: Lane) -> None:
    await lived(kernel)
    now = datetime.now(UTC).isoformat()
    later = await kernel.create()
    lines = (await fetch(kernel, **{"from": now})).splitlines()[1:]
    assert [line.split(b",")[0] for line in lines] == [str(later["pid"]).encode()] * 2
    assert len((await fetch(kernel, to=now)).splitlines()) == 19
    await kernel.execute("UPDATE process SET tenant = 'other'")
    assert len((await fetch(kernel)).splitlines()) == 1


@pytest.mark.parametrize(
    "query",
    ["format=pdf", "case=x", "from=yesterday", "lifecycle=start,x", "limit=1", "format=ocel&case=root"],
)
async def test_what_is_wrong_is_told(kernel: Lane, query: str) -> None:
    answer = await kernel.http.get(f"/v1/export?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == f"/query/{query.split('&')[-1].split('=')[0]}"


def test_a_wait_that_timed_out_goes_on() -> None:
    life = Life()
    row = {"pid": 1, "operator": None, "by": "k", "at": None, "outcome": None}
    told = [
        life.told("1", {**row, "command": command, "from_state": before, "state": state}).transition
        for command, before, state in (
            ("dispatch", "READY", "RUNNING"),
            ("wait", "RUNNING", "WAITING"),
            ("time_out", "WAITING", "READY"),
            ("dispatch", "READY", "RUNNING"),
            ("assign", "RUNNING", "READY"),
            ("cancel", "READY", "TERMINATED"),
        )
    ]
    assert told == ["start", "suspend", "unknown", "resume", "suspend", "ate_abort"]
