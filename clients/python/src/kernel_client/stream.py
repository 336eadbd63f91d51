"""Changes as they happen: server-sent events that survive broken connections without a gap.

async with kernel.stream(queue="default") as changes:     # from here on nothing is missed
    async for change in changes: ...
"""

from collections.abc import AsyncIterator, Iterable
from types import TracebackType
from typing import Any

import aiohttp
import orjson
from yarl import URL

from kernel_client import errors
from kernel_client.errors import ConnectionFailedError
from kernel_client.transport import AGAIN, Pauses, Transport, parsed, query, retry_after
from kernel_client.types import Change

_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=45)
"""Heartbeats come every 15 s: silence for three of them is a dead connection."""
_TYPE_WITHIN = 400
"""A message begins with its id and type, so the type is found without reading the rest."""


class Stream:
    """Opens on entering; iterating yields changes. `types`: only these (the others are not even parsed)."""

    def __init__(
        self, transport: Transport, filters: dict[str, Any], *, after: str | None, types: Iterable[str], patience: float
    ) -> None:
        self._transport = transport
        self._filters = filters
        self._types = tuple(f'"type":"{each}"'.encode() for each in types)
        self._patience = patience
        self._response: aiohttp.ClientResponse | None = None
        self.position = after
        """Where the reader stands: what a later stream takes as `after`."""

    async def __aenter__(self) -> "Stream":
        await self._connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._drop()

    def _drop(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None

    async def _connect(self) -> None:
        """Raises ApiError where the kernel does not want to, ConnectionFailedError where it can't be reached."""
        pauses = Pauses(self._patience)
        while True:
            address = self._transport.url + "/v1/stream" + query({**self._filters, "after": self.position})
            try:
                response = await self._transport.session.get(
                    URL(address, encoded=True),
                    headers={**self._transport.authorization(), "accept": "text/event-stream"},
                    timeout=_TIMEOUT,
                )
                if response.status == 200:
                    self._response = response
                    return
                content = await response.read()
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError) as error:
                if not await pauses.take():
                    raise ConnectionFailedError(f"{self._transport.url} does not answer: {error}") from None
                continue
            problem = parsed(content, response.headers.get("content-type", ""))
            wait = retry_after(response.headers.get("retry-after"))
            if response.status not in AGAIN or not await pauses.take(wait):
                raise errors.of(response.status, problem)

    async def __aiter__(self) -> AsyncIterator[Change]:
        while True:
            if self._response is None:
                await self._connect()
            assert self._response is not None
            try:
                async for block in _blocks(self._response.content):
                    change = self._read(block)
                    if change is not None:
                        yield change
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError):
                pass
            self._drop()

    def _read(self, block: bytes) -> Change | None:
        """One event of the stream; a heartbeat only moves the position."""
        change: Change | None = None
        for line in block.split(b"\n"):
            if line.startswith(b"id:"):
                self.position = line[3:].strip().decode()
            elif line.startswith(b"data:") and self._wanted(line):
                change = orjson.loads(line[5:])
        return change

    def _wanted(self, line: bytes) -> bool:
        return not self._types or any(line.find(each, 0, _TYPE_WITHIN) >= 0 for each in self._types)


async def _blocks(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """What lies between empty lines. The unfinished rest at the end is dropped: it comes again."""
    rest = b""
    async for chunk in content.iter_any():
        *whole, rest = (rest + chunk).split(b"\n\n")
        for block in whole:
            yield block
