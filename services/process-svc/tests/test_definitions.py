"""The life of services: which version a new process gets, and whether it gets any."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_runtime.problem import Problem
from process_svc.domain.life import Canary, Deprecation, Life, changed, position, published, state, version_for
from process_svc.domain.process import Refusal

from .lane import Lane
from .values import NOW

TWO = Life(2)
WITH = Life(2, 1, 1, None, Canary(2, 0.5))
GONE = Life(2, deprecated={1: Deprecation(NOW, NOW, None)})


@pytest.mark.parametrize(
    ("life", "action", "asked", "current", "canary"),
    [
        (TWO, "canary", {"version": 2, "share": 0.1}, 1, Canary(2, 0.1)),
        (TWO, "canary", {"version": 1, "share": 0.1}, 2, Canary(1, 0.1)),
        (Life(3), "canary", {"version": 3, "share": 1, "base": 1}, 1, Canary(3, 1)),
        (WITH, "promote", {}, 2, None),
        (WITH, "abort", {}, 1, None),
        (WITH, "publish", {"version": 2}, 2, None),
        (TWO, "publish", {"version": 1}, 1, None),
        (WITH, "canary", {"version": 2, "share": 0.9}, 1, Canary(2, 0.9)),
    ],
)
def test_what_new_processes_get(life: Life, action: str, asked: dict[str, Any], current: int, canary: Any) -> None:
    after = changed(life, action, NOW, **asked)
    assert isinstance(after, Life)
    assert (after.current, after.canary, after.revision) == (current, canary, life.revision + 1)


@pytest.mark.parametrize(
    ("life", "action", "asked", "status"),
    [
        (TWO, "promote", {}, 409),
        (TWO, "unretire", {}, 409),
        (TWO, "undeprecate", {"version": 1}, 409),
        (TWO, "deprecate", {"version": 3}, 404),
        (TWO, "canary", {"version": 2, "share": 0.1, "base": 9}, 404),
        (TWO, "canary", {"version": 2, "share": 0.1, "base": 2}, 422),
        (Life(1), "canary", {"version": 1, "share": 0.1}, 422),
        (GONE, "publish", {"version": 1}, 409),
        (GONE, "canary", {"version": 1, "share": 0.1}, 409),
        (GONE, "canary", {"version": 2, "share": 0.1, "base": 1}, 409),
        (replace(GONE, canary=Canary(1, 0.1)), "promote", {}, 409),
    ],
)
def test_what_is_refused(life: Life, action: str, asked: dict[str, Any], status: int) -> None:
    refused = changed(life, action, NOW, **asked)
    assert isinstance(refused, Refusal)
    assert refused.status == status


def test_a_new_version_is_current_unless_it_is_staged_or_a_canary_runs() -> None:
    assert published(TWO, staged=False).current == 3
    assert published(TWO, staged=True).current == 2
    assert published(WITH, staged=False).current == 1
    assert published(Life(2, 1, 1), staged=False).current == 3
    assert [state(WITH, version, NOW) for version in (1, 2)] == ["current", "canary"]
    assert [state(published(TWO, staged=True), version, NOW) for version in (1, 2, 3)] == [
        "superseded",
        "current",
        "staged",
    ]


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.text(min_size=1), st.integers(0, 10_000))
def test_a_share_is_kept_and_only_grows(low: float, high: float, key: str, start: int) -> None:
    low, high = sorted((low, high))
    few, many = (Life(2, 1, 1, None, Canary(2, share)) for share in (low, high))
    given = version_for(few, "check", key, NOW)
    assert given == version_for(few, "check", key, NOW) <= version_for(many, "check", key, NOW)
    assert 0 <= position("check", key) < 1
    got = sum(version_for(many, "check", str(start + n), NOW) == 2 for n in range(1000))
    assert abs(got - 1000 * high) < 5 * 16  # five standard deviations


def test_a_canary_ends_at_its_sunset() -> None:
    sunset = NOW + timedelta(days=1)
    life = Life(2, 2, 1, None, Canary(2, 1.0), {2: Deprecation(NOW, sunset, None)})
    assert version_for(life, "check", "a", NOW) == 2
    assert version_for(life, "check", "a", sunset) == 1


async def test_a_canary_takes_its_share_until_it_is_promoted(kernel: Lane) -> None:
    await kernel.define(title="one")
    await kernel.define(title="two")
    life = (await kernel.http.post("/v1/services/check/canary", json={"version": 2, "share": 0.5})).json()
    assert (life["current"], life["canary"]) == (1, {"version": 2, "share": 0.5})
    keys = [f"k{n}" for n in range(40)]
    made = [(await kernel.create(key=key))["service_version"] for key in keys]
    assert {1, 2} == set(made)
    unkeyed = [(await kernel.create())["service_version"] for _ in range(40)]
    assert {1, 2} == set(unkeyed)
    assert [(await kernel.create(key=key))["service_version"] for key in keys] == made
    assert (await kernel.create(service_version=1))["service_version"] == 1
    third = await kernel.http.put("/v1/services/check", json={"title": "three"})
    assert third.json()["version"] == 3
    assert (await kernel.http.post("/v1/services/check/promote")).json()["current"] == 2
    assert {(await kernel.create())["service_version"] for _ in range(10)} == {2}
    listed = (await kernel.http.get("/v1/services/check/versions?alive=true&count=true")).json()
    assert [(each["version"], each["state"]) for each in listed["items"]] == [
        (3, "staged"),
        (2, "current"),
        (1, "superseded"),
    ]
    assert sum(each["alive"] for each in listed["items"]) == 91
    assert [each["action"] for each in listed["changes"]] == ["promote", "canary"]
    await kernel.http.post("/v1/services/check/versions/3/publish")
    assert (await kernel.create())["service_version"] == 3
    assert await kernel.breaches() == {}
    told = [body for kind, body in await kernel.messages() if kind == "kernel.service.published.v1"]
    assert [each["version"] for each in told] == [1, 2, 1, 1, 2, 3]
    assert told[2]["definition"]["title"] == "one"


async def test_the_same_definition_again_is_no_version_and_a_staged_one_is_not_for_new_processes(kernel: Lane) -> None:
    first = await kernel.http.put("/v1/services/check", json={"title": "one"})
    again = await kernel.http.put("/v1/services/check", json={"title": "one", "priority": 50})
    assert [first.status_code, again.status_code, again.json()["version"]] == [201, 200, 1]
    await kernel.execute("UPDATE service_version SET definition = '{\"title\":\"one\"}', hash = 'x'")
    older = await kernel.http.put("/v1/services/check", json={"title": "one"})
    assert older.json()["version"] == 1
    staged = await kernel.http.put("/v1/services/check?staged=true", json={"title": "two"})
    assert staged.json()["version"] == 2
    assert (await kernel.create())["service_version"] == 1
    assert (await kernel.create(service_version=2))["service_version"] == 2


async def test_a_retired_service_takes_no_new_processes(kernel: Lane) -> None:
    await kernel.define()
    running = await kernel.run(key="mine")
    retired = await kernel.http.post("/v1/services/check/retire", json={"reason": "done"})
    assert retired.json()["retired_at"] is not None
    for asked in ({}, {"service_version": 1}, {"key": "other"}):
        refused = await kernel.create(**asked)
        assert isinstance(refused, Problem)
        assert (refused.status, refused.title) == (409, "Service is retired")
    assert (await kernel.create(key="mine"))["pid"] == running["pid"]
    assert (await kernel.ask("complete", running["pid"]))["outcome"] == "completed"
    assert (await kernel.http.post("/v1/services/check/retire")).status_code == 409
    assert (await kernel.http.post("/v1/services/check/unretire")).json()["retired_at"] is None
    assert (await kernel.create())["state"] == "READY"
    assert await kernel.breaches() == {}


async def test_a_deprecated_version_says_so_until_its_sunset(kernel: Lane) -> None:
    await kernel.define(title="one")
    await kernel.define(title="two")
    later = (NOW + timedelta(days=36_500)).isoformat()
    url = "/v1/services/check/versions/1"
    await kernel.http.post(f"{url}/deprecate", json={"sunset": later, "reason": "use 2"})
    old = await kernel.http.post("/v1/processes", json={"service": "check", "service_version": 1})
    assert (old.status_code, old.headers["deprecation"][0], "GMT" in old.headers["sunset"]) == (201, "@", True)
    assert "use 2" in old.json()["deprecated"]["detail"]
    assert "deprecation" not in (await kernel.http.post("/v1/processes", json={"service": "check"})).headers
    await kernel.http.post(f"{url}/deprecate", json={"sunset": (NOW - timedelta(days=36_500)).isoformat()})
    gone = await kernel.http.post("/v1/processes", json={"service": "check", "service_version": 1})
    assert (gone.status_code, gone.json()["title"]) == (409, "Version is retired")
    assert "new ones get version 2" in gone.json()["detail"]
    await kernel.http.post(f"{url}/undeprecate")
    newest = "/v1/services/check/versions/2"
    await kernel.http.post(f"{newest}/deprecate", json={"sunset": (NOW - timedelta(days=36_500)).isoformat()})
    none = await kernel.http.post("/v1/processes", json={"service": "check"})
    assert (none.status_code, "publish another one" in none.json()["detail"]) == (409, True)
    assert isinstance(await kernel.create(service_version=1), dict)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("nothing/retire", {}, 404),
        ("check/explode", {}, 404),
        ("check/deprecate", {}, 404),
        ("check/versions/1/retire", {}, 404),
        ("check/versions/9999999999/deprecate", {}, 404),
        ("check/versions/x/deprecate", {}, 404),
        ("check/versions/0/publish", {}, 422),
        ("check/canary", {"version": 1}, 422),
        ("check/canary", {"version": 1, "share": 1.5}, 422),
        ("check/canary", {"version": 2**40, "share": 0.5}, 404),
        ("check/retire", {"version": "x"}, 422),
        ("check/versions/1/deprecate", {"sunset": "9999-12-31T23:59:59-23:59"}, 422),
    ],
)
async def test_bad_input_is_told(kernel: Lane, path: str, body: dict[str, Any], status: int) -> None:
    await kernel.define()
    answer = await kernel.http.post(f"/v1/services/{path}", json=body)
    assert answer.status_code == status, answer.text
    operator = {"x-kernel-roles": "operator"}
    assert (await kernel.http.post("/v1/services/check/retire", headers=operator)).status_code == 403
