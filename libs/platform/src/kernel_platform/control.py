"""What the `kernel` command calls: up, down, status, run. Plain blocking functions.

The supervisor and all that it needs is imported where it is used: asking for the status takes none of it.
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from kernel_platform.home import Home, read_json, write_json
from kernel_platform.identity import Identity
from kernel_platform.unit import tail

OnProgress = Callable[[str], None]
Status = dict[str, Any]

DAEMON = (sys.executable, "-m", "kernel_platform.daemon")


class UpError(Exception):
    """The installation is not up; the message says why."""


def _silent(_: str) -> None:
    pass


def supervisor_of(home: Home) -> Identity | None:
    """The supervisor that runs this home now."""
    said = read_json(home.lock_file, None) if home.lock_file.exists() else None
    found = Identity.load(said) if said else None
    return found if found and found.alive() else None


def up(
    services: Mapping[str, int] | None = None,
    on_progress: OnProgress = _silent,
    *,
    home: Home | None = None,
    owner: int | None = None,
    daemon: Sequence[str] = DAEMON,
    timeout: float = 240,
) -> Status:
    """Everything runs and is ready when this returns; running already, only the wanted replicas are put right.

    `services` maps names to replicas; with None a running installation stays as it is, and a new one has one of each.
    With `owner`, a pid, the installation ends when that process does.
    """
    home = (home or Home.default()).make()
    _check(services)
    running = supervisor_of(home)
    changed = False
    if services is not None or running is None:
        desired = {**(read_json(home.desired_file, {}) if running else {}), **(services or {})}
        changed = desired != read_json(home.desired_file, {})
        write_json(home.desired_file, desired)
        if running is not None and changed:
            home.boot_file.write_text("")
            running.send(signal.SIGHUP)
    if running is None:
        home.boot_file.unlink(missing_ok=True)
        running = _launch(home, owner, daemon)
        changed = True
    if changed:
        _follow(home, running, on_progress, timeout)
    else:
        on_progress("already up")
    return _wait_until_ready(home, timeout)


def _check(services: Mapping[str, int] | None) -> None:
    from kernel_platform.catalog import SERVICES

    names = [service.name for service in SERVICES]
    for name, replicas in (services or {}).items():
        if name not in names:
            raise UpError(f"there is no service {name}; there are {', '.join(names)}")
        if not 0 <= replicas <= 20:
            raise UpError(f"{name}={replicas}: between 0 and 20 replicas")


def _launch(home: Home, owner: int | None, daemon: Sequence[str]) -> Identity:
    from kernel_platform.daemon import ANOTHER_RUNS

    arguments = [*daemon, str(home.root), *([str(owner)] if owner is not None else [])]
    with (home.logs / "supervisor.log").open("ab") as log:
        process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=home.root
        )
    started = Identity.of(process.pid)
    deadline = time.monotonic() + 30
    while supervisor_of(home) is None and time.monotonic() < deadline:
        code = process.poll()
        if code is not None and code != ANOTHER_RUNS:
            raise UpError(f"the supervisor ended with {code}:\n{tail(home.logs / 'supervisor.log')}")
        time.sleep(0.02)
    running = supervisor_of(home) or started
    if running is None:
        raise UpError(f"the supervisor does not start:\n{tail(home.logs / 'supervisor.log')}")
    return running


def _follow(home: Home, running: Identity, on_progress: OnProgress, timeout: float) -> None:
    """Tells the lines of the start as they come, until it is ready; raises when it fails."""
    deadline = time.monotonic() + timeout
    told = 0
    while time.monotonic() < deadline:
        alive = running.alive()
        lines = home.boot_file.read_text().splitlines() if home.boot_file.exists() else []
        for line in lines[told:]:
            try:
                event = json.loads(line)
            except json.JSONDecodeError:
                break  # half written
            told += 1
            if event["failed"]:
                if event["ends"]:
                    _wait_for_end(running)
                raise UpError(event["text"])
            on_progress(event["text"])
            if event["ready"]:
                return
        if not alive:
            raise UpError(f"the supervisor ended:\n{tail(home.logs / 'supervisor.log')}")
        time.sleep(0.05)
    raise UpError(f"not ready after {timeout:.0f} s; see {home.logs}")


def _wait_until_ready(home: Home, timeout: float) -> Status:
    """It was ready, but something may be on its way back just now."""
    deadline = time.monotonic() + timeout
    while not (now := status(home))["ready"]:
        if supervisor_of(home) is None:
            raise UpError(f"the supervisor ended:\n{tail(home.logs / 'supervisor.log')}")
        if time.monotonic() > deadline:
            late = ", ".join(f"{each['name']}-{each['replica']}" for each in now["services"] if not each["ready"])
            raise UpError(f"not ready after {timeout:.0f} s: {late}; see {home.logs}")
        time.sleep(0.1)
    return now


def down(on_progress: OnProgress = _silent, *, home: Home | None = None, timeout: float = 60) -> bool:
    """Stops everything, also what a killed supervisor left; whether there was anything to stop."""
    from kernel_platform.supervisor import clean_up

    home = home or Home.default()
    running = supervisor_of(home)
    if running is not None:
        on_progress("stopping")
        running.send(signal.SIGTERM)
        _wait_for_end(running, timeout)
        running.send(signal.SIGKILL)
    left = bool(read_json(home.processes_file, []))
    clean_up(home)
    return running is not None or left


def _wait_for_end(running: Identity, timeout: float = 60) -> None:
    deadline = time.monotonic() + timeout
    while running.alive() and time.monotonic() < deadline:
        time.sleep(0.05)


def status(home: Home | None = None) -> Status:
    """As api.md says, with the readiness of this moment."""
    home = home or Home.default()
    state: Status = read_json(home.state_file, {}) if supervisor_of(home) else {}
    services = state.get("services", [])
    if services:
        with ThreadPoolExecutor(max_workers=len(services)) as pool:
            ready = list(pool.map(_is_ready, services))
        services = [{**service, "ready": now} for service, now in zip(services, ready, strict=True)]
    return {
        "ready": bool(state.get("ready")) and all(service["ready"] for service in services),
        "gateway": state.get("gateway"),
        "kafka": state.get("kafka"),
        "postgres": state.get("postgres", {}),
        "services": services,
    }


def _is_ready(service: Status) -> bool:
    try:
        with urllib.request.urlopen(f"{service['url']}/health/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextmanager
def _terminated_as_interrupt() -> Iterator[None]:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run_foreground(
    workload: Callable[[Status], None] | None = None,
    services: Mapping[str, int] | None = None,
    on_progress: OnProgress = _silent,
    *,
    exit_after: bool = False,
    home: Home | None = None,
    daemon: Sequence[str] = DAEMON,
) -> int:
    """Brings everything up, runs the workload on it, then stays until Ctrl-C (or ends, with `exit_after`).

    What it started it stops, however it ends; an installation that ran before goes on running. The exit code.
    """
    home = home or Home.default()
    ours = supervisor_of(home) is None
    with _terminated_as_interrupt():
        try:
            state = up(services, on_progress, home=home, owner=os.getpid() if ours else None, daemon=daemon)
            if workload is not None:
                workload(state)
            if not exit_after:
                _stay(home, on_progress)
        except KeyboardInterrupt:
            return 0
        finally:
            if ours:
                _down_undisturbed(home, on_progress)
    return 0


def _down_undisturbed(home: Home, on_progress: OnProgress) -> None:
    """A second Ctrl-C does not cut the stopping short; it is bounded in time anyway."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        down(on_progress, home=home)
    finally:
        signal.signal(signal.SIGINT, before)


def _stay(home: Home, on_progress: OnProgress) -> None:
    on_progress("Ctrl-C stops all of it")
    while supervisor_of(home) is not None:
        time.sleep(0.5)
    raise UpError("the installation was stopped from elsewhere")
