"""Threads for functions that are not async. They are daemons: one that hangs doesn't keep the program from ending."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any

Job = tuple[Callable[[], Any], asyncio.AbstractEventLoop, asyncio.Future[Any]]


class Threads:
    """At most `most`, made as they are needed."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._made = 0
        self._idle = 0
        self._lock = threading.Lock()

    def call(self, function: Callable[..., Any], arguments: dict[str, Any]) -> asyncio.Future[Any]:
        """Its result, on the running loop."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        self._jobs.put((partial(contextvars.copy_context().run, partial(function, **arguments)), loop, answer))
        with self._lock:
            if self._idle == 0 and self._made < self._most:
                self._made += 1
                threading.Thread(target=self._run, name=f"kernel-worker-{self._made}", daemon=True).start()
        return answer

    def close(self) -> None:
        """Those that are idle end, the others after what they do."""
        for _ in range(self._made):
            self._jobs.put(None)

    def _run(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            job = self._jobs.get()
            with self._lock:
                self._idle -= 1
            if job is None:
                return
            call, loop, answer = job
            try:
                result, error = call(), None
            except BaseException as raised:
                result, error = None, raised
            try:
                loop.call_soon_threadsafe(_settle, answer, result, error)
            except RuntimeError:
                return  # the loop has ended


def _settle(answer: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if answer.done():
        return
    if isinstance(error, StopIteration):
        error = RuntimeError("StopIteration")
    if error is None:
        answer.set_result(result)
    else:
        answer.set_exception(error)
