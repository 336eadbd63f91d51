"""Plays a planned log on a live kernel."""

import asyncio
import time
import uuid
from collections.abc import Callable
from typing import Any

from kernel_client.client import Kernel
from kernel_client.completer import Completer
from kernel_client.errors import KernelError
from kernel_client.eventlog import Case, Log
from kernel_client.measure import Measure
from kernel_client.replay.plan import ENTITY, POOL, POOL_CAPACITY, Plan, logged
from kernel_client.types import Process

RUNNING = "kernel.process.running.v1"
OPEN = "NEW,READY,RUNNING,WAITING,SUSPENDED"
ARRIVALS = 200
"""Cases a request."""
TICK = 0.02
OPEN_AT_MAX = 400
"""Open cases where the log is played as fast as can be: enough to keep everybody busy."""
QUIET = 10.0
"""Seconds without news after which it looks for itself,"""
STALLED = 90.0
"""and after which it gives up."""


class Replay:
    """One run. `on_progress(tasks done)` is called as it goes."""

    def __init__(
        self, kernel: Kernel, log: Log, plan: Plan, speed: float | None, on_progress: Callable[[int], None]
    ) -> None:
        self._kernel = kernel
        self._log = log
        self._plan = plan
        self._speed = speed
        self._on_progress = on_progress
        self._run = uuid.uuid4().hex[:12]
        self._open: dict[str, Case] = {}
        self._given: dict[int, tuple[str, int]] = {}
        """pid -> (case, position) of what runs and is not completed yet."""
        self._completer = Completer(kernel, self._done, self._refused)
        self._news = time.monotonic()
        self._changed = asyncio.Event()
        self.measure = Measure()
        self.cases_done = 0
        self.problems: list[str] = []
        self.began = 0.0
        self.seconds = 0.0
        self.interrupted = False

    async def play(self) -> None:
        """Until all cases are done. Cancelled (Ctrl-C), it ends what it has begun and returns."""
        for operator in self._plan.operators:
            self.measure.expect(operator, POOL_CAPACITY if operator == POOL else 1)
        try:
            await self._kernel.apply(self._plan.design)
            self.began = time.monotonic()
            await self._play()
        except asyncio.CancelledError:
            self.interrupted = True
        self.seconds = time.monotonic() - self.began if self.began else 0.0
        await self._end()

    async def _play(self) -> None:
        try:
            async with (
                self._kernel.stream(queue=self._plan.queue, types=[RUNNING]) as changes,
                asyncio.TaskGroup() as group,
            ):
                tasks = [
                    group.create_task(self._follow(changes)),
                    group.create_task(self._completer.run()),
                    group.create_task(self._watch()),
                ]
                await self._arrive()
                while self._open:
                    self._changed.clear()
                    await self._changed.wait()
                for task in tasks:
                    task.cancel()
        except* KernelError as found:
            self.problems += [str(error) for error in _leaves(found)]

    async def _arrive(self) -> None:
        """The first process of each case at its time; many at once where many are due."""
        cases = self._log.cases
        zero = cases[0].arrival if cases else 0.0
        at = 0
        while at < len(cases):
            now = time.monotonic() - self.began
            due = at
            room = OPEN_AT_MAX - len(self._open) if self._speed is None else ARRIVALS
            while due < len(cases) and due - at < min(ARRIVALS, room):
                if self._speed is not None and (cases[due].arrival - zero) / self._speed > now:
                    break
                due += 1
            if due == at:
                await asyncio.sleep(TICK)
                continue
            await self._create(cases[at:due])
            at = due

    async def _create(self, cases: list[Case]) -> None:
        self._open |= {case.id: case for case in cases}
        answers = await self._kernel.processes.create_many([self._plan.first(case, self._run) for case in cases])
        for case, answer in zip(cases, answers, strict=True):
            if "process" not in answer:
                self._problem(f"case {case.id}: {answer.get('problem', {}).get('detail')}")
                self._close(case.id)

    async def _follow(self, changes: Any) -> None:
        async for change in changes:
            self._running(change["data"])

    def _running(self, process: Any) -> None:
        """The kernel has given a task to somebody: from now on it takes its logged time."""
        context = process.get("context") or {}
        if context.get("run") != self._run or process["pid"] in self._given:
            return
        self._news = time.monotonic()
        case, position = process["entity"]["id"], int(context["position"])
        if case not in self._open:
            return
        task = logged(self._open[case], position)
        if task is None:
            return
        self._given[process["pid"]] = (case, position)
        self._completer.put(process["pid"], task.duration / self._speed if self._speed else 0.0)

    def _done(self, process: Process) -> None:
        case, position = self._given.pop(process["pid"], (None, 0))
        if case is None:
            return
        self._news = time.monotonic()
        self.measure.add(process, self._activity(process))
        self._on_progress(self.measure.tasks)
        found = self._open.get(case)
        if found is not None and position + 1 >= len(found.tasks):
            self.cases_done += 1
            self._close(case)

    def _activity(self, process: Process) -> str:
        route: list[int] = process["context"]["route"]
        position = int(process["context"]["position"])
        return self._plan.activity[route[position]]

    def _close(self, case: str) -> None:
        self._open.pop(case, None)
        self._changed.set()

    def _refused(self, pid: int, problem: dict[str, Any]) -> None:
        """It may have moved on (taken back, or completed by an earlier try of the same request): `_watch` looks again."""
        self._given.pop(pid, None)
        self._problem(f"pid {pid}: {problem.get('detail')}")

    def _problem(self, text: str) -> None:
        if len(self.problems) < 100:
            self.problems.append(text)

    async def _watch(self) -> None:
        """Looks for itself where there has been no news for a while; gives up where nothing moves at all."""
        looked = self._news
        while True:
            await asyncio.sleep(1)
            quiet = time.monotonic() - self._news
            if self._completer.waiting:
                self._news = time.monotonic()
            elif quiet > STALLED and self._open:
                raise KernelError(f"nothing moved for {STALLED:.0f} s; {len(self._open)} cases are open")
            elif quiet > QUIET and self._open and time.monotonic() - looked > QUIET:
                looked = time.monotonic()
                async for process in self._kernel.processes.list(state="RUNNING", queue=self._plan.queue):
                    self._running(process)

    async def _end(self) -> None:
        """Nothing of this run stays behind: its rule rests, what is open is cancelled."""
        try:
            async with asyncio.timeout(30):
                rule = {**self._plan.design["rules"][self._plan.rule], "enabled": False}
                await self._kernel.rules.put(self._plan.rule, rule)
                if self._open:
                    await self._cancel_open()
        except (KernelError, TimeoutError) as error:
            self._problem(f"at the end: {error or 'no answer'}")

    async def _cancel_open(self) -> None:
        for _ in range(3):  # the rule may have had events on their way to it
            left = [
                {"pid": process["pid"], "command": "cancel", "reason": "the replay was ended"}
                async for process in self._kernel.processes.list(state=OPEN, queue=self._plan.queue, entity_type=ENTITY)
                if process["context"].get("run") == self._run
            ]
            if left:
                await self._kernel.processes.commands(left)
            await asyncio.sleep(0.3)


def _leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
