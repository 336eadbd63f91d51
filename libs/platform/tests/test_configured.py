"""An installation on servers that run already, and migrations that are not run twice."""

import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from kernel_platform import control
from kernel_platform.databases import DATABASES
from kernel_platform.home import Home
from kernel_platform.migrations import MigrationFailedError, migrate
from kernel_testing.databases import admin

DAEMON = (sys.executable, str(Path(__file__).with_name("standin_daemon.py")))


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path).make()
    yield home
    control.down(home=home)


async def test_configured_servers_are_used_and_nothing_is_started_beside_them(
    home: Home, postgres_server: str, kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERNEL_POSTGRES_URL", postgres_server)
    monkeypatch.setenv("KERNEL_KAFKA_BOOTSTRAP", kafka)
    told: list[str] = []
    state = control.up(on_progress=told.append, home=home, daemon=DAEMON)
    try:
        assert state["ready"]
        assert state["kafka"] == kafka
        assert told[0].startswith("Postgres: configured")
        assert not home.postgres.exists()
        assert not home.kafka.exists()
        connection = await asyncpg.connect(state["postgres"]["gateway"])
        assert await connection.fetchval("select current_database()") == "kernel_gateway"
        await connection.close()
    finally:
        control.down(home=home)
        async with admin(postgres_server) as connection:
            for name in DATABASES.values():
                await connection.execute(f"drop database {name} with (force)")
                await connection.execute(f"drop role {name}")


def test_a_server_that_does_not_answer_is_named(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERNEL_POSTGRES_URL", "postgresql://postgres:x@127.0.0.1:9/postgres")
    monkeypatch.setenv("KERNEL_KAFKA_BOOTSTRAP", "127.0.0.1:9")
    with pytest.raises(control.UpError, match=r"(Postgres|Kafka) does not answer"):
        control.up(home=home, daemon=DAEMON)
    assert control.supervisor_of(home) is None


SERVICE = """
import asyncio, os, sys, asyncpg
async def main():
    connection = await asyncpg.connect(os.environ["KERNEL_DATABASE_URL"])
    await connection.execute("create table if not exists alembic_version (version_num text); delete from alembic_version")
    await connection.execute("insert into alembic_version values ('1')")
    await connection.execute("create table if not exists runs (i int); insert into runs values (1)")
sys.exit("broken" if os.environ.get("BROKEN") else asyncio.run(main()))
"""


async def test_a_migration_runs_once_until_its_files_or_its_database_change(
    home: Home, tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = tmp_path / "source" / "some_svc" / "migrations" / "versions"
    versions.mkdir(parents=True)
    (versions.parents[1] / "__init__.py").touch()
    (versions.parents[1] / "__main__.py").write_text(SERVICE)
    monkeypatch.syspath_prepend(tmp_path / "source")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "source"))

    async def go() -> bool:
        return await migrate(home, "some-svc", "some_svc", database)

    assert [await go(), await go()] == [True, False]
    (versions / "two.py").write_text("revision = '2'")
    assert [await go(), await go()] == [True, False]
    connection = await asyncpg.connect(database)
    await connection.execute("update alembic_version set version_num = '0'")
    assert await go()
    assert await connection.fetchval("select count(*) from runs") == 3
    await connection.execute("drop table alembic_version")
    await connection.close()
    monkeypatch.setenv("BROKEN", "1")
    with pytest.raises(MigrationFailedError, match="some-svc: the migration ended with 1\nbroken"):
        await go()
