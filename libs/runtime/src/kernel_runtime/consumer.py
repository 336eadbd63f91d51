"""Reading from Kafka: batches through the pipeline, offsets committed after the database.

One librdkafka consumer in one thread of its own; heartbeats are native and survive a busy event loop. What nobody here needs
is dropped by its headers, before its body is decoded. Partitions may move at any time: inbox and versions make a second
delivery harmless, so no callback is trusted as a fence.
"""

import asyncio
import concurrent.futures
import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from confluent_kafka import OFFSET_BEGINNING, OFFSET_INVALID, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Consumer as KafkaConsumer
from kernel_contracts.envelope import Envelope, Headers, decode
from kernel_contracts.topics import BY_NAME
from pydantic import BaseModel, ValidationError

from kernel_runtime import dead_letters, metrics
from kernel_runtime.command import Cause, Command, fingerprint
from kernel_runtime.database import AWAY, Database
from kernel_runtime.dead_letters import RawMessage
from kernel_runtime.pipeline import Pipeline, is_away
from kernel_runtime.problem import validation_problem

log = structlog.get_logger()

STUCK = 30.0
"""Seconds that one batch may take while the database answers; then the process ends and is restarted."""


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


class Consumer:
    """Reads `topics` for `group`; `routes` maps `ce_type` to a Route, `other` takes types that are not in it.

    On a topic of commands an unknown type is a dead letter; on a topic of events it is somebody else's and skipped.
    `assign`: reads all partitions alone, from the group's offsets, without membership (the holder of a lease does).
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
    ) -> None:
        self._group = group
        self._topics = list(topics)
        self._routes = routes
        self._pipeline = pipeline
        self._database = database
        self._default_tenant = default_tenant
        self._other = other
        self._assign = assign
        self._batch = batch
        self._attempts = attempts
        self._stop = threading.Event()
        self._dead: set[tuple[str, bytes]] = set()
        self.last_poll = time.monotonic()
        self.working_since: float | None = None
        self._settings: dict[str, Any] = {
            "bootstrap.servers": bootstrap,
            "group.id": group,
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

    async def run(self) -> None:
        """Until cancelled; raises what made the thread end."""
        async with self._database.connection() as connection:
            self._dead = await dead_letters.dead_keys(connection)
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        thread = threading.Thread(target=self._thread, args=(loop, ended), name=f"consumer {self._group}", daemon=True)
        self._stop.clear()
        thread.start()
        try:
            await asyncio.shield(ended)
        finally:
            self._stop.set()
            await asyncio.to_thread(thread.join, 3.0)

    def _thread(self, loop: asyncio.AbstractEventLoop, ended: asyncio.Future[None]) -> None:
        error: Exception | None = None
        try:
            self._poll_forever(loop)
        except Exception as caught:
            error = caught

        def settle() -> None:
            if ended.done():
                return
            if error is None:
                ended.set_result(None)
            else:
                ended.set_exception(error)

        if not loop.is_closed():
            loop.call_soon_threadsafe(settle)

    def _poll_forever(self, loop: asyncio.AbstractEventLoop) -> None:
        consumer = KafkaConsumer(self._settings)
        try:
            if self._assign:
                consumer.assign(self._positions(consumer))
            else:
                consumer.subscribe(self._topics)
            while not self._stop.is_set():
                self.last_poll = time.monotonic()
                first = consumer.poll(0.5)
                if first is None:
                    continue
                messages = [first, *consumer.consume(self._batch - 1, 0)]
                good = [message for message in messages if self._good(message)]
                if good:
                    self._work(loop, good)
                    self._commit(consumer, good)
        finally:
            consumer.close()

    def _positions(self, consumer: KafkaConsumer) -> list[TopicPartition]:
        while not self._stop.is_set():
            try:
                wanted = [
                    TopicPartition(topic, partition)
                    for topic in self._topics
                    for partition in consumer.list_topics(topic, timeout=5).topics[topic].partitions
                ]
                committed = consumer.committed(wanted, timeout=5)
            except KafkaException as error:
                log.warning("consumer.kafka_away", group=self._group, error=str(error))
                self._stop.wait(0.5)
                continue
            return [
                TopicPartition(p.topic, p.partition, OFFSET_BEGINNING if p.offset == OFFSET_INVALID else p.offset)
                for p in committed
            ]
        return []

    def _good(self, message: Any) -> bool:
        error = message.error()
        if error is None:
            return True
        if error.code() == KafkaError._PARTITION_EOF:
            return False
        if error.fatal():
            raise KafkaException(error)
        log.warning("consumer.kafka_error", group=self._group, error=error.str())
        return False

    def _work(self, loop: asyncio.AbstractEventLoop, messages: Sequence[Any]) -> None:
        self.working_since = time.monotonic()
        future = asyncio.run_coroutine_threadsafe(self._handle(messages), loop)
        while True:
            try:
                future.result(0.5)
                break
            except concurrent.futures.TimeoutError:
                if self._stop.is_set():
                    future.cancel()
                    raise RuntimeError("stopped in the middle of a batch; it will be delivered again") from None
        self.working_since = None

    def _commit(self, consumer: KafkaConsumer, messages: Sequence[Any]) -> None:
        ends: dict[tuple[str, int], int] = {}
        for message in messages:
            ends[message.topic(), message.partition()] = message.offset() + 1
        try:
            consumer.commit(
                offsets=[TopicPartition(*place, offset) for place, offset in ends.items()], asynchronous=True
            )
        except KafkaException as error:
            log.info("consumer.commit_failed", group=self._group, error=str(error))

    async def _handle(self, messages: Sequence[Any]) -> None:
        commands: list[Command] = []
        raws: dict[Command, RawMessage] = {}
        letters: list[tuple[RawMessage, str, str, int]] = []
        for message in messages:
            made = self._read(message)
            if isinstance(made, Command):
                if self._dead and (message.topic(), message.key()) in self._dead:
                    letters.append((_raw(message), "parked", "an earlier message of this key is a dead letter", 0))
                    continue
                commands.append(made)
                raws[made] = message
            elif made is not None:
                letters.append((_raw(message), "dead", made, 0))
        await self._carry_out(commands, raws)
        if letters:
            await self._bury(letters)

    def _read(self, message: Any) -> Command | str | None:
        """The command in a message, why it can't be read, or None where nobody here needs it."""
        topic = message.topic()
        metrics.CONSUMED.labels(topic).inc()
        headers = message.headers() or []
        kind = next((value for name, value in headers if name == "ce_type"), None)
        route = self._routes.get(kind.decode("utf-8", "replace")) if kind else None
        if route is None:
            route = self._other
        if route is not None and route.topic not in (None, topic):
            route = None
        if kind is None:
            return "header ce_type is missing: publish a CloudEvent in Kafka's binary content mode"
        if route is None:
            if BY_NAME[topic].consumers == (self._group,):
                return f"type {kind.decode('utf-8', 'replace')[:200]!r} is not one that {topic} carries"
            return None
        if route.wants is not None and not route.wants(dict(headers)):
            return None
        try:
            envelope = decode(headers, default_tenant=self._default_tenant)
            raw: bytes = message.value() or b""
            if route.parse is not None:
                body = route.parse(envelope, headers, raw)
            else:
                body = raw if route.model is None else route.model.model_validate_json(raw)
        except ValidationError as error:
            return validation_problem(error).detail
        except ValueError as error:
            return str(error)
        return _command(route, envelope, body, raw)

    async def _carry_out(self, commands: Sequence[Command], raws: Mapping[Command, Any]) -> None:
        delay = 0.05
        while commands:
            results = await self._pipeline.submit_all(commands)
            again: list[Command] = []
            for command, result in zip(commands, results, strict=True):
                if not isinstance(result, BaseException):
                    continue
                if is_away(result) or not await self._give_up(_raw(raws[command]), result):
                    again.append(command)
            commands = again
            if commands:
                await asyncio.sleep(delay)
                delay = min(delay * 2, 2.0)

    async def _give_up(self, raw: RawMessage, error: BaseException) -> bool:
        """Counts the attempt; buries the message after the last one."""
        reason = f"{type(error).__name__}: {error}"
        try:
            async with self._database.connection() as connection:
                count = await dead_letters.count_attempt(connection, raw, reason)
            if count < self._attempts:
                return False
            await self._bury([(raw, "dead", reason, count)])
        except AWAY:
            return False
        if raw.key is not None:
            self._dead.add((raw.topic, raw.key))
        return True

    async def _bury(self, letters: Sequence[tuple[RawMessage, str, str, int]]) -> None:
        delay = 0.1
        while True:
            try:
                async with self._database.connection() as connection:
                    await dead_letters.bury(connection, letters, self._group)
                    self._dead = await dead_letters.dead_keys(connection)
                break
            except AWAY as error:
                log.warning("consumer.database_away", error=str(error) or type(error).__name__)
                await asyncio.sleep(delay)
                delay = min(delay * 2, 2.0)
        for raw, state, reason, _ in letters:
            metrics.DEAD_LETTERS.labels(raw.topic).inc()
            log.warning("consumer.dead_letter", topic=raw.topic, offset=raw.offset, state=state, reason=reason)

    async def watch(self) -> None:
        """Raises where the reader stands still, so that the process is restarted. Forever."""
        while True:
            await asyncio.sleep(5)
            if self._dead:
                with contextlib.suppress(*AWAY):
                    await self.refresh_dead()
            quiet = time.monotonic() - self.last_poll
            if quiet > STUCK and self.working_since is None:
                raise RuntimeError(f"the consumer of {self._group} has not polled for {quiet:.0f} s")

    async def refresh_dead(self) -> None:
        """Looks which keys are still blocked by a dead letter: another replica may have settled it."""
        async with self._database.connection() as connection:
            self._dead = await dead_letters.dead_keys(connection)


def _command(route: Route, envelope: Envelope, body: Any, raw: bytes) -> Command:
    return Command(
        id=f"{envelope.tenant}|{envelope.source}|{envelope.id}",
        name=route.name,
        tenant=envelope.tenant,
        body=body,
        by=envelope.source,
        cause=Cause(envelope.id, envelope.correlation or envelope.id, envelope.depth + 1, envelope.traceparent),
        fingerprint=fingerprint(envelope.type, raw) if route.remember else None,
        envelope=envelope,
    )


def _raw(message: Any) -> RawMessage:
    if isinstance(message, RawMessage):
        return message
    return RawMessage(
        message.topic(),
        message.partition(),
        message.offset(),
        message.key(),
        message.value(),
        message.headers() or [],
    )
