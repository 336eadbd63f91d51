"""Workers on the whole installation: the example, the README's, and one that dies."""

import asyncio
import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import kernel_client
from kernel_client import Kernel
from kernel_platform.issuer import mint
from kernel_testing import eventually

from .installation import Installation

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "worker"
README = Path(kernel_client.__file__).parents[2] / "README.md"


@contextlib.asynccontextmanager
async def program(installation: Installation, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A worker as its user runs it; it ends well at SIGTERM."""
    environment = {
        **os.environ,
        "KERNEL_URL": installation.gateway,
        "KERNEL_TOKEN": mint(installation.home, ["integrator"]),
    }
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, env=environment)
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()


def client(installation: Installation) -> Kernel:
    return Kernel(installation.gateway, mint(installation.home, ["admin"]))


async def ended(kernel: Kernel, service: str, number: int) -> list[Any]:
    found = [each async for each in kernel.processes.list(service=service, state=["TERMINATED"])]
    return found if len(found) >= number else []


async def test_the_example(installation: Installation) -> None:
    number = 20
    async with client(installation) as kernel:
        await kernel.apply((EXAMPLE / "design.yaml").read_text())
        command = ("-c", "from kernel_client.cli import main; main()", "worker", f"{EXAMPLE / 'worker.py'}:worker")
        async with program(installation, *command):  # whose gateway, and a process-svc, are killed in the middle
            for n in range(number):
                context = {"email": f"c{n}@example.com", "lines": [n + 1, 0.5]}
                await kernel.processes.create(
                    "bill.create", entity={"type": "customer", "id": f"C-{n}"}, context=context
                )
            wrong = await kernel.processes.create(
                "bill.create", entity={"type": "customer", "id": "C-x"}, context={"email": "x", "lines": []}
            )
            for service in ("process-svc", "gateway"):
                installation.kill(installation.pids(service)[0])
            sent = await eventually(lambda: ended(kernel, "bill.send", number), timeout=40)
            bills = await ended(kernel, "bill.create", number)
        assert {bill["attempt"] for bill in bills} == {2}
        assert {bill["output"]["number"] for bill in bills} == {f"B-{bill['pid']}" for bill in bills}
        assert {each["output"]["sent_to"] for each in sent} == {f"c{n}@example.com" for n in range(number)}
        refused = await kernel.processes.get(wrong["pid"])
        assert refused["state"] == "SUSPENDED"
        (incident,) = [each async for each in kernel.incidents(pid=wrong["pid"])]
        assert incident["error"]["code"] == "invalid_context"
        assert "/lines" in incident["error"]["message"]


async def test_the_readme_and_one_that_dies(installation: Installation, tmp_path: Path) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.S)
    file = tmp_path / "invoices.py"
    file.write_text(block)
    async with client(installation) as kernel:
        retry = {"max_attempts": 3, "backoff": {"initial": "PT0.1S"}}
        await kernel.services.put("invoice.create", {"kind": "automatic", "retry": retry})
        made = await kernel.processes.create("invoice.create", context={"customer": "ada", "amount": 3})
        dead = await kernel.work.claim(["invoice.create"], "dead", wait=20, lease=1)
        assert [item["pid"] for item in dead] == [made["pid"]]
        assert [each["worker"] async for each in kernel.work.list(service="invoice.create")] == ["dead"]
        began = time.monotonic()
        async with program(installation, str(file)):

            async def done() -> Any:
                found = await kernel.processes.get(made["pid"])
                return found if found["state"] == "TERMINATED" else None

            invoice = await eventually(done, timeout=20)
        assert (invoice["output"], invoice["attempt"]) == ({"number": f"R-{made['pid']}"}, 2)
        assert time.monotonic() - began < 15
        (late,) = await kernel.work.answer([{"pid": made["pid"], "token": dead[0]["token"], "output": {}}])
        assert late["status"] == 409
    await installation.check()
