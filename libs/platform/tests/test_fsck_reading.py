"""fsck on real databases and a real topic: facts are read as the services write them, breaches seeded there are found."""

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from confluent_kafka import Producer
from kernel_contracts.envelope import Envelope, encode
from kernel_platform import fsck_bus, fsck_facts
from kernel_platform.fsck_checks import CHECKS, check

RUNS, KEEPS, KNOWN, LISTED, CHANCE, CAPACITY, COPIES = CHECKS
NewDatabase = Callable[[str], Awaitable[str]]

PROCESS = """
INSERT INTO process (pid, root, tenant, version, state, service, service_version, operator, priority, queue, after_mode, after_on,
    attempt, dispatch_id, held, created_at, context, context_version, context_hash, has_children, has_dependents)
VALUES ($1, $1, 'main', $2, $3, 'check', 1, $4, 50, 'default', 'all', 'completed', 1, $5, false, now(), '{}', 1, '', false, false)
"""
RESOURCE = """
INSERT INTO resource (tenant, id, type, kind, capacity, used, labels, roles, skills, status, presence, deleted, version, revision,
    created_at, changed_at)
VALUES ('main', $1, 'operator', 'exclusive', 1, $2, '{}', '["clerk"]', '[{"skill": "dutch", "level": 2}]', 'in_service',
    'available', false, $3, 1, now(), now()) RETURNING number
"""
ALLOCATION = """
INSERT INTO allocation (resource, version, dispatch_id, demand, pid, process_version, units, hold, granted_at)
VALUES ($1, 2, $2, 0, $3, 2, 1, 'running', now())
"""
DISPATCH = """
INSERT INTO dispatch (dispatch_id, tenant, pid, process_version, queue, outcome, operator, allocations, at)
VALUES ($1, 'main', $2, 2, 'default', 'granted', 'ann', 1, now())
"""
ITEM = """
INSERT INTO ready_item (pid, tenant, queue, service, version, latest, priority, ready_at, demands, cause, state, attempt,
    candidates, held, denials)
VALUES ($1, 'main', 'default', 'check', 2, $2, 50, now(), $3, '{}', $4, 0, '[]', $5, 0)
"""
COPY = """
INSERT INTO resource_copy (tenant, id, type, version, defined, capacity, used, idle_since, open, body)
VALUES ('main', 'ann', 'operator', $1, 1, 1, $2, now(), true, '{}')
"""
NEEDS = '[{"type": "operator", "roles": ["clerk"], "skills": [{"skill": "dutch", "level": 2}], "units": 1, "hold": "running"}]'


TABLES = {
    "process-svc": "process, journal, outbox",
    "resource-svc": "resource, allocation, dispatch",
    "scheduler-svc": "ready_item, resource_copy, queue",
}


@pytest.fixture
async def dsns(new_database: NewDatabase) -> dict[str, str]:
    made = {name: await new_database(name.replace("-", "_")) for name in TABLES}
    await all_well(made)
    return made


async def all_well(dsns: dict[str, str]) -> None:
    """Process 1 runs with ann, process 2 waits for her."""
    for service, tables in TABLES.items():
        await on(dsns[service], f"TRUNCATE {tables}")
    await on(dsns["process-svc"], PROCESS, 1, 3, "RUNNING", "ann", "1.2.0")
    await on(dsns["process-svc"], PROCESS, 2, 2, "READY", None, None)
    number = await on(dsns["resource-svc"], RESOURCE, "ann", 1, 2)
    await on(dsns["resource-svc"], ALLOCATION, number, "1.2.0", 1)
    await on(dsns["resource-svc"], DISPATCH, "1.2.0", 1)
    await on(dsns["scheduler-svc"], ITEM, 1, 2, NEEDS, "running", '{"ann": ["operator", 1, false]}')
    await on(dsns["scheduler-svc"], ITEM, 2, 2, NEEDS, "ready", "{}")
    await on(dsns["scheduler-svc"], COPY, 2, 1)


async def on(dsn: str, sql: str, *arguments: Any) -> Any:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(sql, *arguments)
    finally:
        await connection.close()


async def found(dsns: dict[str, str]) -> dict[str, frozenset[str]]:
    facts = await fsck_facts.read(dsns["process-svc"], dsns["resource-svc"], dsns["scheduler-svc"])
    return {name: breaches for name, breaches in check(facts).items() if breaches}


SEEDED = [
    ("resource-svc", "UPDATE allocation SET released_at = now()", RUNS),
    ("resource-svc", "UPDATE dispatch SET outcome = 'withdrawn'", RUNS),
    ("process-svc", "UPDATE process SET state = 'TERMINATED' WHERE pid = 1", KEEPS),
    ("process-svc", "UPDATE process SET state = 'WAITING' WHERE pid = 1", KEEPS),
    ("scheduler-svc", "DELETE FROM ready_item WHERE pid = 2", KNOWN),
    ("process-svc", "DELETE FROM process WHERE pid = 2", LISTED),
    ("resource-svc", "UPDATE resource SET used = 0", CHANCE),
    (
        "process-svc",
        "UPDATE process SET state = 'RUNNING', operator = 'ann', dispatch_id = '2.2.0' WHERE pid = 2",
        CAPACITY,
    ),
    ("scheduler-svc", "UPDATE resource_copy SET version = 1", COPIES),
    ("scheduler-svc", "DELETE FROM resource_copy", COPIES),
]


async def test_breaches_seeded_in_tables_are_found(dsns: dict[str, str]) -> None:
    assert {name for _, _, name in SEEDED} == set(CHECKS)
    for service, sql, name in SEEDED:
        await all_well(dsns)
        assert await found(dsns) == {}
        await on(dsns[service], sql)
        assert name in await found(dsns), sql


async def test_a_closed_queue_lets_nobody_run(dsns: dict[str, str]) -> None:
    await on(dsns["resource-svc"], "UPDATE resource SET used = 0")
    for definition in ('{"paused": true}', '{"limits": {"running": 1}}'):
        await on(dsns["scheduler-svc"], "TRUNCATE queue")
        assert CHANCE in await found(dsns)
        await on(dsns["scheduler-svc"], "INSERT INTO queue VALUES ('main', 'default', 1, $1)", definition)
        assert CHANCE not in await found(dsns)


async def test_an_outbox_that_stands_still_is_found(dsns: dict[str, str]) -> None:
    assert await fsck_facts.outboxes(dsns) == frozenset()
    await on(
        dsns["process-svc"], "INSERT INTO outbox (topic, key, headers, body) VALUES ('process-events', '1', '', '')"
    )
    assert await fsck_facts.outboxes(dsns) == {"process-svc: row 1 for process-events, key 1"}


JOURNAL = """
INSERT INTO journal (pid, version, command, type, state, at, by, correlation)
SELECT $1, version, 'create', 'created', 'NEW', now(), 'test', 'c' FROM generate_series(1, $2::int) version
"""


def publish(bootstrap: str, topic: str, *events: tuple[int, int]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap})
    for pid, version in events:
        envelope = Envelope(f"{pid}.{version}", "kernel.process.created.v1", "/test", "", "main", version=version)
        producer.produce(topic, b"{}", str(pid), headers=encode(envelope))
    other = Envelope("f81d4fae", "kernel.process.command_refused.v1", "/test", "", "main")
    producer.produce(topic, b"{}", "x", headers=encode(other))
    assert producer.flush(10) == 0


TOLD: list[tuple[list[tuple[int, int]], set[str], set[str]]] = [
    ([(1, 1), (1, 2), (1, 3), (2, 1)], set(), set()),
    ([(1, 1), (1, 2), (1, 1), (1, 2), (1, 3), (2, 1), (2, 1)], set(), set()),
    ([(1, 1), (1, 2), (2, 1)], {"pid 1: version 3 was not published"}, set()),
    ([(1, 1), (1, 2), (1, 3)], {"pid 2: nothing of its 1 versions was published"}, set()),
    ([(1, 1), (1, 3), (1, 2), (2, 1)], set(), {"pid 1: version 3 came before version 2"}),
    ([(1, 2), (1, 3), (2, 1)], set(), {"pid 1: version 2 came before version 1"}),
]


async def test_the_journal_is_compared_with_the_bus(new_database: NewDatabase, kafka: str, topics: Any) -> None:
    dsn = await new_database("process_svc")
    await on(dsn, JOURNAL, 1, 3)
    await on(dsn, JOURNAL, 2, 1)
    for number, (events, unpublished, disordered) in enumerate(TOLD):
        topic = await topics.create(f"told-{number}", 2)
        publish(kafka, topic, *events)
        told = await fsck_bus.check(dsn, kafka, topic)
        assert told == {fsck_bus.PUBLISHED: unpublished, fsck_bus.ORDERED: disordered}, events
