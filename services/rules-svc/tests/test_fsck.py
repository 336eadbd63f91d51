"""Each check of fsck finds the breach that is seeded for it."""

import asyncpg
import pytest
from kernel_contracts import message_types as types
from rules_svc import fsck

from .lane import Lane, lane
from .pcb import waiting

RULE = {"event": {"type": "n"}, "instructions": [{"do": "emit", "type": "m"}]}

SEEDS = [
    ("every definition is the last entry of its journal", "UPDATE definition SET body = '{}' WHERE name = 'spare'"),
    ("every definition is the last entry of its journal", "UPDATE definition SET version = 9 WHERE name = 'spare'"),
    ("versions of definitions have no gap", "DELETE FROM journal WHERE name = 'r' AND version = 1"),
    ("the rulebook is as new as its newest definition", "UPDATE rulebook SET version = version + 1"),
    ("every firing belongs to an event that counts it", "DELETE FROM event WHERE id = 'good'"),
    ("every firing belongs to an event that counts it", "UPDATE event SET fired = '{}' WHERE id = 'good'"),
    ("a stopped or failed firing has sent nothing", "UPDATE firing SET result = 'stopped' WHERE event_id = 'good'"),
    ("a firing was made by a version of its rule that there is", "UPDATE firing SET rule_version = 7"),
    ("a refused event has had no effect", "UPDATE event SET refused = '{}' WHERE id = 'good'"),
    ("no kept event is what somebody waits for", "UPDATE wait SET type = 'later' WHERE pid = 2"),
    (
        "an event whose time has passed is marked",
        "UPDATE event SET until = now() - interval '1 hour' WHERE id = 'kept'",
    ),
    ("an event for one meets one", "UPDATE event SET meets = 'one', correlated = '{1,2}' WHERE id = 'kept'"),
    (
        "what was to go on has gone on",
        "INSERT INTO spread (event, tenant, wake, meets, after, at) SELECT key, tenant, '', 'all', 0, now() - interval '1 hour'"
        " FROM event WHERE id = 'kept'",
    ),
    (
        "every definition compiles",
        """UPDATE definition SET body = replace(body, '"n"', '"n","when":1') WHERE name = 'spare'""",
    ),
]


async def _use(one: Lane) -> None:
    await one.define("r", **RULE)
    await one.define("r", **RULE, order=1)
    await one.define("spare", **RULE, enabled=False)
    await one.define("fails", event={"type": "n"}, when="event.data.zz", instructions=RULE["instructions"])
    await one.define_type("typed", schema={"type": "string"})
    await one.submit(
        one.event("n", {}, id="good"),
        one.event("n", {}, id="deep", depth=64),
        one.event("typed", 7, id="refused"),
        one.process_event(types.PROCESS_WAITING, waiting(1, 2, "n", "k")),
        one.event("n", {}, id="met", subject="k"),
        one.event("later", {}, id="kept", subject="k"),
    )
    await one.submit(one.process_event(types.PROCESS_WAITING, waiting(2, 2, "other", "k")))


async def _breached(database: str) -> set[str]:
    connection = await asyncpg.connect(database)
    try:
        found = (await fsck.checks(connection))["checks"]
    finally:
        await connection.close()
    assert all(bool(check["breaches"]) is bool(check["examples"]) for check in found)
    return {check["name"] for check in found if check["breaches"]}


@pytest.mark.parametrize(("check", "seed"), SEEDS)
async def test_a_seeded_breach_is_found(database: str, check: str, seed: str) -> None:
    async with lane(database) as one:
        await _use(one)
    assert await _breached(database) == set()
    connection = await asyncpg.connect(database)
    await connection.execute(seed)
    await connection.close()
    assert check in await _breached(database)
