"""A running installation seen from outside: addresses, tokens, processes to hurt, and its own checks."""

import asyncio
import json
import os
import signal
import time
from typing import Any

import aiohttp
import psutil
from kernel_platform import control, fsck
from kernel_platform.home import Home
from kernel_platform.issuer import mint


class Installation:
    """What `kernel status --json` tells, asked anew each time: pids change when the supervisor restarts something."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.headers = {"authorization": f"Bearer {mint(home, ['admin'])}"}

    def status(self) -> dict[str, Any]:
        return dict(control.status(home=self.home))

    @property
    def gateway(self) -> str:
        return str(self.status()["gateway"])

    @property
    def kafka(self) -> str:
        return str(self.status()["kafka"])

    def pids(self, service: str) -> list[int]:
        return [int(one["pid"]) for one in self.status()["services"] if one["name"] == service]

    def infrastructure(self, name: str) -> int:
        """The pid of the embedded `postgres` or `kafka`."""
        state = json.loads(self.home.state_file.read_text())
        return int(next(unit["pid"] for unit in state["units"] if unit["name"] == name))

    def kill(self, pid: int, how: signal.Signals = signal.SIGKILL) -> None:
        os.kill(pid, how)

    async def ready(self, timeout: float = 60) -> None:
        """Until the installation says that all of it is ready again."""
        deadline = time.monotonic() + timeout
        while not (await asyncio.to_thread(self.status))["ready"]:
            assert time.monotonic() < deadline, f"not ready after {timeout} s: {self.status()}"
            await asyncio.sleep(0.2)

    async def gone(self, pid: int, timeout: float = 30) -> None:
        deadline = time.monotonic() + timeout
        while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline, f"process {pid} has not ended"
            await asyncio.sleep(0.1)

    async def check(self) -> None:
        """`kernel fsck` finds nothing."""
        found = await asyncio.to_thread(fsck.run, self.home)
        broken = [check for check in found["checks"] if check["breaches"]]
        assert found["ok"], broken
        assert not broken, broken

    async def call(
        self, http: aiohttp.ClientSession, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, Any]:
        """One request, as an admin, with no retry."""
        async with http.request(method, self.gateway + path, json=body, headers=self.headers | headers) as answer:
            text = await answer.read()
            return answer.status, json.loads(text) if text else None
