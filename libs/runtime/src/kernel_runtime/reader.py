"""The thread that reads from Kafka: polls, hands over, commits offsets, watches that it gets on.

One librdkafka consumer in one thread of its own; heartbeats are native and survive a busy event loop. Partitions may move at
any time: inbox and versions make a second delivery harmless, so no callback is trusted as a fence.
"""

import asyncio
import concurrent.futures
import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog
from confluent_kafka import OFFSET_BEGINNING, OFFSET_INVALID, Consumer, KafkaError, KafkaException, TopicPartition

from kernel_runtime import metrics

log = structlog.get_logger()

STUCK = 30.0
"""Seconds without progress while messages wait, after which the consumer is made anew; or without a poll: the process ends."""

COMMIT_EVERY = 0.2
"""Seconds. What is delivered again after a crash is known by inbox and versions."""

MEASURE_EVERY = 5.0


class _RebuildError(Exception):
    """This consumer will not read on; another one may."""


class Reader:
    """Reads `topics` (their names in Kafka -> ours) for `group`, and calls `take(messages)` in its thread, at most `batch` each.

    With `assign` it reads all partitions alone, from the group's offsets, without membership.
    """

    def __init__(
        self,
        bootstrap: str,
        group: str,
        topics: Mapping[str, str],
        *,
        member: str,
        assign: bool,
        batch: int,
        take: Callable[[Sequence[Any]], None],
    ) -> None:
        self._group = group
        self._topics = topics
        self._assign = assign
        self._batch = batch
        self._take = take
        self._done: dict[tuple[str, int], int] = {}
        """Offsets to commit."""
        self.seen: dict[tuple[str, int], tuple[int, float]] = {}
        """Position of each partition, and since when it stands there."""
        self.moved = True
        """Partitions were assigned since somebody set this to False."""
        self._quiet_since = time.monotonic()
        self._measured = self._committed = self._well = 0.0
        self._fatal: str | None = None
        self.active = False
        self.taking = False
        self.last_poll = time.monotonic()
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

    @property
    def stands_still(self) -> bool:
        """Whether its thread has not asked for messages for too long, though it has none to work on."""
        return self.active and not self.taking and time.monotonic() - self.last_poll > STUCK

    async def run(self, interrupt: Callable[[], None]) -> None:
        """Until cancelled; raises what made the thread end. `interrupt` is called for a batch that takes long at the end."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        stop = threading.Event()  # of this run alone: a thread that hangs must not be woken by the next run
        thread = threading.Thread(
            target=self._thread, args=(loop, ended, stop), name=f"consumer {self._group}", daemon=True
        )
        self.moved, self.last_poll, self.active = True, time.monotonic(), True
        thread.start()
        try:
            await asyncio.shield(ended)
        finally:
            stop.set()
            await asyncio.shield(self._until_ended(thread, interrupt))
            self.active = self.taking = False
            if ended.done() and not ended.cancelled():
                ended.exception()

    async def _until_ended(self, thread: threading.Thread, interrupt: Callable[[], None]) -> None:
        """Lets the batch under way come to its end, for a second."""
        began = time.monotonic()
        while thread.is_alive() and (passed := time.monotonic() - began) < 3:
            if passed > 1:
                interrupt()
            await asyncio.sleep(0.01)

    def _thread(self, loop: asyncio.AbstractEventLoop, ended: asyncio.Future[None], stop: threading.Event) -> None:
        error: Exception | None = None
        try:
            self._poll_forever(stop)
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

    def _poll_forever(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                self._poll_until(stop)
            except _RebuildError as why:
                log.warning("consumer.rebuilt", group=self._group, reason=str(why))
                stop.wait(0.5)

    def _poll_until(self, stop: threading.Event) -> None:
        consumer = Consumer({**self._settings, "error_cb": self._failed})
        self._done, self.seen, self._fatal, self._well = {}, {}, None, time.monotonic()
        try:
            if self._assign:
                consumer.assign(self._positions(consumer, stop))
            else:
                consumer.subscribe(
                    list(self._topics), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
                )
            while not stop.is_set():
                self.last_poll = now = time.monotonic()
                first = consumer.poll(0.25)
                if first is not None:
                    messages = [first, *consumer.consume(self._batch - 1, 0)]
                    self._hand_over([message for message in messages if self._good(message)])
                if self._fatal is not None:
                    raise _RebuildError(self._fatal)
                if self._done and now - self._committed > COMMIT_EVERY:
                    self._committed = now
                    self._commit(consumer)
                if now - self._measured > MEASURE_EVERY:
                    self._measured = now
                    self._measure(consumer, now)
        finally:
            self._commit(consumer, wait=True)
            consumer.close()

    def _failed(self, error: KafkaError) -> None:
        """librdkafka's own view: a member that was fenced, for instance after a broker's crash, never reads again."""
        if error.fatal() or error.code() == KafkaError._FATAL:
            self._fatal = error.str()

    def _hand_over(self, messages: Sequence[Any]) -> None:
        if not messages:
            return
        self._quiet_since = time.monotonic()
        self.taking = True
        self._take(messages)
        self.taking = False
        if time.monotonic() - self._quiet_since > MEASURE_EVERY:  # Postgres was away: nothing stood still by itself
            self.seen = {}
        for message in messages:
            self._done[message.topic(), message.partition()] = message.offset() + 1

    def _positions(self, consumer: Consumer, stop: threading.Event) -> list[TopicPartition]:
        while not stop.is_set():
            try:
                found = [consumer.list_topics(topic, timeout=5).topics[topic] for topic in self._topics]
                wanted = [TopicPartition(topic.topic, partition) for topic in found for partition in topic.partitions]
                if all(topic.partitions for topic in found):
                    return [
                        TopicPartition(
                            p.topic, p.partition, OFFSET_BEGINNING if p.offset == OFFSET_INVALID else p.offset
                        )
                        for p in consumer.committed(wanted, timeout=5)
                    ]
                log.warning("consumer.no_topic", group=self._group, topics=list(self._topics))
            except KafkaException as error:
                log.warning("consumer.kafka_away", group=self._group, error=str(error))
            stop.wait(0.5)
        return []

    def _assigned(self, _: Consumer, partitions: Sequence[TopicPartition]) -> None:
        """Whoever had them before may have left dead letters behind."""
        self.moved = True
        log.info("consumer.assigned", group=self._group, partitions=[f"{p.topic}/{p.partition}" for p in partitions])

    def _revoked(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        """The next owner begins where we are; a commit that fails costs it a second delivery."""
        self._commit(consumer)
        self._lost(consumer, partitions)

    def _lost(self, _: Consumer, partitions: Sequence[TopicPartition]) -> None:
        for gone in partitions:
            self._done.pop((gone.topic, gone.partition), None)
            if self.seen.pop((gone.topic, gone.partition), None):
                metrics.LAG.remove(self._topics[gone.topic], str(gone.partition))
        log.info("consumer.revoked", group=self._group, partitions=[f"{p.topic}/{p.partition}" for p in partitions])

    def _good(self, message: Any) -> bool:
        error = message.error()
        if error is None:
            return True
        if error.code() != KafkaError._PARTITION_EOF:
            self._failed(error)
            log.warning("consumer.kafka_error", group=self._group, error=error.str())
        return False

    def _commit(self, consumer: Consumer, *, wait: bool = False) -> None:
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
            log.info("consumer.commit_failed", group=self._group, error=str(error))

    def _measure(self, consumer: Consumer, now: float) -> None:
        """Lag by partition. Raises where a partition stands still though messages wait in it, or nothing can be learned.

        While messages come, what librdkafka knows is enough. Who has no partitions looks at those of the whole group.
        """
        ask = now - self._quiet_since > MEASURE_EVERY
        try:
            places = consumer.assignment() or (self._every_partition(consumer) if ask else [])
            for at in consumer.position(places):
                self._measure_one(consumer, at, now, ask)
            self._well = now
        except KafkaException as error:
            log.info("consumer.not_measured", group=self._group, error=str(error))
            if now - max(self._well, self._quiet_since) > STUCK:
                raise _RebuildError(f"nothing was read and nothing learned for {STUCK:.0f} s") from None

    def _measure_one(self, consumer: Consumer, at: TopicPartition, now: float, ask: bool) -> None:
        place, offset = (at.topic, at.partition), at.offset
        if offset < 0 and not ask:
            return
        low, end = consumer.get_watermark_offsets(TopicPartition(*place), timeout=1, cached=not ask)
        if offset < 0:
            (committed,) = consumer.committed([TopicPartition(*place)], timeout=1)
            offset = committed.offset if committed.offset >= 0 else low
        lag = max(0, end - offset)
        metrics.LAG.labels(self._topics[at.topic], str(at.partition)).set(lag)
        seen, since = self.seen.get(place, (-1, now))
        if seen != offset or not lag:
            since = now
        self.seen[place] = (offset, since)
        if now - since > STUCK:
            raise _RebuildError(f"{at.topic}/{at.partition} stands at {offset} while {lag} messages wait")

    def _every_partition(self, consumer: Consumer) -> list[TopicPartition]:
        known = consumer.list_topics(timeout=1).topics
        return [TopicPartition(name, each) for name in self._topics if name in known for each in known[name].partitions]
