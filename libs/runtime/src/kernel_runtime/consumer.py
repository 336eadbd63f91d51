"""Reading from Kafka: batches through the pipeline, offsets committed after the database.

One librdkafka consumer in one thread of its own; heartbeats are native and survive a busy event loop. What nobody here needs
is dropped by its headers, in that thread and before its body is decoded. Partitions may move at any time: inbox and versions
make a second delivery harmless, so no callback is trusted as a fence.
"""

import asyncio
import concurrent.futures
import contextlib
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog
from confluent_kafka import OFFSET_BEGINNING, OFFSET_INVALID, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Consumer as KafkaConsumer
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

log = structlog.get_logger()

T = TypeVar("T")

STUCK = 30.0
"""Seconds without a poll, or without progress while messages wait; then the process ends and is restarted."""

STUCK_BATCH = 60.0
"""Seconds that one try of a batch may take while Postgres answers others; then likewise."""

COMMIT_EVERY = 0.2
"""Seconds. What is delivered again after a crash is known by inbox and versions."""

MEASURE_EVERY = 5.0

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
        self._stop = threading.Event()
        self._dead: set[tuple[str, bytes]] = set()
        self._dead_unsure = True
        self._running: concurrent.futures.Future[None] | None = None
        self._done: dict[tuple[str, int], int] = {}
        """Offsets to commit."""
        self._seen: dict[tuple[str, int], tuple[int, float]] = {}
        """Position of each partition, and since when it stands there."""
        self._quiet_since = time.monotonic()
        self._measured = self._committed = 0.0
        self.active = False
        self.last_poll = time.monotonic()
        self.working_since: float | None = None
        self._settings: dict[str, Any] = {
            "bootstrap.servers": bootstrap,
            "group.id": prefix + group,
            "client.id": member,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "session.timeout.ms": 10_000,
            "heartbeat.interval.ms": 2_000,
            "max.poll.interval.ms": 600_000,
            "fetch.wait.max.ms": 500,
            "fetch.error.backoff.ms": 50,
            "fetch.queue.backoff.ms": 10,
            "queued.min.messages": 2_000,
            "queued.max.messages.kbytes": 16_384,
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 1_000,
            "socket.nagle.disable": True,
            "allow.auto.create.topics": False,
            "topic.metadata.refresh.interval.ms": 30_000,
            "log_level": 0,
        }
        if not assign:
            self._settings["group.instance.id"] = member
            self._settings["partition.assignment.strategy"] = "cooperative-sticky"

    @property
    def stands_still(self) -> bool:
        """Whether its thread has not asked for messages for too long, though it has none to work on."""
        return self.active and self.working_since is None and time.monotonic() - self.last_poll > STUCK

    async def run(self) -> None:
        """Until cancelled; raises what made the thread end."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        thread = threading.Thread(target=self._thread, args=(loop, ended), name=f"consumer {self.group}", daemon=True)
        self._stop.clear()
        self._dead_unsure, self.last_poll, self.active = True, time.monotonic(), True
        thread.start()
        try:
            await asyncio.shield(ended)
        finally:
            self._stop.set()
            await asyncio.shield(self._until_ended(thread))
            self.active, self.working_since = False, None
            if ended.done() and not ended.cancelled():
                ended.exception()

    async def _until_ended(self, thread: threading.Thread) -> None:
        """Lets the batch under way come to its end, for a second."""
        began = time.monotonic()
        while thread.is_alive() and (passed := time.monotonic() - began) < 3:
            if passed > 1 and self._running is not None:
                self._running.cancel()
            await asyncio.sleep(0.01)

    def _thread(self, loop: asyncio.AbstractEventLoop, ended: asyncio.Future[None]) -> None:
        error: Exception | None = None
        try:
            self._poll_forever(loop)
        except concurrent.futures.CancelledError:
            error = RuntimeError("stopped in the middle of a batch; it will be delivered again")
        except Exception as caught:
            error = caught

        def settle() -> None:
            if ended.done():
                return
            if error is None:
                ended.set_result(None)
            else:
                ended.set_exception(error)

        with contextlib.suppress(RuntimeError):  # the loop has ended before us
            loop.call_soon_threadsafe(settle)

    def _poll_forever(self, loop: asyncio.AbstractEventLoop) -> None:
        consumer = KafkaConsumer(self._settings)
        self._done, self._seen = {}, {}
        try:
            if self.assign:
                consumer.assign(self._positions(consumer))
            else:
                consumer.subscribe(
                    list(self._sources), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
                )
            while not self._stop.is_set():
                self.last_poll = now = time.monotonic()
                first = consumer.poll(0.25)
                if first is not None:
                    messages = [first, *consumer.consume(self._batch - 1, 0)]
                    self._take(loop, [message for message in messages if self._good(message)])
                if self._done and now - self._committed > COMMIT_EVERY:
                    self._committed = now
                    self._commit(consumer)
                if now - self._measured > MEASURE_EVERY:
                    self._measured = now
                    self._measure(consumer, now)
        finally:
            self._commit(consumer, wait=True)
            consumer.close()

    def _take(self, loop: asyncio.AbstractEventLoop, messages: Sequence[Any]) -> None:
        if not messages:
            return
        self._quiet_since = time.monotonic()
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
            self.working_since = time.monotonic()
            self._running = asyncio.run_coroutine_threadsafe(self._handle(batch), loop)
            self._running.result()
            self.working_since = self._running = None
        for message in messages:
            self._done[message.topic(), message.partition()] = message.offset() + 1

    def _positions(self, consumer: KafkaConsumer) -> list[TopicPartition]:
        while not self._stop.is_set():
            try:
                found = [consumer.list_topics(topic, timeout=5).topics[topic] for topic in self._sources]
                wanted = [TopicPartition(topic.topic, partition) for topic in found for partition in topic.partitions]
                if all(topic.partitions for topic in found):
                    return [
                        TopicPartition(
                            p.topic, p.partition, OFFSET_BEGINNING if p.offset == OFFSET_INVALID else p.offset
                        )
                        for p in consumer.committed(wanted, timeout=5)
                    ]
                log.warning("consumer.no_topic", group=self.group, topics=list(self._sources))
            except KafkaException as error:
                log.warning("consumer.kafka_away", group=self.group, error=str(error))
            self._stop.wait(0.5)
        return []

    def _assigned(self, _: KafkaConsumer, partitions: Sequence[TopicPartition]) -> None:
        """Whoever had them before may have left dead letters."""
        self._dead_unsure = True
        log.info("consumer.assigned", group=self.group, partitions=[f"{p.topic}/{p.partition}" for p in partitions])

    def _revoked(self, consumer: KafkaConsumer, partitions: Sequence[TopicPartition]) -> None:
        """The next owner begins where we are; a commit that fails costs it a second delivery."""
        self._commit(consumer)
        self._lost(consumer, partitions)

    def _lost(self, _: KafkaConsumer, partitions: Sequence[TopicPartition]) -> None:
        for gone in partitions:
            self._done.pop((gone.topic, gone.partition), None)
            self._seen.pop((gone.topic, gone.partition), None)
        log.info("consumer.revoked", group=self.group, partitions=[f"{p.topic}/{p.partition}" for p in partitions])

    def _good(self, message: Any) -> bool:
        error = message.error()
        if error is None:
            return True
        if error.code() == KafkaError._PARTITION_EOF:
            return False
        if error.fatal():
            raise KafkaException(error)
        log.warning("consumer.kafka_error", group=self.group, error=error.str())
        return False

    def _commit(self, consumer: KafkaConsumer, *, wait: bool = False) -> None:
        if not self._done:
            return
        offsets = [TopicPartition(*place, offset) for place, offset in self._done.items()]
        self._done = {}
        try:
            if wait:
                consumer.commit(offsets=offsets, asynchronous=False)
            else:
                consumer.commit(offsets=offsets)
        except KafkaException as error:
            log.info("consumer.commit_failed", group=self.group, error=str(error))

    def _measure(self, consumer: KafkaConsumer, now: float) -> None:
        """Lag by partition; raises where a partition stands still though messages wait in it."""
        ask = now - self._quiet_since > MEASURE_EVERY
        try:
            for at in consumer.position(consumer.assignment()):
                place = (at.topic, at.partition)
                if at.offset < 0:
                    continue
                _, end = consumer.get_watermark_offsets(TopicPartition(*place), timeout=1, cached=not ask)
                lag = max(0, end - at.offset)
                metrics.LAG.labels(self._sources[at.topic].name, str(at.partition)).set(lag)
                offset, since = self._seen.get(place, (-1, now))
                if offset != at.offset or not lag:
                    since = now
                self._seen[place] = (at.offset, since)
                if now - since > STUCK:
                    raise RuntimeError(f"{at.topic}/{at.partition} stands at {at.offset} while {lag} messages wait")
        except KafkaException as error:
            log.info("consumer.not_measured", group=self.group, error=str(error))
            self._seen = {}

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
        kind = next((value for name, value in headers if name == "ce_type"), None)
        if kind is None:
            raise ValueError("header ce_type is missing: publish a CloudEvent in Kafka's binary content mode")
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
        envelope = decode(headers, default_tenant=self._default_tenant)
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
        if self._dead_unsure or (self._dead and any(command.key in self._dead for command in batch.commands)):
            await self._patiently(self.refresh_dead)
            self._dead_unsure = False
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
            self.working_since = time.monotonic()
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
            self.working_since = time.monotonic()
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
                since = self.working_since
                if since is not None and time.monotonic() - since > STUCK_BATCH:
                    raise RuntimeError(f"a batch of {self.group} has not ended for {STUCK_BATCH:.0f} s")
            if self.stands_still:
                raise RuntimeError(f"the consumer of {self.group} has not polled for {STUCK:.0f} s")

    async def refresh_dead(self) -> None:
        """Looks which keys are blocked by a dead letter: another replica may have buried or settled one."""
        async with self._database.connection() as connection:
            self._dead = await dead_letters.dead_keys(connection)
