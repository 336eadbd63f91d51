"""History: who did what, why, from what and to what; and the context at any time."""

from datetime import UTC, datetime
from typing import Any

import pytest
from kernel_runtime.problem import Problem

from .lane import Lane


async def history(kernel: Lane, pid: int, **query: Any) -> list[Any]:
    answer = await kernel.http.get(f"/v1/processes/{pid}/history", params=query)
    assert answer.status_code == 200, answer.text
    found: list[Any] = answer.json()["items"]
    return found


async def test_each_change_says_what_it_changed(kernel: Lane) -> None:
    await kernel.define(retry={"max_attempts": 1})
    pid = (await kernel.run(context={"a": 1}))["pid"]
    told: dict[str, Any] = {}

    async def ask(name: str, **fields: Any) -> Any:
        await kernel.ask(name, pid, reason=f"why {name}", **fields)
        told[name] = (await history(kernel, pid))[-1]
        return told[name]["changes"]

    assert (await history(kernel, pid))[2]["changes"] == {"operator": [None, "ada"]}
    assert await ask("set_context", patch={"b": 2}) == {"patch": {"b": 2}, "context_version": [1, 4]}
    assert await ask("prioritize", priority=70) == {"priority": [50, 70]}
    assert await ask("suspend", hold=True) == {"held": True}
    assert await ask("resume") == {}
    await kernel.grant(await kernel.read(pid), "bob")
    waiting = await ask("wait", **{"for": {"event": {"type": "paid", "key": "7"}}})
    assert waiting == {"waiting_for": {"event": {"type": "paid", "key": "7"}}}
    assert await ask("wake", context={"c": 3}) == {"context_version": [4, 10]}
    assert await ask("assign", operator="bob") == {"assigned": [None, "bob"]}
    await kernel.grant(await kernel.read(pid), "bob")
    failed = await ask("fail", error={"class": "business", "code": "no", "message": "not so"})
    assert failed["error"]["code"] == "no"
    assert await ask("retry", context={"d": 4}) == {"attempt": [1, 2], "context_version": [10, 14]}
    assert await ask("rollback", version=4, resume=True) == {"context_version": [14, 15], "rolled_back_to": 4}
    await kernel.grant(await kernel.read(pid), "bob")
    assert set(await ask("complete", output={"done": True})) == {"output_hash"}
    for name, row in told.items():
        assert (row["reason"], row["by"], row["command"]) == (f"why {name}", "me", name)
        assert row["cause"] is not None or row["correlation"]
        assert len(row["hash"]) == 64
    assert await kernel.breaches() == {}


async def test_a_history_is_filtered(kernel: Lane) -> None:
    await kernel.define()
    pid = (await kernel.run())["pid"]
    await kernel.ask("set_context", pid, patch={"b": 2})
    now = datetime.now(UTC).isoformat()
    await kernel.ask("complete", pid)

    async def versions(**query: Any) -> list[int]:
        return [row["version"] for row in await history(kernel, pid, **query)]

    assert await versions(command="set_context") == [4]
    assert await versions(type="running") == [3]
    assert await versions(operator="ada") == [3, 4, 5]
    assert await versions(by="nobody") == []
    assert await versions(**{"from": now}) == [5]
    assert await versions(to=now, limit=2) == [1, 2]
    assert await versions(to=now, limit=2, cursor=2) == [3, 4]
    counted = (
        await kernel.http.get(f"/v1/processes/{pid}/history?count=true&limit=1&to={now}".replace("+", "%2B"))
    ).json()
    assert counted["total"] == 4
    for query in ("x=1", "from=now", "by=%00"):
        assert (await kernel.http.get(f"/v1/processes/{pid}/history?{query}")).status_code == 422


async def test_the_context_at_a_time(kernel: Lane) -> None:
    before = datetime.now(UTC).isoformat()
    await kernel.define()
    pid = (await kernel.create(context={"n": 0}))["pid"]
    first = datetime.now(UTC).isoformat()
    await kernel.ask("set_context", pid, patch={"n": 1})

    async def at(moment: str) -> list[Any]:
        answer = await kernel.http.get(f"/v1/processes/{pid}/snapshots", params={"at": moment})
        assert answer.json()["next"] is None
        return [each["context"] for each in answer.json()["items"]]

    assert await at(before) == []
    assert await at(first) == [{"n": 0}]
    assert await at(datetime.now(UTC).isoformat()) == [{"n": 1}]
    assert (await kernel.http.get(f"/v1/processes/{pid}/snapshots?at=then")).status_code == 422


DAMAGE = {
    "UPDATE snapshot SET context = '{}' WHERE version = 3": 3,
    "UPDATE snapshot SET hash = sha256(previous_hash || '{}'), context = '{}' WHERE version = 3": 3,
    "UPDATE journal SET reason = 'x' WHERE version = 3": 3,
}


@pytest.mark.parametrize("damage", DAMAGE)
async def test_nothing_is_restored_from_behind_a_broken_link(kernel: Lane, damage: str) -> None:
    await kernel.define()
    pid = (await kernel.create(context={"n": 0}))["pid"]
    for n in (1, 2):
        await kernel.ask("set_context", pid, patch={"n": n})
    await kernel.execute(damage)
    for version in (3, 4):
        refused = await kernel.ask("rollback", pid, version=version)
        assert isinstance(refused, Problem)
        assert (refused.status, refused.title[-10:]) == (409, "is damaged")
    assert (await kernel.ask("rollback", pid, version=2, resume=True))["context"] == {"n": 0}
