"""Which servers a test session uses, and how they come up once for all of its processes."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kernel_platform.home import read_json
from kernel_platform.identity import Identity, stop_all

_HOME = "KERNEL_TEST_HOME"
_SESSION = "KERNEL_TEST_SESSION"


def open_session() -> None:
    """In the process that the user started; the workers of xdist inherit its environment."""
    os.environ[_HOME] = tempfile.mkdtemp(prefix="kernel-test-")
    os.environ[_SESSION] = str(os.getpid())


def close_session() -> None:
    root = home()
    keepers = [read_json(path, {}).get("keeper") for path in root.glob("*.json")]
    identities = [identity for pid in keepers if pid and (identity := Identity.of(pid))]
    stop_all([(identity, signal.SIGTERM) for identity in identities], timeout=30)
    if "KERNEL_TEST_KEEP" not in os.environ:
        shutil.rmtree(root, ignore_errors=True)
    del os.environ[_HOME], os.environ[_SESSION]


def home() -> Path:
    return Path(os.environ[_HOME])


@contextmanager
def locked(name: str) -> Iterator[None]:
    """One process of the session at a time."""
    with (home() / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def address_of(kind: str) -> str:
    """The configured server of this kind, else the session's own, started by whoever asks first."""
    configured = os.environ.get({"postgres": "KERNEL_TEST_POSTGRES_URL", "kafka": "KERNEL_TEST_KAFKA_BOOTSTRAP"}[kind])
    if configured:
        return configured
    if os.environ.get("KERNEL_TEST_INFRA") == "testcontainers" and _engine_answers():
        kind = f"{kind}-container"
    with locked(kind):
        said = home() / f"{kind}.json"
        if not said.exists():
            _start(kind, said)
        return str(read_json(said, {})["address"])


def _start(kind: str, said: Path) -> None:
    log = home() / f"{kind}-keeper.log"
    with log.open("wb") as output:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "kernel_testing.keeper", kind, str(home()), os.environ[_SESSION]],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + 120
    while not said.exists():
        if keeper.poll() is not None or time.monotonic() > deadline:
            keeper.kill()
            raise RuntimeError(f"no {kind} for the tests:\n{log.read_text()[-3000:]}")
        time.sleep(0.02)


def _engine_answers() -> bool:
    import docker

    try:
        docker.from_env(timeout=3).ping()
    except docker.errors.DockerException:
        return False
    return True
