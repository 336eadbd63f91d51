"""A whole installation with stand-in services on an embedded Postgres and Kafka: killed piece by piece."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest
from kernel_platform import control
from kernel_platform.control import Status, UpError
from kernel_platform.databases import DATABASES
from kernel_platform.home import Home
from kernel_platform.kafka import admin_client
from kernel_testing import eventually_sync

DAEMON = (sys.executable, str(Path(__file__).with_name("standin_daemon.py")))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    home = Home(tmp_path_factory.mktemp("home"))
    yield home
    control.down(home=home)


def up(home: Home, services: dict[str, int] | None = None) -> Status:
    return control.up(services, home=home, daemon=DAEMON)


def pids(home: Home) -> dict[str, int]:
    state: dict[str, Any] = json.loads(home.state_file.read_text())
    infrastructure = ("postgres", "kafka")
    return {
        each["name"] if each["name"] in infrastructure else f"{each['name']}-{each['replica']}": each["pid"]
        for each in state["units"]
    }


def test_up_is_ready_when_it_returns_and_idempotent(home: Home) -> None:
    first = up(home)
    assert set(first) == {"ready", "gateway", "kafka", "postgres", "services"}
    assert first["ready"]
    assert {each["name"] for each in first["services"]} == set(DATABASES)
    before = pids(home)
    told: list[str] = []
    assert control.up(on_progress=told.append, home=home, daemon=DAEMON) == first
    assert told == ["already up"]
    assert pids(home) == before


async def test_each_service_reaches_its_own_database_only(home: Home) -> None:
    dsns = up(home)["postgres"]
    connection = await asyncpg.connect(dsns["rules-svc"])
    await connection.execute("create table t (i int); drop table t; create extension if not exists btree_gist")
    assert await connection.fetchval("select current_user || ' ' || rolsuper from pg_roles where rolname = user") == (
        "kernel_rules false"
    )
    await connection.close()
    with pytest.raises(asyncpg.PostgresError):
        await asyncpg.connect(dsns["rules-svc"].replace("/kernel_rules", "/kernel_process"))


def test_topics_are_made_as_declared(home: Home) -> None:
    topics = admin_client(up(home)["kafka"]).list_topics(timeout=10).topics
    assert len(topics["process-events"].partitions) == 4
    assert {"process-events-dlq", "definitions"} <= set(topics)


@pytest.mark.parametrize("victim", ["process-svc-1", "gateway-1", "postgres", "kafka"])
def test_what_is_killed_comes_back_where_it_was(home: Home, victim: str) -> None:
    before, had = up(home), pids(home)
    os.kill(had[victim], signal.SIGKILL)
    eventually_sync(lambda: pids(home)[victim] not in (had[victim], None), timeout=30)
    after = up(home)
    assert after == {**before, "services": after["services"]}
    assert [each["url"] for each in after["services"]] == [each["url"] for each in before["services"]]
    assert {label: pid for label, pid in pids(home).items() if label != victim} == {
        label: pid for label, pid in had.items() if label != victim
    }


def test_replicas_are_added_and_removed_and_the_gateway_learns_them(home: Home) -> None:
    up(home)
    both = up(home, {"process-svc": 2})
    urls = [each["url"] for each in both["services"] if each["name"] == "process-svc"]
    assert len(urls) == 2
    with urllib.request.urlopen(f"{both['gateway']}/health/ready") as answer:
        assert answer.read().decode().split(",") == urls
    one = up(home, {"process-svc": 1})
    assert len(one["services"]) == len(DATABASES)
    with pytest.raises(UpError, match="there is no service nosuch"):
        up(home, {"nosuch": 1})


def test_a_killed_supervisor_leaves_nothing_that_the_next_does_not_clear(home: Home) -> None:
    up(home)
    left = pids(home)
    supervisor = control.supervisor_of(home)
    assert supervisor is not None
    os.kill(supervisor.pid, signal.SIGKILL)
    eventually_sync(lambda: not supervisor.alive())
    assert control.status(home) == {"ready": False, "gateway": None, "kafka": None, "postgres": {}, "services": []}
    assert up(home)["ready"]
    assert not any(psutil.pid_exists(pid) for pid in left.values())


def test_down_stops_all_and_may_be_said_again(home: Home) -> None:
    up(home)
    ran = pids(home)
    assert control.down(home=home)
    assert not any(psutil.pid_exists(pid) for pid in ran.values())
    assert not control.down(home=home)
    assert not control.status(home)["ready"]


def test_a_service_that_cannot_start_fails_the_start_and_leaves_nothing(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    control.down(home=home)
    monkeypatch.setenv("CRASH", "rules-svc")
    with pytest.raises(UpError, match=r"(?s)rules-svc-1 does not start.*the stand-in gives up"):
        up(home)
    assert control.supervisor_of(home) is None
    assert not home.processes_file.exists()


def test_run_stops_what_it_started_also_on_a_signal(home: Home) -> None:
    control.down(home=home)
    seen: list[bool] = []
    code = control.run_foreground(lambda state: seen.append(state["ready"]), exit_after=True, home=home, daemon=DAEMON)
    assert (code, seen) == (0, [True])
    assert control.supervisor_of(home) is None
    script = (
        "import sys; from pathlib import Path; from kernel_platform import control; from kernel_platform.home import Home;"
        f"sys.exit(control.run_foreground(None, home=Home(Path({str(home.root)!r})), daemon={DAEMON!r}))"
    )
    running = subprocess.Popen([sys.executable, "-c", script], start_new_session=True)
    eventually_sync(lambda: control.status(home)["ready"], timeout=60)
    running.send_signal(signal.SIGINT)
    assert running.wait(timeout=30) == 0
    assert control.supervisor_of(home) is None


def test_an_installation_ends_with_its_owner(home: Home) -> None:
    control.down(home=home)
    owner = subprocess.Popen(["sleep", "60"])
    control.up(home=home, daemon=DAEMON, owner=owner.pid)
    owner.kill()
    owner.wait()
    eventually_sync(lambda: control.supervisor_of(home) is None, timeout=20)
    assert not home.processes_file.exists()


def test_a_port_taken_meanwhile_is_replaced(home: Home) -> None:
    control.down(home=home)
    ports = json.loads((home.root / "ports.json").read_text())
    taken = subprocess.Popen(
        [sys.executable, "-m", "http.server", str(ports["rules-svc-1"]), "--bind", "127.0.0.1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        time.sleep(0.5)
        state = up(home)
        url = next(each["url"] for each in state["services"] if each["name"] == "rules-svc")
        assert not url.endswith(f":{ports['rules-svc-1']}")
        assert state["ready"]
    finally:
        taken.kill()
        taken.wait()
