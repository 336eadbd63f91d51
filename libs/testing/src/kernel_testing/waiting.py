"""Waiting for what becomes true."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")


class _Attempts:
    """Keeps what was seen last, to tell it when time is up."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout
        self._failure: AssertionError | None = None
        self._last: object = None

    def saw(self, result: object) -> None:
        self._failure, self._last = None, result
        self._check_time()

    def failed(self, failure: AssertionError) -> None:
        self._failure = failure
        self._check_time()

    def _check_time(self) -> None:
        if time.monotonic() < self._deadline:
            return
        if self._failure is not None:
            raise self._failure
        raise AssertionError(f"not within {self._timeout} s; the last result was {self._last!r}")


@overload
async def eventually(fn: Callable[[], Awaitable[T]], timeout: float = 10, interval: float = 0.02) -> T: ...
@overload
async def eventually(fn: Callable[[], T], timeout: float = 10, interval: float = 0.02) -> T: ...
async def eventually(fn: Callable[[], Any], timeout: float = 10, interval: float = 0.02) -> Any:
    """The first truthy result of `fn`; an AssertionError counts as not yet."""
    attempts = _Attempts(timeout)
    while True:
        try:
            result = fn()
            if inspect.isawaitable(result):
                result = await result
        except AssertionError as failure:
            attempts.failed(failure)
        else:
            if result:
                return result
            attempts.saw(result)
        await asyncio.sleep(interval)


def eventually_sync(fn: Callable[[], T], timeout: float = 10, interval: float = 0.02) -> T:
    """As `eventually`, for tests without a loop."""
    attempts = _Attempts(timeout)
    while True:
        try:
            result = fn()
        except AssertionError as failure:
            attempts.failed(failure)
        else:
            if result:
                return result
            attempts.saw(result)
        time.sleep(interval)
