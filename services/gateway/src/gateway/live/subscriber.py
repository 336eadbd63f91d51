"""One client of the stream: its filters, its place, and a bounded queue of what it has not taken yet."""

import asyncio
from collections import deque
from collections.abc import Callable

from gateway.live.filters import Filter, Sight
from gateway.live.record import Record

MAX_BYTES = 4 * 1024 * 1024


class Subscriber:
    """Records are offered to it; what fits and may be seen waits in the queue. One that takes too slowly is cut off."""

    def __init__(self, topic: str, sight: Sight, limit: int) -> None:
        self.topic = topic
        self.sight = sight
        self.filters: list[Filter] = []
        self.position: list[int] | None = None
        """While it catches up or skips what it has seen; None where it stands where the feed does."""
        self.cut_reason: str | None = None
        self.cut_off = asyncio.Event()
        self._limit = limit
        self._queue: deque[bytes] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    def offer(self, record: Record, id: Callable[[], str]) -> None:
        """Queues it where it is wanted and allowed; `id` tells where the client stands after it."""
        if not any(each.fits(record.data) for each in self.filters):
            return
        seen = self.sight.of(record)
        if seen is False:
            return
        self._put(record.message(id(), seen if isinstance(seen, dict) else None))

    def _put(self, message: bytes) -> None:
        if self.cut_reason is not None:
            return
        self._queue.append(message)
        self._bytes += len(message)
        if len(self._queue) > self._limit or self._bytes > MAX_BYTES:
            self.cut("too slow: more waited for you than is kept. Connect again with after=id of the last message.")
        elif len(self._queue) > self._limit // 2 or self._bytes > MAX_BYTES // 2:
            self._room.clear()
        self._wake.set()

    def cut(self, reason: str) -> None:
        """Ends it; what waits is dropped, for it will be asked for again."""
        if self.cut_reason is None:
            self.cut_reason = reason
            self.cut_off.set()
            self._queue.clear()
            self._wake.set()
            self._room.set()

    async def room(self) -> None:
        """Returns when at most half of the queue is taken: for who catches up, at the client's own pace."""
        await self._room.wait()

    async def take(self, timeout: float) -> list[bytes]:
        """What waits; empty after `timeout` seconds with nothing, or when it was cut off."""
        if not self._queue and self.cut_reason is None:
            self._wake.clear()
            try:
                async with asyncio.timeout(timeout):
                    await self._wake.wait()
            except TimeoutError:
                return []
        taken = list(self._queue)
        self._queue.clear()
        self._bytes = 0
        self._room.set()
        return taken
