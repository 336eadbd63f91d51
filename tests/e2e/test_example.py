"""`kernel run` on an installation that is up: the permit office is played, told about, and the installation goes on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from kernel_platform import fsck

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
