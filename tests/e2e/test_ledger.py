"""The ledger on the running installation: what was done verifies, is signed, and is exported; also after a replica was killed."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from kernel_client.client import Kernel
from kernel_client.eventlog import read
from kernel_platform.issuer import mint
from kernel_testing import eventually

from .installation import Installation

KERNEL = Path(sys.executable).with_name("kernel")


def kernel(installation: Installation, *arguments: str) -> str:
    done = subprocess.run(
        [KERNEL, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "KERNEL_HOME": str(installation.home.root)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def test_what_was_done_verifies_is_signed_and_exported(installation: Installation, tmp_path: Path) -> None:
    token = mint(installation.home, ["admin"])
    async with Kernel(installation.gateway, token) as client:
        await client.apply(
            {"services": {"ledger": {"roles": ["ledger"]}}, "operators": {"ledger-ann": {"roles": ["ledger"]}}}
        )
        pid = (await client.processes.create("ledger", context={"n": 1}))["pid"]

        async def done() -> Any:
            found = await client.processes.get(pid)
            assert found["state"] == "RUNNING", found
            return await client.processes.complete(pid, {"well": True}, reason="seen")

        await eventually(done, timeout=30)
        found = await client.processes.verify(pid)
        assert (found["ok"], found["rows"], found["chained_from"]) == (True, 4, 1)

        async def covered() -> bool:
            return (await client.processes.verify(pid))["checkpoint"] is not None

        await eventually(covered, timeout=30)
        replica = next(each for each in installation.status()["services"] if each["name"] == "process-svc")
        os.kill(replica["pid"], signal.SIGKILL)
        again = (await client.processes.create("ledger", context={"n": 2}))["pid"]

        async def covered_too() -> bool:
            return (await client.processes.verify(again))["checkpoint"] is not None

        await eventually(covered_too, timeout=60)
        await client.processes.cancel(again)
    file = tmp_path / "checkpoints.jsonl"
    await asyncio.to_thread(kernel, installation, "checkpoints", "--out", str(file))
    assert "all verify" in await asyncio.to_thread(kernel, installation, "verify", "--checkpoints", str(file), "--live")
    kept = installation.home.checkpoints_file
    assert "all verify" in await asyncio.to_thread(kernel, installation, "verify", "--checkpoints", str(kept), "--live")
    assert "all of it verifies" in await asyncio.to_thread(kernel, installation, "verify")
    log = tmp_path / "log.xes"
    await asyncio.to_thread(kernel, installation, "export", "--out", str(log), "--service", "ledger")
    assert {case.id for case in read(log).cases} == {str(pid)}
    hold = (await asyncio.to_thread(kernel, installation, "hold", "add", "a case", "--where", "service=ledger")).strip()
    assert "a case" in await asyncio.to_thread(kernel, installation, "hold", "list")
    assert "released" in await asyncio.to_thread(kernel, installation, "hold", "release", hold)
