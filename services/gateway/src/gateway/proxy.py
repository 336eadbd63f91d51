"""The way to the services: one pool of kept-alive connections, replicas in turn, and what happens when one is away.

A replica that refuses connections is passed over for a second, and the request goes to the next: nothing had been sent. Where a
connection broke after the request had gone out, nobody knows whether it was carried out; then only what may safely come twice (a
read, or a command with an Idempotency-Key) is sent once more.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple

import aiohttp
import structlog
from kernel_runtime.problem import ProblemError, unavailable
from yarl import URL

from gateway.reply import RawHeaders, Reply

log = structlog.get_logger()

TIMEOUT = aiohttp.ClientTimeout(total=30, sock_connect=2)
LASTING = aiohttp.ClientTimeout(total=None, sock_connect=2, sock_read=60)
"""Of an answer that is passed on as it comes."""
AWAY = 1.0
"""Seconds that a replica which refused is passed over."""
KEEP_ALIVE = 30.0
"""Below the 75 s of the services: a connection is never closed under a request."""

PASSED_BACK = frozenset(
    name.encode()
    for name in (
        "content-type",
        "location",
        "etag",
        "retry-after",
        "link",
        "deprecation",
        "sunset",
        "last-modified",
        "cache-control",
        "content-disposition",
        "deprecation",
        "sunset",
        "idempotent-replayed",
        "ratelimit",
        "ratelimit-policy",
    )
)


class Stream(NamedTuple):
    """An answer whose body comes in chunks."""

    status: int
    headers: RawHeaders
    chunks: AsyncIterator[bytes]


class Replicas:
    """The addresses of one service, and which of them refused a moment ago."""

    def __init__(self, name: str, urls: Sequence[str]) -> None:
        if not urls:
            raise ValueError(f"no address for {name}")
        self.name = name
        self._urls = list(urls)
        self._away = dict.fromkeys(urls, 0.0)
        self._next = 0

    def in_turn(self) -> list[str]:
        """All of them, the next in turn first; those that are away come last, and still get their chance."""
        self._next = (self._next + 1) % len(self._urls)
        urls = self._urls[self._next :] + self._urls[: self._next]
        if len(urls) > 1:
            now = time.monotonic()
            urls.sort(key=lambda url: self._away[url] > now)
        return urls

    def refused(self, url: str) -> None:
        self._away[url] = time.monotonic() + AWAY


class Proxy:
    """Sends requests to services by name."""

    def __init__(self, upstreams: Mapping[str, Sequence[str]], internal_token: str) -> None:
        self._replicas = {name: Replicas(name, urls) for name, urls in upstreams.items()}
        self._token = internal_token
        self._session: aiohttp.ClientSession | None = None
        self.stopping = asyncio.Event()
        """Set when the gateway stops: what waits for something to happen ends then."""

    @property
    def services(self) -> list[str]:
        return list(self._replicas)

    async def open(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE, ttl_dns_cache=10),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=TIMEOUT,
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            headers={"x-kernel-token": self._token},
        )

    async def until_stop(self) -> None:
        """A task among those that end when the gateway stops."""
        try:
            await asyncio.Event().wait()
        finally:
            self.stopping.set()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def send(
        self,
        service: str,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        *,
        timeout: float | None = None,
    ) -> Reply:
        """The service's answer, whatever its status; raises ProblemError(503) where the service is away.

        `target` is the path with its query, encoded as the client sent it. `timeout` in seconds, where not the usual one.
        """
        replicas = self._replicas[service]
        twice = "idempotency-key" in headers or method == "GET" or (method == "PUT" and "if-match" not in headers)
        urls = replicas.in_turn()
        broken = False
        while urls:
            url = urls.pop(0)
            try:
                return await self._ask(url, method, target, headers, body, timeout)
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
                replicas.refused(url)
                log.info("proxy.refused", service=service, url=url, error=str(error))
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                log.warning("proxy.broken", service=service, url=url, error=str(error) or type(error).__name__)
                if broken or not twice or isinstance(error, TimeoutError):
                    raise ProblemError(unavailable(f"{service} did not answer{_doubt(method)}.")) from None
                broken = True
                if not urls:  # a connection kept from before may have been stale while new ones work
                    urls.append(url)
        raise ProblemError(unavailable(f"{service} is away. Try again in a moment."))

    @contextlib.asynccontextmanager
    async def stream(self, service: str, target: str, headers: Mapping[str, str]) -> AsyncIterator[Stream]:
        """The answer to a GET as it comes, however large; raises ProblemError(503) where the service is away.

        Where it breaks off in the middle, reading its chunks raises.
        """
        assert self._session is not None
        replicas = self._replicas[service]
        for url in replicas.in_turn():
            try:
                answer = await self._session.get(
                    URL(url + target, encoded=True), headers=headers, allow_redirects=False, timeout=LASTING
                )
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                replicas.refused(url)
                log.info("proxy.refused", service=service, url=url, error=str(error) or type(error).__name__)
                continue
            async with answer:
                try:
                    yield Stream(answer.status, _passed_back(answer.raw_headers), answer.content.iter_any())
                except (aiohttp.ClientError, TimeoutError, OSError) as error:
                    log.warning("proxy.broken", service=service, url=url, error=str(error) or type(error).__name__)
                    raise ProblemError(unavailable(f"{service} broke off.")) from None
            return
        raise ProblemError(unavailable(f"{service} is away. Try again in a moment."))

    async def _ask(
        self, url: str, method: str, target: str, headers: Mapping[str, str], body: bytes, seconds: float | None
    ) -> Reply:
        assert self._session is not None
        timeout = TIMEOUT if seconds is None else aiohttp.ClientTimeout(total=seconds, sock_connect=2)
        async with self._session.request(
            method,
            URL(url + target, encoded=True),
            data=body or None,
            headers=headers,
            allow_redirects=False,
            timeout=timeout,
        ) as answer:
            return Reply(answer.status, await answer.read(), _passed_back(answer.raw_headers))


def _doubt(method: str) -> str:
    if method == "GET":
        return ""
    return "; it may or may not have been carried out. Look, or send an Idempotency-Key and the same again"


def _passed_back(headers: Sequence[tuple[bytes, bytes]]) -> RawHeaders:
    return [(lower, value) for name, value in headers if (lower := name.lower()) in PASSED_BACK]
