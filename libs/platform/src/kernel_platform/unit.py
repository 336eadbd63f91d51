"""One supervised process: started, watched until it is ready, started again whenever it ends."""

import asyncio
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kernel_platform.home import Home
from kernel_platform.identity import Identity
from kernel_platform.spec import ServiceSpec

FIRST_DELAY, LAST_DELAY = 0.2, 10.0
STEADY = 20.0
"""Seconds a process must have lived for the back-off to begin anew."""

LOG_LIMIT = 20_000_000


class Unit:
    """Keeps the process of a spec running until `stop`; `changed` is called whenever its pid or readiness changes."""

    def __init__(self, spec: ServiceSpec, home: Home, changed: Callable[[], None]) -> None:
        self.spec = spec
        self.log = home.logs / f"{spec.label}.log"
        self.ready = asyncio.Event()
        self.failures = 0
        """Ends in a row without having been ready."""
        self.problem = ""
        """Why it could not even be started."""
        self.identity: Identity | None = None
        self._changed = changed
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Returns after `stop` only."""
        delay = FIRST_DELAY
        while not self._stopping.is_set():
            began = time.monotonic()
            await self._run_once()
            if time.monotonic() - began > STEADY:
                delay = FIRST_DELAY
            try:
                async with asyncio.timeout(delay):
                    await self._stopping.wait()
            except TimeoutError:
                delay = min(delay * 2, LAST_DELAY)
        self._ended.set()

    async def _run_once(self) -> None:
        try:
            if self.spec.before_start:
                await asyncio.to_thread(self.spec.before_start)
            if self._stopping.is_set():
                return
            await self._spawn()
        except Exception as problem:
            self.problem = str(problem)
            self.failures += 1
            self._say(f"could not be started: {problem}")
            return
        self.problem = ""
        assert self._process is not None
        watch = asyncio.create_task(self._watch())
        code = await self._process.wait()
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        if not self._stopping.is_set():
            self._say(f"ended with {code}" + ("" if self.ready.is_set() else " before it was ready"))
        self.failures += not self.ready.is_set()
        self.ready.clear()
        self._process, self.identity = None, None
        self._changed()

    async def _spawn(self) -> None:
        spec = self.spec
        self._trim_log()
        with self.log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *spec.argv,
                env={**os.environ, **spec.env},
                cwd=spec.cwd,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                user=spec.user,
                group=spec.user,
                extra_groups=None if spec.user is None else [],
            )
        self.identity = Identity.of(self._process.pid)
        self._changed()

    async def _watch(self) -> None:
        while not await self.spec.is_ready():  # noqa: ASYNC110 (another process: there is no event to wait for)
            await asyncio.sleep(0.05)
        self.failures = 0
        self.ready.set()
        self._changed()
        while True:
            await asyncio.sleep(60)
            self._trim_log()

    async def stop(self) -> None:
        """Asks, waits, kills; returns when it is gone."""
        self._stopping.set()
        process = self._process
        if process is not None and process.returncode is None:
            process.send_signal(self.spec.stop_signal)
            try:
                async with asyncio.timeout(self.spec.stop_timeout):
                    await self._ended.wait()
            except TimeoutError:
                self._say(f"did not stop within {self.spec.stop_timeout:.0f} s and is killed")
                if process.returncode is None:
                    process.kill()
        await self._ended.wait()

    def _say(self, text: str) -> None:
        print(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {self.spec.label} {text}", flush=True)

    def _trim_log(self) -> None:
        """Keeps what was logged so far as .1 and begins anew once it is large; the process appends, so it need not know."""
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT:
            shutil.copyfile(self.log, self.log.with_suffix(".log.1"))
            os.truncate(self.log, 0)

    def describe(self) -> dict[str, Any]:
        """As state.json has it."""
        pid = self.identity.pid if self.identity else None
        return {"name": self.spec.name, "replica": self.spec.replica, "pid": pid, "ready": self.ready.is_set()}

    def explain(self) -> str:
        """Why it does not become ready, as far as can be seen."""
        return self.problem or f"the end of {self.log}:\n{tail(self.log)}"


def tail(path: Path, lines: int = 15) -> str:
    """The last lines of a log, for a person."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 8_000))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
