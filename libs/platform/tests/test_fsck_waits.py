"""Waits as the two services write them; one that only one of them has is found."""

from collections.abc import Awaitable, Callable

import asyncpg
from kernel_platform import fsck_waits

NewDatabase = Callable[[str], Awaitable[str]]

PROCESS = """
INSERT INTO process (pid, root, tenant, version, state, service, service_version, priority, queue, after_mode, after_on,
    attempt, held, created_at, context, context_version, context_hash, has_children, has_dependents, suspended_from, waiting)
VALUES ($1, $1, 'main', 4, $2, 'check', 1, 50, 'default', 'all', 'completed', 1, false, now(), '{}', 1, '', false, false, $3, $4)
"""
WAIT = "INSERT INTO wait (pid, version, tenant, type, key, at) VALUES ($1, $2, 'main', 'paid', $3, now())"
PAID = '{"event_type":"paid","event_key":"k","on_timeout":"wake"}'


async def test_waits_on_both_sides(new_database: NewDatabase) -> None:
    dsns = [await new_database(name) for name in ("process_svc", "rules_svc")]
    processes, rules = [await asyncpg.connect(dsn) for dsn in dsns]
    try:
        await processes.execute(PROCESS, 1, "WAITING", None, PAID)
        await processes.execute(PROCESS, 2, "SUSPENDED", "WAITING", '{"event_type":"paid","on_timeout":"wake"}')
        await processes.execute(PROCESS, 3, "SUSPENDED", "WAITING", PAID.replace("}", ',"met":true}'))
        await processes.execute(PROCESS, 4, "WAITING", None, '{"until":"2100-01-01T00:00:00Z","on_timeout":"wake"}')
        await processes.execute(PROCESS, 5, "READY", None, None)
        await rules.execute(WAIT, 1, 4, "k")
        await rules.execute(WAIT, 2, 4, None)
        assert await fsck_waits.check(*dsns) == frozenset()
        await rules.execute("DELETE FROM wait WHERE pid = 1")
        await rules.execute(WAIT, 5, 3, None)
        assert await fsck_waits.check(*dsns) == {
            "pid 1 (version 4, paid with the key k) waits, and rules-svc does not know",
            "pid 5 (version 3, paid) waits as rules-svc has it, and does not",
        }
    finally:
        await processes.close()
        await rules.close()
