"""Migrating a database that is in use: what is there stays, and goes on."""

import asyncio
import shutil
from pathlib import Path

import asyncpg
from kernel_runtime.migrations import migrate
from kernel_testing.plugin import NewDatabase

from .lane import lane

VERSIONS = Path(__file__).parents[1] / "src" / "process_svc" / "migrations" / "versions"
BEFORE = """
INSERT INTO service (tenant, name, latest) VALUES ('main', 'check', 1);
INSERT INTO service_version (tenant, name, version, hash, definition, kind, roles, at, by)
VALUES ('main', 'check', 1, sha256('{}'), '{}', 'human', '{}', now(), 'x');
SELECT nextval('pid') FROM generate_series(1, 3);
INSERT INTO process (pid, root, created_at, context_version, version, service_version, attempt, priority, held, has_children,
    has_dependents, tenant, service, queue, state, after_mode, after_on, context_hash, context, ready_at)
SELECT n, n, now(), 1, 2, 1, 1, 50, false, false, false, 'main', 'check', 'default', 'READY', 'all', 'completed',
    sha256(decode(repeat('00', 32), 'hex') || '{}'), '{}', now() FROM generate_series(1, 3) AS n;
INSERT INTO journal (pid, version, command, type, from_state, state, at, by, correlation)
SELECT n, 1, 'create', 'created', NULL, 'NEW', now(), 'x', 'c' FROM generate_series(1, 3) AS n
UNION ALL SELECT n, 2, 'admit', 'ready', 'NEW', 'READY', now(), 'x', 'c' FROM generate_series(1, 3) AS n;
INSERT INTO snapshot SELECT pid, 1, now(), context, context_hash, decode(repeat('00', 32), 'hex') FROM process;
"""


async def test_a_database_with_processes_is_migrated(new_database: NewDatabase, tmp_path: Path) -> None:
    url = await new_database(None)
    old = tmp_path / "migrations" / "versions"
    old.mkdir(parents=True)
    shutil.copy(VERSIONS / "0001_first.py", old)
    assert await asyncio.to_thread(migrate, url, old) == "0001"
    connection = await asyncpg.connect(url)
    await connection.execute(BEFORE)
    await asyncio.to_thread(migrate, url, VERSIONS)
    assert await connection.fetchval("SELECT count(*) FROM journal") == 6
    await connection.close()
    async with lane(url) as kernel:
        assert await kernel.breaches() == {}
        await kernel.grant(await kernel.read(2))
        await kernel.ask("complete", 2)
        found = (await kernel.http.get("/v1/processes/2/verify")).json()
        assert (found["ok"], found["rows"], found["chained_from"]) == (True, 4, 3)
        assert (await kernel.create())["pid"] == 4
        assert (await kernel.http.post("/v1/verify")).json()["ok"]
        assert await kernel.breaches() == {}
