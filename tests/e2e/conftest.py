"""The whole installation, as `kernel up` starts it, with two replicas of every service; one for all tests here."""

import os
from collections.abc import Iterator

import pytest
from kernel_platform import control
from kernel_platform.home import Home

from .installation import Installation

REPLICAS = {"process-svc": 2, "resource-svc": 2, "scheduler-svc": 2, "rules-svc": 2, "gateway": 2}


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    home = Home(tmp_path_factory.mktemp("kernel-home"))
    os.environ["KERNEL_CHECKPOINT_EVERY"] = "1"
    try:
        control.up(REPLICAS, on_progress=print, home=home)
        yield Installation(home)
    finally:
        control.down(on_progress=print, home=home)
