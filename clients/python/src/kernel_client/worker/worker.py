"""Claims, carries out, answers: as many at a time as there is room for, until it is told to stop."""

import asyncio
import contextlib
import inspect
import logging
import os
import random
import signal
import socket
from collections.abc import Callable
from typing import Any, TypeVar

from kernel_client import local
from kernel_client.client import Kernel
from kernel_client.errors import BusyError, ConnectionFailedError, KernelError
from kernel_client.types import WorkItem
from kernel_client.worker.answers import Answers
from kernel_client.worker.errors import WorkError, told
from kernel_client.worker.heartbeats import Heartbeats
from kernel_client.worker.threads import Threads
from kernel_client.worker.typed import Signature, signature
from kernel_client.worker.work import Work

log = logging.getLogger("kernel.worker")

F = TypeVar("F", bound=Callable[..., Any])

MOST = 100
"""Processes in one claim, by the kernel's limit."""
GATHER = 0.003
"""Seconds that a full worker waits after its first free place, so that it claims more than one."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0


class Worker:
    """`kernel`: a client, the gateway's address, or None for KERNEL_URL or the local installation.

    `concurrency`: processes at a time. `lease`: seconds that each is held without a heartbeat; None: as the service says. `poll`:
    seconds that a claim waits.
    `grace`: seconds that what is under way has to finish when the worker stops; then it is given back.
    """

    def __init__(
        self,
        kernel: Kernel | str | None = None,
        token: str | Callable[[], str] | None = None,
        *,
        concurrency: int = 16,
        name: str | None = None,
        lease: float | None = None,
        poll: float = 30.0,
        grace: float = 30.0,
    ) -> None:
        if concurrency < 1 or (lease is not None and lease < 1) or not 0 <= poll <= 60:
            raise ValueError("concurrency takes 1 or more, lease 1 second or more, poll 0 to 60 seconds")
        self._kernel, self._token = kernel, token
        self.concurrency = concurrency
        self.name = name or f"{socket.gethostname()}-{os.getpid()}"
        self._lease, self._poll, self._grace = lease, poll, grace
        self._functions: dict[str, tuple[Callable[..., Any], Signature]] = {}
        self._threads = Threads(concurrency)
        self._active: dict[Work, None] = {}
        self._changed: asyncio.Event | None = None
        self._stop: asyncio.Event | None = None
        self.done = 0
        """Answers that the kernel has taken."""

    def service(self, name: str) -> Callable[[F], F]:
        """Decorates the function that carries out the service `name`; an async one runs on the loop, another in a thread."""

        def register(function: F) -> F:
            if name in self._functions:
                raise ValueError(f"{name} has a function already")
            self._functions[name] = (function, signature(function))
            return function

        return register

    def run(self) -> None:
        """Until SIGTERM or SIGINT; a second one gives back at once what is under way."""
        if not logging.getLogger().handlers:
            logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        asyncio.run(self.serve(signals=True))

    def stop(self) -> None:
        """Takes nothing new, finishes what is under way; again: gives that back. On the loop of `serve`."""
        if self._stop is None:
            return
        if self._stop.is_set():
            self._give_up()
        self._stop.set()

    async def serve(self, *, signals: bool = False) -> None:
        """Until `stop`. Raises KernelError where the kernel says that it will never work: 401, 403, 422."""
        if not self._functions:
            raise ValueError("no function is registered: decorate one with @worker.service(NAME)")
        self._stop, self._changed = asyncio.Event(), asyncio.Event()
        if signals:
            for each in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(each, self.stop)
        async with contextlib.AsyncExitStack() as stack:
            kernel = self._kernel
            if not isinstance(kernel, Kernel):
                made = local.connect() if kernel is None else Kernel(kernel, self._token)
                kernel = await stack.enter_async_context(made)
            beats = Heartbeats(kernel.work, self._active)
            beating = asyncio.ensure_future(beats.run())
            stack.callback(beating.cancel)
            log.info("%s: up to %s at a time of %s", self.name, self.concurrency, ", ".join(sorted(self._functions)))
            try:
                await self._claim_until_stopped(kernel, beats)
            finally:
                await self._finish()
            log.info("%s: stopped", self.name)

    async def _claim_until_stopped(self, kernel: Kernel, beats: Heartbeats) -> None:
        assert self._stop is not None
        answers, pause, away = Answers(kernel.work), FIRST_PAUSE, False
        stopping = asyncio.ensure_future(self._stop.wait())
        try:
            while not self._stop.is_set():
                if not await self._room(stopping):
                    return
                claiming = asyncio.ensure_future(self._claim(kernel))
                await asyncio.wait((claiming, stopping), return_when=asyncio.FIRST_COMPLETED)
                if not claiming.done():
                    claiming.cancel()
                    await asyncio.wait([claiming])
                    if claiming.cancelled():
                        return
                try:
                    items = claiming.result()
                except (ConnectionFailedError, BusyError) as error:
                    if not away:
                        log.warning("the kernel is away, trying again: %s", error)
                    away = True
                    await asyncio.wait([stopping], timeout=pause * random.uniform(0.5, 1))
                    pause = min(pause * 2, LONGEST_PAUSE)
                    continue
                if away:
                    log.info("the kernel is back")
                pause, away = FIRST_PAUSE, False
                for item in items:
                    self._begin(item, answers, beats)
        finally:
            stopping.cancel()

    async def _room(self, stopping: asyncio.Future[Any]) -> bool:
        """Waits for a free place; False where the worker stops before there is one."""
        assert self._changed is not None
        if len(self._active) < self.concurrency:
            return True
        while len(self._active) >= self.concurrency:
            self._changed.clear()
            freed = asyncio.ensure_future(self._changed.wait())
            await asyncio.wait((freed, stopping), return_when=asyncio.FIRST_COMPLETED)
            freed.cancel()
            if stopping.done():
                return False
        await asyncio.sleep(GATHER)
        return True

    async def _claim(self, kernel: Kernel) -> list[WorkItem]:
        room = min(MOST, self.concurrency - len(self._active))
        return await kernel.work.claim(
            self._functions, self.name, max=room, wait=self._poll, lease=self._lease, patience=0
        )

    def _begin(self, item: WorkItem, answers: Answers, beats: Heartbeats) -> None:
        work = Work(item, beats.sooner)
        self._active[work] = None
        beats.begin(work)
        work.task = asyncio.ensure_future(self._carry_out(work, answers))
        work.task.add_done_callback(lambda _: self._ended(work))

    def _ended(self, work: Work) -> None:
        del self._active[work]
        assert self._changed is not None
        self._changed.set()

    async def _carry_out(self, work: Work, answers: Answers) -> None:
        answer: dict[str, Any] = {"pid": work.pid, "token": work.token}
        try:
            answer["output"] = await self._result(work)
        except asyncio.CancelledError as error:
            if work.cancelled:
                return
            if work.stopping:
                answer |= {"release": True, "reason": f"the worker {self.name} stops"}
            else:
                answer["error"] = told(error)
        except Exception as error:
            answer["error"] = told(error)
            expected = isinstance(error, WorkError)
            log.log(
                logging.INFO if expected else logging.ERROR,
                "process %s (%s) failed: %s",
                work.pid,
                work.service,
                error,
                exc_info=None if expected else error,
            )
        work.answering = True
        await self._answer(work, answer, answers)

    async def _result(self, work: Work) -> dict[str, Any]:
        function, known = self._functions[work.service]
        arguments = known.arguments(work)
        if inspect.iscoroutinefunction(function):
            return known.output(await function(**arguments))
        value = await self._threads.call(function, arguments)
        return known.output(await value if inspect.isawaitable(value) else value)

    async def _answer(self, work: Work, answer: dict[str, Any], answers: Answers) -> None:
        try:
            said = await answers.give(answer)
            if said["status"] in (413, 422) and "output" in answer:
                error = {"class": "poison", "code": "invalid_output", "message": _detail(said)}
                log.error("process %s (%s): its output was refused: %s", work.pid, work.service, _detail(said))
                said = await answers.give({"pid": work.pid, "token": work.token, "error": error})
        except KernelError as error:
            log.error("process %s (%s): its answer could not be given: %s", work.pid, work.service, error)
            return
        if said["status"] == 200:
            self.done += 1
        else:
            log.warning("process %s (%s): its answer was refused: %s", work.pid, work.service, _detail(said))

    async def _finish(self) -> None:
        """What is under way ends within the grace, or is given back."""
        if self._active:
            log.info("%s: finishing %s", self.name, len(self._active))
        await self._until_empty(self._grace)
        if self._active:
            self._give_up()
            await self._until_empty(5)
        self._threads.close()

    async def _until_empty(self, seconds: float) -> None:
        tasks = [work.task for work in self._active if work.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)

    def _give_up(self) -> None:
        for work in self._active:
            work.stopping = True
            if work.task is not None and not work.answering:
                work.task.cancel()


def _detail(said: Any) -> str:
    return str(said.get("problem", {}).get("detail", said["status"]))[:2_000]
