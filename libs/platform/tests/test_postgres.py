"""The embedded server on its own: killed, restarted, run as another user."""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import psutil
import pytest
from kernel_platform import postgres
from kernel_platform.home import Home
from kernel_platform.ports import free_port
from kernel_platform.postgres import Postgres
from kernel_platform.unit import Unit
from kernel_testing import eventually


@asynccontextmanager
async def running(server: Postgres, home: Home) -> AsyncIterator[Unit]:
    unit = Unit(server.spec(), home.make(), changed=lambda: None)
    task = asyncio.create_task(unit.run())
    async with asyncio.timeout(30):
        await unit.ready.wait()
    yield unit
    await unit.stop()
    await task


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def server(home: Home) -> Postgres:
    return Postgres(home.postgres, free_port(), home.secret("postgres"))


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can walk to; pytest's own are closed."""
    folder = Path(tempfile.mkdtemp(prefix="kernel-nobody-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


async def test_committed_rows_outlive_a_kill(server: Postgres, home: Home) -> None:
    async with running(server, home) as unit:
        connection = await asyncpg.connect(server.dsn)
        assert await connection.fetchval("show fsync") == "on"
        assert await connection.fetchval("show shared_buffers") == "256MB"
        await connection.execute("create table t (i int); insert into t values (1)")
        assert unit.identity is not None
        os.kill(unit.identity.pid, signal.SIGKILL)
        await eventually(lambda: not unit.ready.is_set())
        async with asyncio.timeout(30):
            await unit.ready.wait()
        again = await asyncpg.connect(server.dsn)
        assert await again.fetchval("select count(*) from t") == 1
        await again.close()


async def test_a_pid_file_that_names_another_program_does_not_stop_it(server: Postgres, home: Home) -> None:
    async with running(server, home):
        pass
    (server.data / "postmaster.pid").write_text(f"{os.getpid()}\n{server.data}\n1\n{server.port}\n\n127.0.0.1\n")
    async with running(server, home) as unit:
        assert unit.ready.is_set()


async def test_an_interrupted_initialisation_is_done_again(server: Postgres, home: Home) -> None:
    (home.postgres / "unfinished" / "base").mkdir(parents=True)
    async with running(server, home):
        assert (server.data / "PG_VERSION").is_file()


async def test_without_namespaces_root_becomes_nobody(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "namespaces_allowed", lambda: False)
    user = postgres.NOBODY if os.geteuid() == 0 else None
    assert postgres.how_to_run() == ((), user)
    server = Postgres(open_folder / "postgres", free_port(), "secret")
    async with running(server, Home(open_folder)) as unit:
        assert unit.identity is not None
        assert psutil.Process(unit.identity.pid).uids().real == (os.geteuid() if user is None else user)
