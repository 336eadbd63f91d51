"""Chains and checkpoints: what was changed, taken out or cut off is found and named."""

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kernel_runtime.lease import Lease
from process_svc.keeper import Keeper
from process_svc.settings import Settings
from process_svc.signing import Signer, private_key, signer, unsound
from process_svc.store import chains
from process_svc.store.checkpoints import Checkpoint, Due

from .lane import Lane

SEED = base64.b64encode(bytes(range(32))).decode()


async def keeper(kernel: Lane, **settings: Any) -> Keeper:
    """Holds its lease."""
    chosen = Settings.model_validate(
        {"database_url": "", "kafka_bootstrap": "", "checkpoint_key": SEED, "retention": None} | settings
    )
    lease = Lease(kernel.database, "ledger", "test", 60)
    await lease._step()
    return Keeper(kernel.database, lease, signer(chosen), chosen)


async def aged(kernel: Lane) -> None:
    """A checkpoint covers what is a second old."""
    await kernel.execute("UPDATE ledger SET since = '-infinity'")
    async with kernel.database.connection() as connection:
        await connection.execute("SELECT pg_sleep(1.05)")


async def verify(kernel: Lane, pid: int) -> Any:
    return (await kernel.http.get(f"/v1/processes/{pid}/verify")).json()


async def lived(kernel: Lane) -> int:
    """A process with six versions, three of them with a context of their own."""
    await kernel.define()
    process = await kernel.run(context={"a": 1}, entity={"type": "permit", "id": "7"}, key="k")
    pid: int = process["pid"]
    await kernel.ask("set_context", pid, patch={"ä": "\x01"}, reason="wéll")
    await kernel.ask("set_context", pid, patch={"b": [1.5, None]})
    await kernel.ask("complete", pid, output={"done": True})
    return pid


async def test_a_chain_verifies_from_stored_bytes(kernel: Lane) -> None:
    pid = await lived(kernel)
    found = await verify(kernel, pid)
    assert found["ok"]
    assert (found["rows"], found["snapshots"], found["chained_from"], found["checkpoint"]) == (6, 3, 1, None)
    async with kernel.database.connection() as connection:
        last = await connection.fetchval("SELECT hash FROM journal ORDER BY version DESC LIMIT 1")
    assert found["head"] == last.hex()


BREACHES = {
    "UPDATE journal SET reason = 'well' WHERE version = 4": (4, "hash"),
    "UPDATE journal SET at = at + interval '1 us' WHERE version = 2": (2, "hash"),
    "UPDATE journal SET hash = NULL WHERE version = 3": (3, "hash"),
    "UPDATE journal SET hash = NULL": (1, "hash"),
    "DELETE FROM journal WHERE version = 3": (3, "gap"),
    "DELETE FROM journal WHERE version = 6": (6, "tail"),
    "UPDATE process SET version = 5": (6, "link"),
    "UPDATE process SET journal_hash = context_hash": (6, "link"),
    "UPDATE process SET entity_id = '8'": (1, "hash"),
    "UPDATE snapshot SET context = '{}' WHERE version = 4": (4, "snapshot"),
    "UPDATE snapshot SET hash = sha256(previous_hash || '{}'), context = '{}' WHERE version = 4": (4, "hash"),
    "UPDATE process SET context = '{}'": (5, "context"),
    "UPDATE process SET output = '{}'": (6, "output"),
    "UPDATE process SET output = NULL": (6, "output"),
}


@pytest.mark.parametrize("breach", BREACHES)
async def test_the_first_broken_link_is_named(kernel: Lane, breach: str) -> None:
    pid = await lived(kernel)
    await kernel.execute(breach)
    found = await verify(kernel, pid)
    assert not found["ok"]
    version, what = BREACHES[breach]
    assert found["broken"] == {"pid": pid, "version": version, "what": what}
    whole = (await kernel.http.post("/v1/verify")).json()
    assert (whole["ok"], whole["broken"], whole["checked"]) == (False, [found["broken"]], 1)


async def test_a_whole_tenant_is_walked_in_parts(kernel: Lane) -> None:
    await kernel.define()
    pids = [(await kernel.create())["pid"] for _ in range(5)]
    await kernel.execute("UPDATE journal SET by = 'x' WHERE pid = $1 AND version = 1", pids[3])
    first = (await kernel.http.post("/v1/verify?limit=3")).json()
    assert (first["checked"], first["ok"], first["next"]) == (3, True, str(pids[2]))
    second = (await kernel.http.post(f"/v1/verify?limit=3&cursor={first['next']}")).json()
    assert (second["checked"], second["next"]) == (2, None)
    assert second["broken"] == [{"pid": pids[3], "version": 1, "what": "hash"}]


async def test_processes_from_before_are_chained_from_their_next_row(kernel: Lane) -> None:
    await kernel.define()
    process = await kernel.run()
    await kernel.execute("UPDATE journal SET hash = NULL")
    await kernel.execute("UPDATE process SET journal_hash = NULL")
    await kernel.execute("UPDATE ledger SET unchained_pid = $1", process["pid"])
    assert (await verify(kernel, process["pid"]))["chained_from"] is None
    await kernel.ask("complete", process["pid"])
    found = await verify(kernel, process["pid"])
    assert (found["ok"], found["chained_from"]) == (True, 4)
    await kernel.execute("UPDATE journal SET hash = NULL WHERE version = 4")
    assert not (await verify(kernel, process["pid"]))["ok"]


async def test_a_cut_tail_shows_against_the_checkpoint(kernel: Lane, tmp_path: Path) -> None:
    pid = await lived(kernel)
    await aged(kernel)
    file = tmp_path / "checkpoints.jsonl"
    keeping = await keeper(kernel, checkpoint_file=file)
    assert await keeping.checkpoint() is False
    assert (await verify(kernel, pid))["checkpoint"] == 1
    heads = (await kernel.http.get("/v1/checkpoints/1/heads")).json()["items"]
    assert heads == [{"pid": pid, "version": 6, "hash": (await verify(kernel, pid))["head"]}]
    assert await kernel.breaches() == {}
    # whoever may write to the database takes the end off so that nothing is missing in it
    await kernel.execute("DELETE FROM journal WHERE version = 6")
    await kernel.execute(
        "UPDATE process SET version = 5, state = 'RUNNING', outcome = NULL, ended_at = NULL, output = NULL,"
        " journal_hash = (SELECT hash FROM journal WHERE version = 5)"
    )
    assert (await verify(kernel, pid))["broken"] == {"pid": pid, "version": 6, "what": "tail"}
    assert await kernel.breaches() == {"what_was_signed_is_there": 1}
    await kernel.execute("DELETE FROM process")
    await kernel.execute("DELETE FROM journal")
    await kernel.execute("DELETE FROM snapshot")
    assert (await kernel.http.post("/v1/verify")).json()["broken"] == [{"pid": pid, "version": 1, "what": "tail"}]
    assert len(file.read_bytes().splitlines()) == 1


FORGED = {
    "rows swapped": "UPDATE journal SET reason = (SELECT reason FROM journal j WHERE j.version = 9 - journal.version)"
    " WHERE version IN (4, 5)",
    "one edited": "UPDATE journal SET reason = 'another' WHERE version = 4",
}
RECHAINED = f"""
DO $$ DECLARE one record; BEGIN
    FOR one IN SELECT version FROM journal ORDER BY version LOOP
        UPDATE journal SET hash = steps.expected FROM ({chains.steps()}) steps
        WHERE journal.version = one.version AND steps.version = one.version;
    END LOOP;
    UPDATE process SET journal_hash = (SELECT hash FROM journal WHERE journal.version = process.version);
END $$
"""


@pytest.mark.parametrize("forged", FORGED)
async def test_what_was_chained_anew_is_not_what_was_signed(kernel: Lane, forged: str) -> None:
    pid = await lived(kernel)
    await aged(kernel)
    await (await keeper(kernel)).checkpoint()
    await kernel.execute(FORGED[forged])
    assert (await verify(kernel, pid))["broken"] == {"pid": pid, "version": 4, "what": "hash"}
    await kernel.execute(RECHAINED)
    assert (await verify(kernel, pid))["broken"] == {"pid": pid, "version": 6, "what": "checkpoint"}


def test_a_key_that_was_replaced_does_not_come_back() -> None:
    ours, other = (Signer(private_key(base64.b64encode(bytes([n]) * 32).decode())) for n in (1, 2))

    def chain(*signers: Signer) -> list[Checkpoint]:
        at = datetime(2026, 11, 25, tzinfo=UTC)
        return [each.sign(Due("main", n, None, 0, bytes(32)), at, at) for n, each in enumerate(signers, 1)]

    assert unsound(chain(ours, ours), ours.public_key) == []
    assert unsound(chain(other, ours), ours.public_key) == []
    assert unsound(chain(ours, other), None) == []
    assert unsound(chain(ours, other), ours.public_key) == [2]
    assert unsound(chain(ours, other, ours), ours.public_key) == [3]
    assert unsound([chain(ours)[0]._replace(signature=bytes(64))], ours.public_key) == [1]


async def test_checkpoints_cover_what_changed_and_follow_each_other(kernel: Lane, tmp_path: Path) -> None:
    pid = await lived(kernel)
    other = (await kernel.create())["pid"]
    file = tmp_path / "checkpoints.jsonl"
    keeping = await keeper(kernel, checkpoint_file=file)
    await aged(kernel)
    await keeping.checkpoint()
    await keeping.checkpoint()
    await kernel.ask("cancel", other)
    await aged(kernel)
    await keeping.checkpoint()
    await keeping.catch_up()
    lines = file.read_bytes().splitlines(keepends=True)
    assert len(lines) == 2
    file.write_bytes(lines[0] + lines[1][:50])
    await keeping.catch_up()
    assert file.read_bytes() == lines[0] + lines[1][:50] + b"\n" + lines[1]
    items = (await kernel.http.get("/v1/checkpoints?count=true")).json()
    assert items["total"] == 2
    first, second = items["items"]
    assert (first["number"], first["count"], first["previous_hash"]) == (1, 2, "00" * 32)
    assert (second["number"], second["count"], second["previous_hash"]) == (2, 1, first["hash"])
    assert second["public_key"] == private_key(SEED).public_key().public_bytes_raw().hex()
    assert (await kernel.http.get("/v1/checkpoints/2")).json() == second
    assert (await kernel.http.get("/v1/checkpoints/3")).status_code == 404
    assert (await verify(kernel, pid))["checkpoint"] == 1
    assert await kernel.breaches() == {}
    await kernel.execute("DELETE FROM checkpoint WHERE number = 2")
    await kernel.create()
    await aged(kernel)
    await keeping.attempt(keeping.checkpoints)
    assert [each["number"] for each in (await kernel.http.get("/v1/checkpoints")).json()["items"]] == [1, 3]
    assert "checkpoints_are_chained" in await kernel.breaches()
