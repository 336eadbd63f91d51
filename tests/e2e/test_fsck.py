"""`kernel fsck` on the running installation: clean, then with a breach seeded in a live database, then clean again."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from .installation import Installation

pytestmark = pytest.mark.timeout(300)

STRANGER = 999_999_999_999


def fsck(installation: Installation, code: int) -> dict[str, Any]:
    done = subprocess.run(
        [Path(sys.executable).with_name("kernel"), "fsck", "--json", "--wait", "3" if code else "20"],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env={**os.environ, "KERNEL_HOME": str(installation.home.root)},
    )
    assert done.returncode == code, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return {check["name"]: check["examples"] for check in found["checks"] if check["breaches"]}


async def test_a_breach_is_named_and_the_exit_code_says_so(installation: Installation) -> None:
    assert fsck(installation, 0) == {}
    database = await asyncpg.connect(installation.status()["postgres"]["scheduler-svc"])
    try:
        await database.execute(
            "INSERT INTO ready_item (pid, tenant, queue, service, version, latest, priority, ready_at, demands, cause, state,"
            " attempt, candidates, held, denials)"
            " VALUES ($1, 'main', 'nowhere', 's', 1, 1, 50, now(), '[]', '{}', 'ready', 0, '[]', '{}', 0)",
            STRANGER,
        )
        found = fsck(installation, 1)
        assert "unknown" in found["the scheduler has nothing that is not so"][0]
    finally:
        await database.execute("DELETE FROM ready_item WHERE pid = $1", STRANGER)
        await database.close()
    assert fsck(installation, 0) == {}
