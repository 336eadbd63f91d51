"""From Kafka to the pipeline: which message is which command, and what becomes of those that can't be carried out.

What nobody here needs is dropped by its headers, before its body is decoded. What can't be read is a dead letter at once; what
breaks is tried some times, counted in the database; later ones of its key are parked behind it.
"""

import asyncio
import concurrent.futures
import contextlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog
from kernel_contracts.envelope import Envelope, Headers, decode
from kernel_contracts.topics import BY_NAME, OTHERS
from pydantic import BaseModel, ValidationError

from kernel_runtime import dead_letters, metrics
from kernel_runtime.command import Cause, Command, fingerprint
from kernel_runtime.database import AWAY, Database
from kernel_runtime.dead_letters import RawMessage
from kernel_runtime.http import check_json
from kernel_runtime.pipeline import BehindError, Pipeline, is_away
from kernel_runtime.problem import ProblemError, validation_problem
from kernel_runtime.reader import MEASURE_EVERY, STUCK, Reader

log = structlog.get_logger()

T = TypeVar("T")

STUCK_BATCH = 60.0
"""Seconds that one try of a batch may take while Postgres answers others; then likewise."""

Letter = tuple[RawMessage, str, str, int]
"""Message, state, reason, attempts."""


@dataclass(frozen=True, slots=True)
class Route:
    """What becomes of one message type: the handler's name, the body's model (None: the body isn't needed).

    `remember` puts its id into the inbox: for what the aggregate does not fence by itself. `wants` looks at the headers.
    `parse(envelope, headers, raw)` makes the body instead of a model, and raises ValueError with what is wrong. On another
    `topic` than that one, the type is as if it had no route.
    """

    name: str
    model: type[BaseModel] | None = None
    remember: bool = False
    wants: Callable[[Mapping[str, bytes]], bool] | None = None
    parse: Callable[[Envelope, Headers, bytes], Any] | None = None
    topic: str | None = None


@dataclass(frozen=True, slots=True)
class _Source:
    """What is special about a topic."""

    name: str
    strict: bool
    """Commands: a type without a route is a mistake of its sender. Events of such a type are somebody else's."""
    foreign: bool
    """Written by systems that are not ours too: looked at more closely."""

    @classmethod
    def of(cls, name: str) -> "_Source":
        return cls(name, name.endswith("-commands"), OTHERS in BY_NAME[name].producers)


@dataclass(slots=True)
class _Batch:
    commands: list[Command] = field(default_factory=list)
    raws: list[Any] = field(default_factory=list)
    """The message of each command."""
    letters: list[Letter] = field(default_factory=list)


class Consumer:
    """Reads `topics` for `group`; `routes` maps `ce_type` to a Route, `other` takes types that are not in it.

    On a topic of commands an unknown type is a dead letter; on a topic of events it is somebody else's and skipped.
    `assign`: reads all partitions alone, from the group's offsets, without membership (the holder of a lease does; it runs
    `run` while it holds the lease, and needs a group that nobody subscribes with).
    """

    def __init__(
        self,
        bootstrap: str,
        group: str,
        topics: Sequence[str],
        routes: Mapping[str, Route],
        pipeline: Pipeline,
        database: Database,
        *,
        member: str,
        default_tenant: str,
        other: Route | None = None,
        assign: bool = False,
        batch: int = 500,
        attempts: int = 5,
        prefix: str = "",
    ) -> None:
        self.group = group
        self.assign = assign
        self._sources = {prefix + name: _Source.of(name) for name in topics}
        self._routes = {kind.encode(): route for kind, route in routes.items()}
        self._pipeline = pipeline
        self._database = database
        self._default_tenant = default_tenant
        self._other = other
        self._batch = batch
        self._attempts = attempts
        self._dead: set[tuple[str, bytes]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: concurrent.futures.Future[None] | None = None
        self._working_since: float | None = None
        """When the current try of a batch began."""
        self._reader = Reader(
            bootstrap,
            prefix + group,
            {name: source.name for name, source in self._sources.items()},
            member=member,
            assign=assign,
            batch=batch,
            take=self._take,
        )

    @property
    def active(self) -> bool:
        return self._reader.active

    @property
    def stands_still(self) -> bool:
        return self._reader.stands_still

    async def run(self) -> None:
        """Until cancelled; raises what made the reading end."""
        self._loop = asyncio.get_running_loop()
        try:
            await self._reader.run(self._interrupt)
        finally:
            self._working_since = None

    def _interrupt(self) -> None:
        if self._running is not None:
            self._running.cancel()

    def _take(self, messages: Sequence[Any]) -> None:
        """In the reader's thread: drops what nobody needs, and waits for the rest to be carried out."""
        batch = _Batch()
        for message in messages:
            made = self._read(message)
            if isinstance(made, Command):
                batch.commands.append(made)
                batch.raws.append(message)
            elif made is not None:
                batch.letters.append((self._raw(message), "dead", made, 0))
        for topic, number in Counter(message.topic() for message in messages).items():
            metrics.CONSUMED.labels(self._sources[topic].name).inc(number)
        if batch.commands or batch.letters:
            assert self._loop is not None
            self._working_since = time.monotonic()
            self._running = asyncio.run_coroutine_threadsafe(self._handle(batch), self._loop)
            self._running.result()
            self._working_since = self._running = None

    def _read(self, message: Any) -> Command | str | None:
        """The command in a message, why it can't be read, or None where nobody here needs it."""
        try:
            return self._command(self._sources[message.topic()], message)
        except ProblemError as error:
            return error.problem.detail
        except ValidationError as error:
            return validation_problem(error).detail
        except ValueError as error:
            return str(error)
        except Exception as error:
            log.error("consumer.reading_failed", topic=message.topic(), offset=message.offset(), exc_info=error)
            return f"reading it failed: {error!r}"

    def _command(self, source: _Source, message: Any) -> Command | None:
        headers = message.headers() or []
        kind = _type_of(headers)
        route = self._routes.get(kind, self._other)
        if route is not None and route.topic not in (None, source.name):
            route = self._other
        if route is None or route.topic not in (None, source.name):
            if source.strict:
                raise ValueError(
                    f"type {kind.decode('utf-8', 'replace')[:200]!r} is not one that {source.name} carries"
                )
            return None
        if route.wants is not None and not route.wants(dict(headers)):
            return None
        envelope = decode(headers, default_tenant=self._default_tenant, trusted=not source.foreign)
        raw: bytes = message.value() or b""
        if source.foreign:
            check_json(raw)
        body: Any = raw
        if route.parse is not None:
            body = route.parse(envelope, headers, raw)
        elif route.model is not None:
            body = route.model.model_validate_json(raw)
        key = message.key()
        return Command(
            id=f"{envelope.tenant}|{envelope.source}|{envelope.id}",
            name=route.name,
            tenant=envelope.tenant,
            body=body,
            by=envelope.source,
            cause=Cause(envelope.id, envelope.correlation or envelope.id, envelope.depth + 1, envelope.traceparent),
            fingerprint=fingerprint(envelope.type, raw) if route.remember else None,
            envelope=envelope,
            key=None if key is None else (source.name, key),
        )

    def _raw(self, message: Any) -> RawMessage:
        try:
            headers = message.headers() or []
        except ValueError:
            headers = []
        source = self._sources[message.topic()]
        return RawMessage(source.name, message.partition(), message.offset(), message.key(), message.value(), headers)

    async def _handle(self, batch: _Batch) -> None:
        if self._reader.moved or (self._dead and any(command.key in self._dead for command in batch.commands)):
            self._reader.moved = False
            await self._patiently(self.refresh_dead)
        commands, raws, letters = batch.commands, batch.raws, batch.letters
        if self._dead:
            commands, raws = self._without_parked(commands, raws, letters)
        await self._carry_out(commands, raws, letters)
        await self._bury(letters)

    def _without_parked(
        self, commands: Sequence[Command], raws: Sequence[Any], letters: list[Letter]
    ) -> tuple[list[Command], list[Any]]:
        """What may be carried out; the rest becomes letters."""
        free: list[Command] = []
        free_raws: list[Any] = []
        for command, raw in zip(commands, raws, strict=True):
            if command.key in self._dead:
                letters.append((self._raw(raw), "parked", "an earlier message of this key is a dead letter", 0))
            else:
                free.append(command)
                free_raws.append(raw)
        return free, free_raws

    async def _carry_out(self, commands: list[Command], raws: list[Any], letters: list[Letter]) -> None:
        delay = 0.05
        counted: list[RawMessage] = []
        while commands:
            self._working_since = time.monotonic()
            results = await self._pipeline.submit_all(commands)
            again: list[Command] = []
            again_raws: list[Any] = []
            for command, raw, result in zip(commands, raws, results, strict=True):
                if not isinstance(result, Exception):
                    continue
                if not isinstance(result, BehindError) and not is_away(result):
                    counted.append(self._raw(raw))
                    if await self._given_up(counted[-1], repr(result)):
                        continue
                again.append(command)
                again_raws.append(raw)
            commands, raws = self._without_parked(again, again_raws, letters) if self._dead else (again, again_raws)
            if commands:
                await asyncio.sleep(delay)
                delay = min(delay * 2, 2.0)
        if counted:
            await self._patiently(self._forget, counted)

    async def _given_up(self, raw: RawMessage, reason: str) -> bool:
        """Counts a try; buries the message where it was the last."""
        count = await self._patiently(self._count, raw, reason)
        if count < self._attempts:
            return False
        await self._bury([(raw, "dead", reason, count)])
        if raw.key is not None:
            self._dead.add((raw.topic, raw.key))
        return True

    async def _count(self, raw: RawMessage, reason: str) -> int:
        async with self._database.connection() as connection:
            return await dead_letters.count_attempt(connection, raw, reason)

    async def _forget(self, raws: Sequence[RawMessage]) -> None:
        async with self._database.connection() as connection:
            await dead_letters.forget_attempts(connection, raws)

    async def _bury(self, letters: Sequence[Letter]) -> None:
        if not letters:
            return

        async def write() -> None:
            async with self._database.connection() as connection:
                await dead_letters.bury(connection, letters, self.group)

        await self._patiently(write)
        for raw, state, reason, _ in letters:
            metrics.DEAD_LETTERS.labels(raw.topic).inc()
            log.warning("consumer.dead_letter", topic=raw.topic, offset=raw.offset, state=state, reason=reason)

    async def _patiently(self, work: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        """Tries again for as long as Postgres is away."""
        delay = 0.1
        while True:
            self._working_since = time.monotonic()
            try:
                return await work(*arguments)
            except AWAY as error:
                if not is_away(error):
                    raise
                log.warning("consumer.database_away", error=str(error) or type(error).__name__)
            await asyncio.sleep(delay)
            delay = min(delay * 2, 2.0)

    async def watch(self) -> None:
        """Raises where the reader stands still, so that the process is restarted. Forever."""
        while True:
            await asyncio.sleep(MEASURE_EVERY)
            if not self.active:
                continue
            with contextlib.suppress(*AWAY):
                await self.refresh_dead()
                since = self._working_since
                if since is not None and time.monotonic() - since > STUCK_BATCH:
                    raise RuntimeError(f"a batch of {self.group} has not ended for {STUCK_BATCH:.0f} s")
            if self.stands_still:
                raise RuntimeError(f"the consumer of {self.group} has not polled for {STUCK:.0f} s")

    async def refresh_dead(self) -> None:
        """Looks which keys are blocked by a dead letter: another replica may have buried or settled one."""
        async with self._database.connection() as connection:
            self._dead = await dead_letters.dead_keys(connection)


def _type_of(headers: Headers) -> bytes:
    for name, value in headers:
        if name == "ce_type":
            return value
    raise ValueError("header ce_type is missing: publish a CloudEvent in Kafka's binary content mode")
