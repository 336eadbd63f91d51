"""`kernel run` on an installation that is up: the permit office is played, told about, and the installation goes on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from kernel_platform import control, fsck
from kernel_platform.home import Home

from .installation import Installation

pytestmark = pytest.mark.timeout(300)


def test_the_permit_office(installation: Installation) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("kernel"), "run", "--exit", "--cases", "12", "--seed", "3"],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env={**os.environ, "KERNEL_HOME": str(installation.home.root)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for said in (
        "12 cases done",
        "publish-decision",
        "Who did how much",
        "Ingrid Smit",
        f"{installation.gateway}/docs",
        "kernel token --role viewer",
    ):
        assert said in done.stdout, done.stdout
    assert installation.status()["ready"], "it ran before, so it goes on"
    found = fsck.run(installation.home)
    assert found["ok"], [check for check in found["checks"] if check["breaches"]]


def test_it_starts_everything_and_ctrl_c_stops_everything(tmp_path: Path) -> None:
    """On a folder of its own: nothing ran before, nothing runs afterwards."""
    running = subprocess.Popen(
        [Path(sys.executable).with_name("kernel"), "run", "--cases", "4"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "KERNEL_HOME": str(tmp_path)},
    )
    assert running.stdout is not None
    said = []
    for line in running.stdout:
        said.append(line)
        if "Ctrl-C stops all of it" in line:
            break
    os.killpg(running.pid, signal.SIGINT)
    assert running.wait(timeout=60) == 0, said
    assert any("4 cases done" in line for line in said), said
    assert not control.down(home=Home(tmp_path)), "there was something left to stop"
