"""`kernel replay` on the running installation: every task of a log done once, by whom the log allows, bad rows named."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from .installation import Installation

pytestmark = pytest.mark.timeout(300)

KERNEL = Path(sys.executable).with_name("kernel")
CASES, TASKS = 30, 4


def rows(marker: str) -> list[str]:
    """Cases a minute apart; A and B by either of two, C by one, D by nobody the log names."""
    told = []
    for case in range(CASES):
        for step, (activity, who) in enumerate(
            (("A", "ann"), ("B", "bob" if case % 2 else "ann"), ("C", "bob"), ("D", ""))
        ):
            start, end = (f"2024-01-01T10:{case:02}:{step * 10 + second:02}Z" for second in (0, 5))
            told.append(f"{marker}-{case},{marker} {activity},{who},{start},{end}")
    return told


def replay(installation: Installation, log: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [KERNEL, "replay", str(log), "--json", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "KERNEL_HOME": str(installation.home.root)},
    )


def told(process: subprocess.Popen[str], code: int) -> Any:
    out, error = process.communicate(timeout=200)
    assert process.returncode == code, error + out
    return json.loads(out)


def written(folder: Path, marker: str, *bad: str) -> Path:
    path = folder / "log.csv"
    path.write_text("\n".join(["case,activity,resource,start,end", *rows(marker), *bad]) + "\n")
    return path


def test_a_log_is_played_to_its_end(installation: Installation, tmp_path: Path) -> None:
    marker = f"replayed-{time.time_ns():x}"
    log = written(tmp_path, marker, f"{marker}-1,,ann,2024-01-01,2024-01-01")
    summary = told(replay(installation, log, "--speed", "600"), 0)
    assert (summary["cases"], summary["tasks"], summary["bad_rows"]) == (CASES, CASES * TASKS, 1)
    assert summary["bad"] == [{"line": CASES * TASKS + 2, "error": "no activity"}]
    assert summary["problems"] == []
    did = {each["id"]: each["tasks"] for each in summary["operators"]}
    assert sum(did.values()) == CASES * TASKS
    assert did["(pool)"] == CASES
    assert did["bob"] >= CASES, "C is bob's alone"
    assert {each["service"] for each in summary["activities"]} == {f"{marker} {name}" for name in "ABCD"}
    assert 0 <= summary["waits"]["p50"] <= summary["waits"]["p95"] <= summary["waits"]["max"]
    assert summary["seconds"] >= (CASES - 1) * 60 / 600


async def test_it_can_be_ended_early_and_leaves_nothing(installation: Installation, tmp_path: Path) -> None:
    from kernel_client import Kernel

    marker = f"ended-{time.time_ns():x}"
    running = replay(installation, written(tmp_path, marker), "--speed", "60")
    token = installation.headers["authorization"].removeprefix("Bearer ")
    async with Kernel(installation.gateway, token) as kernel:
        deadline = time.monotonic() + 60
        while not [each async for each in kernel.processes.list(service=f"{marker} B")]:
            assert time.monotonic() < deadline
        running.send_signal(signal.SIGINT)
        summary = told(running, 130)
        assert summary["interrupted"]
        assert 1 <= summary["tasks"] < CASES * TASKS
        for name in "ABCD":
            found = [each async for each in kernel.processes.list(service=f"{marker} {name}")]
            assert {each["state"] for each in found} <= {"TERMINATED"}
