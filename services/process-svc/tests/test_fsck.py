"""Each check finds the breach that is seeded for it, and nothing on sound data."""

import pytest

from .lane import Lane

SEEDED = {
    "journal_is_a_legal_path": "UPDATE journal SET state = 'RUNNING' WHERE pid = 1 AND version = 2",
    "process_is_the_last_journal_row": "DELETE FROM journal WHERE pid = 1 AND version = 4",
    "context_is_the_last_snapshot": "UPDATE process SET context = '{\"a\":2}' WHERE pid = 1",
    "running_has_a_dispatch": "UPDATE process SET dispatch_id = NULL WHERE state = 'RUNNING'",
    "runs_do_not_overlap": """INSERT INTO journal (pid, version, type, from_state, state, at, by, correlation, dispatch_id)
        SELECT pid, version + 1, type, from_state, state, at, by, correlation, dispatch_id FROM journal
        WHERE state = 'RUNNING' AND pid = 2""",
    "waiting_will_be_woken": "UPDATE process SET wake_at = clock_timestamp() - interval '1 hour' WHERE pid = 2",
    "ended_has_an_outcome": "UPDATE process SET outcome = NULL WHERE pid = 1",
    "incidents_match_processes": "UPDATE incident SET state = 'resolved'",
    "nothing_is_left_behind": """INSERT INTO follow_up (kind, pid, source, cause, at)
        VALUES ('child_ended', 1, 2, '[]', clock_timestamp() - interval '1 hour')""",
    "snapshots_verify": "UPDATE snapshot SET hash = previous_hash WHERE pid = 1",
}


async def sound(kernel: Lane) -> None:
    await kernel.define()
    done = await kernel.run(context={"a": 1})
    await kernel.ask("complete", done["pid"])
    await kernel.run()
    failed = await kernel.run()
    await kernel.ask("fail", failed["pid"])
    assert await kernel.breaches() == {}


@pytest.mark.parametrize("check", SEEDED)
async def test_a_seeded_breach_is_found(kernel: Lane, check: str) -> None:
    await sound(kernel)
    await kernel.execute(SEEDED[check])
    assert check in await kernel.breaches()


async def test_every_check_has_a_seeded_breach(kernel: Lane) -> None:
    checks = (await kernel.http.get("/v1/fsck")).json()["checks"]
    assert {check["name"] for check in checks} == set(SEEDED)
