"""Each check finds the breach that is seeded for it, and nothing on sound data."""

import base64
import hashlib
from datetime import UTC, datetime

import pytest
from kernel_testing import eventually
from process_svc.signing import Signer, private_key
from process_svc.store import checkpoints
from process_svc.store.checkpoints import Due

from .lane import Lane

SEEDED = {
    "journal_is_a_legal_path": "UPDATE journal SET command = 'wake' WHERE pid = 1 AND version = 2",
    "process_is_the_last_journal_row": "DELETE FROM journal WHERE pid = 1 AND version = 4",
    "context_is_the_last_snapshot": "UPDATE process SET context = '{\"a\":2}' WHERE pid = 1",
    "snapshots_verify": "UPDATE snapshot SET hash = previous_hash WHERE pid = 1",
    "journal_verifies": "UPDATE journal SET by = 'nobody' WHERE pid = 1 AND version = 3",
    "process_has_the_head_of_its_journal": "UPDATE process SET journal_hash = context_hash WHERE pid = 1",
    "output_is_what_it_ended_with": "UPDATE process SET output = '1' WHERE pid = 1",
    "what_was_signed_is_there": """INSERT INTO checkpoint_head (tenant, number, pid, version, hash)
        SELECT 'main', 1, pid, version + 1, hash FROM journal WHERE pid = 1 ORDER BY version DESC LIMIT 1""",
    "partitions_are_made_ahead": "SELECT setval('pid', 2_500_000)",
    "partitions_are_as_recorded": "DROP TABLE snapshot_1000000",
    "what_was_dropped_is_signed": "UPDATE journal_part SET dropped_at = now() WHERE lower = 1000000",
    "checkpoints_are_chained": "UPDATE checkpoint SET number = 2",
    "checkpoints_are_signed": "UPDATE checkpoint SET statement = statement || ' '",
    "running_has_a_dispatch": "UPDATE process SET dispatch_id = NULL WHERE state = 'RUNNING'",
    "a_dispatch_runs_once": """INSERT INTO journal
        (pid, version, command, type, from_state, state, at, by, correlation, dispatch_id)
        SELECT pid, version + 1, command, type, from_state, state, at, by, correlation, dispatch_id FROM journal
        WHERE state = 'RUNNING' AND pid = 2""",
    "new_will_be_admitted": "DELETE FROM dependency",
    "waiting_will_be_woken": "UPDATE process SET wake_at = NULL WHERE state = 'WAITING'",
    "nothing_is_overdue": "UPDATE process SET wake_at = clock_timestamp() - interval '1 hour' WHERE pid = 2",
    "leases_belong_to_runs": "UPDATE work_lease SET dispatch_id = 'another'",
    "work_can_be_claimed": "DELETE FROM work_lease",
    "lapsed_leases_end": "UPDATE work_lease SET worker = 'w', until = clock_timestamp() - interval '1 min'",
    "ended_has_an_outcome": "UPDATE process SET outcome = NULL WHERE pid = 1",
    "incidents_match_processes": "UPDATE incident SET state = 'resolved'",
    "one_open_incident_each": "UPDATE incident SET resolved_at = clock_timestamp() WHERE state = 'open'",
    "jobs_count_their_items": "UPDATE job SET done = done - 1, failed = failed + 1",
    "jobs_go_on": "UPDATE job SET state = 'running', ended_at = NULL",
    "attributes_match_contexts": "UPDATE process_attribute SET value = 'other' WHERE pid = 1",
    "texts_can_be_found": "DELETE FROM process_text",
    "compensations_go_on": "UPDATE process SET compensating = 'resume' WHERE pid = 1",
    "retired_services_take_none": "UPDATE service SET retired_at = clock_timestamp() - interval '1 h' WHERE name = 'work'",
    "service_versions_are_whole": "UPDATE service_version SET definition = definition || ' ' WHERE name = 'work'",
    "relatives_are_known": "UPDATE process SET has_children = false",
    "calls_are_counted": "UPDATE call SET ended = ended + 1",
    "callers_will_go_on": "UPDATE call SET open = false",
    "barrier_members_wait_there": "DELETE FROM barrier_member",
    "families_are_counted": "UPDATE family SET ended = ended + 1",
    "entity_references_match": "DELETE FROM entity_reference",
    "who_has_a_turn_is_alive": "DELETE FROM entity_turn WHERE pid = (SELECT max(pid) FROM entity_turn)",
    "one_at_a_time_on_an_entity": """UPDATE process SET state = 'READY' WHERE state = 'NEW' AND service = 'serial'""",
}


async def sound(kernel: Lane) -> None:
    await kernel.define(indexed=["a"])
    done = await kernel.run(context={"a": 1}, key="k")
    await kernel.ask("complete", done["pid"])
    await kernel.run()
    failed = await kernel.run()
    await kernel.ask("fail", failed["pid"])
    waiting = await kernel.run()
    await kernel.define("work", kind="automatic")
    await kernel.run("work")
    await kernel.create(parent=waiting["pid"], after=[waiting["pid"]])
    await kernel.ask("wait", waiting["pid"], **{"for": {"timer": {"after": "P1D"}}})
    caller = await kernel.run()
    await kernel.ask("map", caller["pid"], service="check", over=[1, 2], max_running=1)
    await kernel.settle()
    party = await kernel.run()
    await kernel.ask("arrive", party["pid"], name="papers", parties=2)
    await kernel.define("serial", entity_type="invoice", per_entity="serialise")
    for _ in range(2):
        entity, other = ({"type": "invoice", "id": id} for id in "78")
        await kernel.create("serial", entity=entity, entities=[other | {"role": "other"}])
    await checkpointed(kernel)
    async with kernel.jobs():
        job = {"filter": {"state": "READY"}, "command": "prioritize", "body": {"priority": 7}}
        id = (await kernel.http.post("/v1/processes:bulk", json=job)).json()["id"]

        async def ended() -> bool:
            return bool((await kernel.http.get(f"/v1/jobs/{id}")).json()["state"] == "completed")

        await eventually(ended, interval=0.01)
    assert await kernel.breaches() == {}


async def checkpointed(kernel: Lane) -> None:
    """Signed, without the second that it takes until all is covered."""
    none = Due("main", 1, None, 0, hashlib.sha256().digest())
    at = datetime(2026, 11, 25, tzinfo=UTC)
    made = Signer(private_key(base64.b64encode(bytes(32)).decode())).sign(none, at, at)
    async with kernel.database.connection() as connection:
        await checkpoints.add(connection, [made])


@pytest.mark.parametrize("check", SEEDED)
async def test_a_seeded_breach_is_found(kernel: Lane, check: str) -> None:
    await sound(kernel)
    await kernel.execute(SEEDED[check])
    assert check in await kernel.breaches()


async def test_every_check_has_a_seeded_breach(kernel: Lane) -> None:
    checks = (await kernel.http.get("/v1/fsck")).json()["checks"]
    assert {check["name"] for check in checks} == set(SEEDED)
