"""Starts an installation, keeps all of it running, stops it in order.

Infrastructure first; topics and migrations as soon as their server answers, side by side; then the services. What dies is
started again with back-off, Postgres and Kafka too. SIGHUP reads the wanted replicas anew.
"""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg
from confluent_kafka import KafkaException

from kernel_platform import backends, migrations
from kernel_platform.catalog import GATEWAY, SERVICES, Addresses, Service, specs
from kernel_platform.home import Home, read_json, write_json
from kernel_platform.identity import Identity, stop_all
from kernel_platform.infrastructure import BootError, Infrastructure
from kernel_platform.spec import ServiceSpec
from kernel_platform.unit import Unit

BOOT_TIMEOUT = 180.0
TRIES_BEFORE_GIVING_UP = 4
"""A process that ended this often without ever being ready fails the start."""

T = TypeVar("T")


EXPLAINED = (
    BootError,
    backends.BackendError,
    migrations.MigrationFailedError,
    asyncpg.PostgresError,
    KafkaException,
    OSError,
    RuntimeError,
)
"""What a start may fail with; its message is enough. Anything else is a mistake of ours, and its trace goes to the log."""


class Supervisor:
    """Runs what `services` names. The caller holds the home's lock."""

    def __init__(self, home: Home, services: Sequence[Service] = SERVICES, owner: Identity | None = None) -> None:
        self.home = home
        self._services = tuple(services)
        self._owner = owner
        self._units: dict[str, Unit] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._addresses: Addresses | None = None
        self._booted = False
        self._stop = asyncio.Event()
        self._broken: BaseException | None = None
        self._reconciling = asyncio.Lock()
        self._began = time.monotonic()
        self._infrastructure = Infrastructure(home, self._start, self._announce, self._stop.is_set)

    async def run(self) -> int:
        """Until SIGTERM, SIGINT or the end of the owner; the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        self.home.boot_file.write_text("")
        await asyncio.to_thread(clean_up, self.home)
        code = 0
        try:
            if await self._or_stop(self._boot()):
                loop.add_signal_handler(signal.SIGHUP, lambda: self._spawn_task("rescale", self._rescale()))
                await self._or_stop(self._watch_owner())
        except* EXPLAINED as group:
            self._announce(_message(group), failed=True, ends=True)
            code = 1
        finally:
            await self._stop_all()
        if self._broken is not None:
            raise self._broken
        return code

    async def _boot(self) -> bool:
        async with self._in_time():
            self._addresses = await self._infrastructure.up(self._services)
        await self._reconcile()
        return True

    async def _reconcile(self) -> None:
        """Makes the running services those that are wanted; a gateway that must know new addresses is restarted."""
        assert self._addresses is not None
        desired: dict[str, int] = read_json(self.home.desired_file, {})
        wanted = {spec.label: spec for spec in specs(self.home, self._services, desired, self._addresses)}
        running = {label: unit for label, unit in self._units.items() if unit.spec.is_service}
        await self._end(*(label for label, unit in running.items() if wanted.get(label) != unit.spec))
        async with self._in_time(), asyncio.TaskGroup() as group:
            for label, spec in wanted.items():
                if label not in self._units:
                    group.create_task(self._start(spec))
        self._booted = True
        self._write_state()
        self._announce(f"ready after {time.monotonic() - self._began:.1f} s", ready=True)

    async def _rescale(self) -> None:
        async with self._reconciling:
            self._began = time.monotonic()
            try:
                await self._reconcile()
            except* EXPLAINED as group:
                self._announce(_message(group), failed=True)

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(BOOT_TIMEOUT):
                yield
        except TimeoutError:
            late = ", ".join(label for label, unit in self._units.items() if not unit.ready.is_set())
            raise BootError(f"not ready within {BOOT_TIMEOUT:.0f} s: {late}; see {self.home.logs}") from None

    async def _start(self, spec: ServiceSpec) -> None:
        """Starts a unit and waits until it is ready."""
        unit = Unit(spec, self.home, self._write_state)
        self._units[spec.label] = unit
        began = time.monotonic()
        self._spawn_task(spec.label, unit.run())
        while not unit.ready.is_set():
            if unit.failures >= TRIES_BEFORE_GIVING_UP:
                raise BootError(f"{spec.label} does not start; {unit.explain()}")
            try:
                async with asyncio.timeout(0.5):
                    await unit.ready.wait()
            except TimeoutError:
                continue
        self._announce(f"{spec.label} is ready ({time.monotonic() - began:.1f} s)")

    def _spawn_task(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks[name] = task
        task.add_done_callback(self._check)

    def _check(self, task: asyncio.Task[None]) -> None:
        """A task of ours that breaks ends the supervisor, rather than leave something unwatched."""
        if not task.cancelled() and task.exception() is not None:
            self._broken = task.exception()
            self._stop.set()

    async def _end(self, *labels: str) -> None:
        await asyncio.gather(*(self._units[label].stop() for label in labels))
        for label in labels:
            del self._units[label]
            await self._tasks.pop(label)

    async def _or_stop(self, work: Awaitable[T]) -> T | None:
        """The work's result, or None when the end was asked for first; the work is then cancelled."""
        task = asyncio.ensure_future(work)
        stop = asyncio.ensure_future(self._stop.wait())
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if task.done():
            return task.result()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return None

    async def _watch_owner(self) -> None:
        while self._owner is None or self._owner.alive():  # noqa: ASYNC110 (another process)
            await asyncio.sleep(1)

    async def _stop_all(self) -> None:
        """The gateway, then the services, then Kafka, then Postgres."""
        self._booted = False
        ranks = {GATEWAY: 0, "kafka": 2, "postgres": 3}
        for rank in range(4):
            await self._end(*(label for label, unit in self._units.items() if ranks.get(unit.spec.name, 1) == rank))
        await self._infrastructure.down()
        for path in (self.home.state_file, self.home.processes_file):
            path.unlink(missing_ok=True)

    def _write_state(self) -> None:
        units = list(self._units.values())
        write_json(
            self.home.processes_file,
            [
                {"label": unit.spec.label, "signal": int(unit.spec.stop_signal), **unit.identity.dump()}
                for unit in units
                if unit.identity is not None
            ],
        )
        if self._addresses is None:
            return
        gateways = [unit.spec.url for unit in units if unit.spec.name == GATEWAY]
        state = {
            "ready": self._booted and all(unit.ready.is_set() for unit in units),
            "gateway": gateways[0] if gateways else None,
            "kafka": self._addresses.bootstrap,
            "postgres": dict(self._addresses.dsns),
            "services": [{**unit.describe(), "url": unit.spec.url} for unit in units if unit.spec.is_service],
            "units": [unit.describe() for unit in units],
        }
        write_json(self.home.state_file, state, mode=0o600)

    def _announce(self, text: str, *, ready: bool = False, failed: bool = False, ends: bool = False) -> None:
        print(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {text}", flush=True)
        with self.home.boot_file.open("a") as file:
            file.write(json.dumps({"text": text, "ready": ready, "failed": failed, "ends": ends}) + "\n")


def clean_up(home: Home) -> None:
    """Stops what a supervisor that was killed left running."""
    left = [(Identity.load(each), signal.Signals(each["signal"])) for each in read_json(home.processes_file, [])]
    stop_all(left, timeout=10)
    for path in (home.processes_file, home.state_file):
        path.unlink(missing_ok=True)


def _message(group: BaseExceptionGroup[BaseException]) -> str:
    """The first sentence that explains it."""
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return str(first) or type(first).__name__
