"""Old histories are dropped a partition at a time, unless somebody needs them; what is left says so."""

from datetime import timedelta
from typing import Any

import pytest
from process_svc.keeper import Keeper
from process_svc.store import partitions

from .lane import Lane
from .test_ledger import aged, keeper, verify

NOTHING = timedelta(0)


async def ended(kernel: Lane, **fields: Any) -> int:
    """A process that was completed."""
    pid: int = (await kernel.run(context={"name": "Ann"}, **fields))["pid"]
    await kernel.ask("complete", pid, output={"done": True})
    return pid


async def filled(kernel: Lane) -> None:
    """The partition of all processes so far gets no further ones."""
    await kernel.execute("SELECT setval('pid', 1000000)")
    kernel.memory.pids._fresh.clear()


async def test_a_partition_is_dropped_as_a_whole_and_what_is_left_says_so(kernel: Lane) -> None:
    await kernel.define(indexed=["name"])
    pid = await ended(kernel, key="k", entity={"type": "permit", "id": "7"})
    cancelled = (await kernel.create())["pid"]
    await kernel.ask("cancel", cancelled)
    await aged(kernel)
    keeping: Keeper = await keeper(kernel)
    await keeping.checkpoint()
    await keeping.retain(NOTHING)
    assert (await verify(kernel, pid))["dropped_at"] is None  # its partition is still being filled
    await filled(kernel)
    await keeping.make_ahead()
    await keeping.retain(timedelta(days=1))
    assert (await verify(kernel, pid))["dropped_at"] is None
    before = await verify(kernel, pid)
    await keeping.retain(NOTHING)
    while await keeping.clear():
        pass
    found = await verify(kernel, pid)
    assert found["dropped_at"] is not None
    assert (found["ok"], found["rows"], found["head"]) == (True, 0, before["head"])
    process = await kernel.read(pid)
    assert (process["state"], process["key"], process["context"], process["output"]) == ("TERMINATED", "k", None, None)
    for part in ("history", "snapshots", "snapshots/1"):
        assert (await kernel.http.get(f"/v1/processes/{pid}/{part}")).status_code == 410
    assert (await kernel.ask("rollback", cancelled, version=1)).status == 404
    assert (await kernel.ask("set_context", cancelled, patch={"a": 1})).status == 409
    first, *others = (await kernel.http.get("/v1/retention")).json()["partitions"]
    assert (first["processes"], first["rows"], first["first_pid"], first["last_pid"]) == (2, 7, pid, cancelled)
    assert (first["signed"], first["cleared"], len(others)) == (True, 1_000_000, 4)
    seen = (await kernel.http.get("/v1/retention", headers={"x-kernel-tenant": "other"})).json()["partitions"][0]
    assert (seen["dropped_at"], seen["processes"], seen["rows"]) == (first["dropped_at"], None, None)
    assert await kernel.breaches() == {}
    async with kernel.database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM process_attribute") == 0
    assert (await kernel.http.post("/v1/verify")).json()["ok"]
    later = await ended(kernel)
    assert later > 1_000_000
    assert (await verify(kernel, later))["ok"]
    await keeping.retain(NOTHING)
    assert await kernel.breaches() == {}
    await kernel.execute("UPDATE process SET journal_hash = context_hash WHERE pid = $1", pid)
    assert set(await kernel.breaches()) == {"partitions_are_as_recorded", "what_was_signed_is_there"}


HOLDS = {
    "by pid": {"pid": 1},
    "by context and text": {"filter": {"context.name": "Ann", "q": "keep-"}},
    "by filter": {"filter": {"service": "check", "entity_type": "permit", "entity_id": ["7", "8"]}},
}


@pytest.mark.parametrize("kind", HOLDS)
async def test_a_hold_keeps_it(kernel: Lane, kind: str) -> None:
    await kernel.define()
    pid = await ended(kernel, entity={"type": "permit", "id": "7"}, key="keep-7")
    made = await kernel.http.post(
        "/v1/holds", json=HOLDS[kind] | {"reason": "a case"}, headers={"idempotency-key": "h"}
    )
    again = await kernel.http.post(
        "/v1/holds", json=HOLDS[kind] | {"reason": "a case"}, headers={"idempotency-key": "h"}
    )
    assert (made.status_code, made.json()) == (201, again.json())
    hold = made.json()
    assert (hold["reason"], hold["by"], hold["released_at"]) == ("a case", "me", None)
    await filled(kernel)
    keeping = await keeper(kernel)
    await keeping.retain(NOTHING)
    assert (await verify(kernel, pid))["rows"] == 4
    assert (await kernel.http.get(f"/v1/holds/{hold['id']}")).json() == hold
    released = (await kernel.http.delete(f"/v1/holds/{hold['id']}")).json()
    assert released["released_by"] == "me"
    assert (await kernel.http.delete(f"/v1/holds/{hold['id']}")).status_code == 409
    assert (await kernel.http.get("/v1/holds?active=true")).json()["items"] == []
    assert (await kernel.http.get("/v1/holds")).json()["items"] == [released]
    await keeping.retain(NOTHING)
    assert (await verify(kernel, pid))["rows"] == 0


async def test_tables_that_were_meddled_with_stop_nothing(kernel: Lane) -> None:
    await kernel.define()
    await ended(kernel)
    await filled(kernel)
    keeping = await keeper(kernel, retention="PT0S")
    await kernel.execute("DROP TABLE journal_0")
    for step in (keeping.make_ahead, keeping.checkpoints, keeping.look, keeping.clear_all):
        await keeping.attempt(step)
    assert "partitions_are_as_recorded" in await kernel.breaches()
    assert (await kernel.create())["pid"] > 1_000_000


async def test_what_lives_keeps_it(kernel: Lane) -> None:
    await kernel.define()
    pid = await ended(kernel)
    await kernel.create()
    await filled(kernel)
    await (await keeper(kernel)).retain(NOTHING)
    assert (await verify(kernel, pid))["rows"] == 4


async def test_a_lock_that_is_not_got_is_tried_later(kernel: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    await kernel.define()
    pid = await ended(kernel)
    await filled(kernel)
    keeping = await keeper(kernel)
    async with kernel.database.transaction() as connection:
        await connection.execute("LOCK TABLE hold IN ROW EXCLUSIVE MODE")
        await keeping.retain(NOTHING)
    assert (await verify(kernel, pid))["rows"] == 4
    await keeping.retain(NOTHING)
    assert (await verify(kernel, pid))["rows"] == 0


@pytest.mark.parametrize(
    "body", [{}, {"pid": 1}, {"pid": 1, "filter": {}, "reason": "r"}, {"filter": {"x": 1}, "reason": "r"}]
)
async def test_a_hold_that_says_nothing_is_refused(kernel: Lane, body: Any) -> None:
    assert (await kernel.http.post("/v1/holds", json=body)).status_code == 422
    assert (await kernel.http.post("/v1/holds", json={"pid": 9, "reason": "r"})).status_code == 404
    assert (await kernel.http.delete("/v1/holds/9")).status_code == 404


async def test_partitions_are_made_ahead_of_what_comes(kernel: Lane) -> None:
    keeping = await keeper(kernel)
    await keeping.make_ahead()
    await kernel.execute("SELECT setval('pid', 3_999_999)")
    await keeping.make_ahead()
    async with kernel.database.connection() as connection:
        parts = await partitions.all_parts(connection)
    assert [each["lower"] for each in parts] == [n * 1_000_000 for n in range(8)]
    await kernel.define()
    assert [(await kernel.create())["pid"] for _ in range(2)] == [4_000_000, 4_000_001]
    assert await kernel.breaches() == {}
