"""Migrating: from nothing, again, and several at once."""

import asyncio
import sys
from pathlib import Path

import asyncpg
from kernel_testing.plugin import NewDatabase

SERVICE = str(Path(__file__).parent / "counter_service.py")


async def migrate(url: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        SERVICE,
        "migrate",
        env={"KERNEL_DATABASE_URL": url, "KERNEL_KAFKA_BOOTSTRAP": "127.0.0.1:9"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_migrate_from_nothing_and_again(new_database: NewDatabase) -> None:
    url = await new_database(None)
    for _ in range(2):
        code, output = await migrate(url)
        assert (code, output.strip()) == (0, "0001"), output
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT count(*) FROM counter") == 0
    assert await connection.fetchval("SELECT count(*) FROM outbox") == 0
    assert await connection.fetchval("SELECT version_num FROM alembic_version") == "0001"
    await connection.close()


async def test_several_at_once_wait_for_each_other(new_database: NewDatabase) -> None:
    url = await new_database(None)
    assert [code for code, _ in await asyncio.gather(*(migrate(url) for _ in range(4)))] == [0] * 4
