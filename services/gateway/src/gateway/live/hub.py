"""What the two ways of speaking to a stream's client share: who it is, where it begins, and its life until it ends."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from urllib.parse import parse_qsl

import structlog
from kernel_contracts.topics import PROCESS_EVENTS, RESOURCE_EVENTS
from kernel_runtime.database import Database
from kernel_runtime.problem import Problem, ProblemError, invalid, unavailable

from gateway.auth.policy import POLICY
from gateway.auth.principal import Principal
from gateway.auth.tokens import LEEWAY, Tokens, unauthorized
from gateway.live import catch_up
from gateway.live.feed import Feed, FeedAwayError
from gateway.live.filters import PROCESSES, RESOURCES, Sight
from gateway.live.position import PositionError, decode
from gateway.live.subscriber import Subscriber
from gateway.operation import quoted
from gateway.proxy import Proxy
from gateway.store import redeem_ticket

log = structlog.get_logger()

HEARTBEAT = 15.0
ROLES_AGAIN = 30.0
"""Seconds after which a mere operator's roles are read again."""
FAREWELL = 2.0
"""Seconds that a client which is cut off has to take the reason."""
TOPICS: Mapping[str, str] = {PROCESSES: PROCESS_EVENTS, RESOURCES: RESOURCE_EVENTS}

Headers = Mapping[bytes, bytes]
Writer = Callable[[Sequence[bytes]], Awaitable[None]]


class Hub:
    """The feeds, and how clients come to them."""

    def __init__(
        self,
        bootstrap: str,
        tokens: Tokens,
        database: Database,
        proxy: Proxy,
        *,
        member: str,
        ring: int = 20_000,
        queue: int = 1_000,
        max_clients: int = 5_000,
        prefix: str = "",
    ) -> None:
        self._bootstrap = bootstrap
        self._tokens = tokens
        self._database = database
        self._proxy = proxy
        self._queue = queue
        self._max_clients = max_clients
        self.clients = 0
        self.feeds = {sign: Feed(bootstrap, prefix + topic, sign, member, ring) for sign, topic in TOPICS.items()}

    async def run(self) -> None:
        """Stops feeds that nobody listens to. Forever."""
        try:
            while True:
                await asyncio.sleep(5)
                for feed in self.feeds.values():
                    feed.stop_if_quiet()
        finally:
            for feed in self.feeds.values():
                feed.stop("the gateway stops. Connect again with after=id of the last message.")

    async def authenticate(self, headers: Headers, query: Sequence[tuple[str, str]]) -> Principal:
        """By the Authorization header, or by a ticket in the query; a token there is refused."""
        given = dict(query)
        if "token" in given or "access_token" in given:
            raise ProblemError(unauthorized("No token in an address: get a ticket from POST /v1/stream:ticket."))
        if "ticket" in given and b"authorization" not in headers:
            principal = await redeem_ticket(self._database, given["ticket"][:100])
            if principal is None:
                raise ProblemError(unauthorized("The ticket is unknown, used or too old. Get a new one."))
        else:
            principal = await self._tokens.authenticate(headers)
        POLICY["GET /v1/stream"].check(principal, {})
        return principal

    async def begin(self, after: str | None, topic: str | None = None) -> tuple[str, list[int]]:
        """Which topic, and from where on; raises ProblemError: 410, 422, 503."""
        if self.clients >= self._max_clients:
            raise ProblemError(unavailable("Too many are connected to this replica.", 5))
        position: list[int] | None = None
        if after:
            try:
                told, position = decode(after)
            except PositionError as error:
                raise ProblemError(invalid(str(error), [("/after", str(error))])) from None
            if told not in self.feeds or topic not in (None, told):
                raise ProblemError(invalid("`after` is of another stream than what is asked for now."))
            topic = told
        topic = topic or PROCESSES
        feed = self.feeds[topic]
        try:
            await feed.ensure()
            if position is not None:
                await catch_up.check(feed, self._bootstrap, position)
        except FeedAwayError:
            raise ProblemError(unavailable("The bus is away. Try again in a moment.")) from None
        except catch_up.PositionGoneError:
            raise ProblemError(
                Problem(
                    410, "Gone", "What came after this id is no longer kept. Read anew and connect without `after`."
                )
            ) from None
        return topic, list(feed.end) if position is None else position

    async def subscriber(self, principal: Principal, topic: str) -> Subscriber:
        sight = Sight(principal)
        await self._read_roles(sight)
        return Subscriber(topic, sight, self._queue)

    async def catch_up(self, subscriber: Subscriber, position: list[int]) -> None:
        await catch_up.catch_up(self.feeds[subscriber.topic], self._bootstrap, subscriber, position)

    async def serve(self, subscriber: Subscriber, write: Writer, gone: Awaitable[object]) -> str | None:
        """Writes what comes until the client is `gone` (then None) or has to be cut off (then why)."""
        writing = asyncio.ensure_future(self._write(subscriber, write))
        leaving = asyncio.ensure_future(gone)
        cut = asyncio.ensure_future(subscriber.cut_off.wait())
        self.clients += 1
        try:
            await asyncio.wait({writing, leaving, cut}, return_when=asyncio.FIRST_COMPLETED)
            if leaving.done():
                return None
            await asyncio.wait({writing, leaving}, timeout=FAREWELL, return_when=asyncio.FIRST_COMPLETED)
            return subscriber.cut_reason
        finally:
            self.clients -= 1
            self.feeds[subscriber.topic].detach(subscriber)
            for task in (writing, leaving, cut):
                task.cancel()
            await asyncio.gather(writing, leaving, cut, return_exceptions=True)

    async def _write(self, subscriber: Subscriber, write: Writer) -> None:
        principal = subscriber.sight.principal
        roles_read = time.monotonic()
        while subscriber.cut_reason is None:
            left = principal.expires + LEEWAY - time.time()
            if left <= 0:
                subscriber.cut("the token has ended. Connect again with a new one and after=id of the last message.")
                return
            messages = await subscriber.take(min(HEARTBEAT, left))
            if subscriber.cut_reason is None:
                await write(messages)
            if not subscriber.sight.wide and time.monotonic() - roles_read > ROLES_AGAIN:
                roles_read = time.monotonic()
                await self._read_roles(subscriber.sight)

    async def _read_roles(self, sight: Sight) -> None:
        """What a mere operator may run. Where resource-svc is away, what was known stays."""
        principal = sight.principal
        if sight.wide or principal.operator is None:
            return
        path = f"/v1/operators/{quoted(principal.operator)}"
        try:
            reply = await self._proxy.send("resource-svc", "GET", path, principal.inner_headers())
        except ProblemError:
            return
        sight.roles = frozenset(reply.json().get("roles") or ()) if reply.good else frozenset()


def query_of(raw: bytes) -> list[tuple[str, str]]:
    return parse_qsl(raw.decode("latin-1"), keep_blank_values=True)
