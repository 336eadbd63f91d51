"""One request and its answer. What may safely be sent again is, until the caller's patience ends.

GET and PUT may come twice; everything else carries an Idempotency-Key, the same each time, so that it has one effect. Sent again:
broken connections, 429, 502, 503, 504; after what Retry-After says, else with growing pauses.
"""

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import orjson
from yarl import URL

from kernel_client import errors
from kernel_client.errors import ConnectionFailedError

Params = Mapping[str, Any]

AGAIN = frozenset((429, 502, 503, 504))
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 5.0
PAGE = 500


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    data: Any
    headers: Mapping[str, str]


class Transport:
    """Connections to one gateway. `token` may be a function: it is asked for each request, so it may renew."""

    def __init__(
        self,
        url: str,
        token: str | Callable[[], str] | None,
        *,
        timeout: float = 30,
        patience: float = 60,
        connections: int = 100,
    ) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=5)
        self._patience = patience
        self._connections = connections
        self._opened: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Transport":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.close()
            self._opened = None

    @property
    def session(self) -> aiohttp.ClientSession:
        """Made within the running loop, at first use."""
        if self._opened is None:
            self._opened = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=30),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=self._timeout,
            )
        return self._opened

    def authorization(self) -> dict[str, str]:
        token = self._token() if callable(self._token) else self._token
        return {"authorization": f"Bearer {token}"} if token else {}

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: Params | None = None,
        raw: bytes | None = None,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
        key: str | None = None,
        keyed: bool = True,
        timeout: float | None = None,
        patience: float | None = None,
    ) -> Answer:
        """The answer of a success; raises ApiError, or ConnectionFailedError. `key` is the Idempotency-Key (made where None).

        `keyed` False: none is sent. `timeout`, `patience`: in seconds, where not those of this client.
        """
        sent = dict(headers or {})
        data = raw if raw is not None else orjson.dumps(body) if body is not None else None
        if data is not None:
            sent["content-type"] = content_type
        if keyed and method not in ("GET", "PUT"):
            sent["idempotency-key"] = key or uuid.uuid4().hex
        address = URL(self.url + path + query(params), encoded=True)
        pauses = Pauses(self._patience if patience is None else patience)
        limit = self._timeout if timeout is None else aiohttp.ClientTimeout(total=timeout, sock_connect=5)
        while True:
            try:
                async with self.session.request(
                    method,
                    address,
                    data=data,
                    headers={**self.authorization(), **sent},
                    allow_redirects=False,
                    timeout=limit,
                ) as response:
                    content = await response.read()
                    status, told = response.status, response.headers
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError) as error:
                if not await pauses.take():
                    raise ConnectionFailedError(f"{self.url} does not answer: {_said(error)}") from None
                continue
            value = parsed(content, told.get("content-type", ""))
            if status < 400:
                return Answer(status, value, told)
            if status not in AGAIN or not await pauses.take(retry_after(told.get("retry-after"))):
                raise errors.of(status, value)

    async def download(self, path: str, params: Params | None = None) -> AsyncIterator[bytes]:
        """A large answer, chunk by chunk; raises ApiError, or ConnectionFailedError where it breaks off."""
        address = URL(self.url + path + query(params), encoded=True)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=60)
        try:
            async with self.session.get(address, headers=self.authorization(), timeout=timeout) as response:
                if response.status >= 400:
                    told = response.headers.get("content-type", "")
                    raise errors.of(response.status, parsed(await response.read(), told))
                async for chunk in response.content.iter_any():
                    yield chunk
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ConnectionFailedError(f"{self.url} broke off: {_said(error)}") from None

    async def pages(self, path: str, params: Params | None = None) -> AsyncIterator[dict[str, Any]]:
        """Every item of a list, fetched a page at a time."""
        wanted = {"limit": PAGE, **{name: value for name, value in (params or {}).items() if value is not None}}
        while True:
            page = (await self.request("GET", path, params=wanted)).data
            for item in page["items"]:
                yield item
            if not page.get("next"):
                return
            wanted["cursor"] = page["next"]


class Pauses:
    """Growing pauses with some chance in them, until the patience ends."""

    def __init__(self, patience: float) -> None:
        self._until = time.monotonic() + patience
        self._next = FIRST_PAUSE

    async def take(self, least: float | None = None) -> bool:
        """Waits; False, at once, where that would take longer than there is patience."""
        pause = max(least or 0.0, self._next * random.uniform(0.5, 1))
        self._next = min(self._next * 2, LONGEST_PAUSE)
        if time.monotonic() + pause > self._until:
            return False
        await asyncio.sleep(pause)
        return True


def query(params: Params | None) -> str:
    """With its question mark; values that are None are left out, lists are joined by commas."""
    if not params:
        return ""
    pairs = [(name, _value(value)) for name, value in params.items() if value is not None]
    return "?" + urlencode(pairs) if pairs else ""


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple | set | frozenset):
        return ",".join(map(str, value))
    return str(value)


def segment(name: object) -> str:
    """A name as one segment of a path."""
    return quote(str(name), safe="")


def parsed(content: bytes, content_type: str) -> Any:
    """JSON where it is that, else text."""
    if "json" in content_type:
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError:
            pass
    return content.decode("utf-8", "replace") or None


def retry_after(text: str | None) -> float | None:
    """Seconds, from a number or an HTTP date; None where there is none or it is neither."""
    if not text:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__
