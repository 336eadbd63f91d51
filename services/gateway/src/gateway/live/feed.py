"""Follows one topic from its end, in memory: a ring of the last records, and whoever wants to know of new ones.

It runs only while somebody listens (and a minute longer): idle, the stream costs nothing. One librdkafka consumer in one thread,
all partitions, no group: every replica of the gateway reads everything.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from functools import cache, partial
from typing import Any

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from gateway.live.filters import keys_of
from gateway.live.position import encode
from gateway.live.record import Record
from gateway.live.subscriber import Subscriber

log = structlog.get_logger()

RING_BYTES = 32 * 1024 * 1024
LINGER = 60.0
"""Seconds that it goes on reading when the last listener has gone."""
BATCH = 500
TIMEOUT = 5.0


class FeedAwayError(Exception):
    """Kafka does not answer."""


def consumer_settings(bootstrap: str, client: str, *, tell_end: bool = False) -> dict[str, Any]:
    """For readers without a group. An offset that is gone is an error, not a jump."""
    return {
        "bootstrap.servers": bootstrap,
        "group.id": "gateway-stream",
        "client.id": client,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "enable.partition.eof": tell_end,
        "fetch.wait.max.ms": 500,
        "fetch.error.backoff.ms": 50,
        "fetch.queue.backoff.ms": 10,
        "queued.min.messages": 1_000,
        "queued.max.messages.kbytes": 8_192,
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 1_000,
        "socket.nagle.disable": True,
        "allow.auto.create.topics": False,
        "log_level": 0,
    }


def partitions_of(consumer: Consumer, topic: str) -> list[TopicPartition]:
    """In order; raises KafkaException."""
    found = consumer.list_topics(topic, timeout=TIMEOUT).topics[topic]
    if found.error is not None:
        raise KafkaException(found.error)
    return [TopicPartition(topic, partition) for partition in sorted(found.partitions)]


class Feed:
    """`prefix` marks its positions. Everything but `_read` runs on the event loop, so nothing here needs a lock."""

    def __init__(self, bootstrap: str, topic: str, prefix: str, client: str, ring: int = 20_000) -> None:
        self.topic = topic
        self.prefix = prefix
        self.end: list[int] = []
        """The next offset of each partition; empty while it does not run."""
        self._start: list[int] = []
        """The offset from which on the ring holds each partition."""
        self._ring: deque[Record] = deque()
        self._ring_limit = ring
        self._ring_bytes = 0
        self._settings = consumer_settings(bootstrap, client)
        self._index: dict[tuple[str, str, Any], set[Subscriber]] = {}
        self._listeners: dict[Subscriber, set[tuple[str, str, Any]]] = {}
        self._quiet_since = time.monotonic()
        self._stop: threading.Event | None = None
        self._starting = asyncio.Lock()
        self._kinds: dict[str, set[str]] = {}
        """By tenant, the kinds of keys that somebody listens for."""

    @property
    def listeners(self) -> int:
        return len(self._listeners)

    async def ensure(self) -> None:
        """Runs and knows where it stands, when this returns; raises FeedAwayError."""
        self._quiet_since = time.monotonic()
        async with self._starting:
            if self._stop is not None:
                return
            try:
                consumer, places = await asyncio.to_thread(self._open)
            except KafkaException as error:
                raise FeedAwayError(str(error)) from None
            self.end = [place.offset for place in places]
            self._start = list(self.end)
            self._stop = threading.Event()
            arguments = (asyncio.get_running_loop(), consumer, self._stop)
            threading.Thread(target=self._read, args=arguments, name=f"feed {self.topic}", daemon=True).start()

    def _open(self) -> tuple[Consumer, list[TopicPartition]]:
        consumer = Consumer(self._settings)
        try:
            places = partitions_of(consumer, self.topic)
            for place in places:
                place.offset = consumer.get_watermark_offsets(place, timeout=TIMEOUT)[1]
            consumer.assign(places)
        except BaseException:
            consumer.close()
            raise
        return consumer, places

    def _read(self, loop: asyncio.AbstractEventLoop, consumer: Consumer, stop: threading.Event) -> None:
        """The thread. At most four batches wait for the loop."""
        room = threading.Semaphore(4)
        reason = "the stream begins anew"
        try:
            while not stop.is_set():
                first = consumer.poll(0.5)
                if first is None:
                    continue
                messages = [first, *consumer.consume(BATCH - 1, 0)]
                for message in messages:
                    _check(message)
                while not room.acquire(timeout=0.5):
                    if stop.is_set():
                        return
                loop.call_soon_threadsafe(self._arrived, messages, stop, room)
        except KafkaException as error:
            reason = "the topic was made anew. Connect again without `after`."
            log.warning("feed.broken", topic=self.topic, error=str(error))
        except RuntimeError:
            return  # the loop has ended
        finally:
            consumer.close()
            if not stop.is_set() and not loop.is_closed():
                loop.call_soon_threadsafe(self._ended, stop, reason)

    def _arrived(self, messages: Sequence[Any], stop: threading.Event, room: threading.Semaphore) -> None:
        room.release()
        if stop is not self._stop:
            return
        for message in messages:
            if message.error() is None:
                self._keep(Record(message))

    def _keep(self, record: Record) -> None:
        self.end[record.partition] = record.offset + 1
        self._ring.append(record)
        self._ring_bytes += record.size
        while len(self._ring) > self._ring_limit or self._ring_bytes > RING_BYTES:
            oldest = self._ring.popleft()
            self._ring_bytes -= oldest.size
            self._start[oldest.partition] = oldest.offset + 1
        if self._listeners:
            self._tell(record)

    def _tell(self, record: Record) -> None:
        """The headers say whether anybody listens; only then is the body read."""
        tenant = record.header("ce_tenant")
        kinds = self._kinds.get(tenant)
        if kinds is None or (kinds == {"process"} and not self._wants_key(tenant, record.key)):
            return
        told: set[Subscriber] = set()
        for kind, value in keys_of(self.prefix, record.data):
            told |= self._index.get((tenant, kind, value), set())
        live = cache(partial(encode, self.prefix, self.end))
        for subscriber in told:
            if subscriber.position is None:
                subscriber.offer(record, live)
            elif record.offset >= subscriber.position[record.partition]:
                position = [max(*pair) for pair in zip(subscriber.position, self.end, strict=True)]
                if position == self.end:
                    subscriber.position = None
                subscriber.offer(record, partial(encode, self.prefix, position))

    def _wants_key(self, tenant: str, key: bytes) -> bool:
        return key.isdigit() and (tenant, "process", int(key)) in self._index

    def covers(self, position: Sequence[int]) -> bool:
        """Whether the ring holds everything from there on."""
        return all(mine <= theirs for mine, theirs in zip(self._start, position, strict=True))

    def since(self, position: Sequence[int]) -> Iterator[Record]:
        """What the ring has that a client there has not seen. To be used up before the loop goes on."""
        return (record for record in self._ring if record.offset >= position[record.partition])

    def attach(self, subscriber: Subscriber) -> None:
        """From now on it is told of new records that its filters want."""
        keys = {(subscriber.sight.principal.tenant, *each.key) for each in subscriber.filters}
        before = self._listeners.get(subscriber, set())
        for key in keys - before:
            self._index.setdefault(key, set()).add(subscriber)
        self._listeners[subscriber] = keys | before
        self._sum_up()

    def detach(self, subscriber: Subscriber) -> None:
        for key in self._listeners.pop(subscriber, set()):
            self._index[key].discard(subscriber)
            if not self._index[key]:
                del self._index[key]
        self._quiet_since = time.monotonic()
        self._sum_up()

    def attached(self, subscriber: Subscriber) -> bool:
        return subscriber in self._listeners

    def _sum_up(self) -> None:
        self._kinds = {}
        for tenant, kind, _ in self._index:
            self._kinds.setdefault(tenant, set()).add(kind)

    def _ended(self, stop: threading.Event, reason: str) -> None:
        if stop is self._stop:
            self.stop(reason)

    def stop(self, reason: str) -> None:
        """Forgets everything; its listeners are cut off."""
        if self._stop is not None:
            self._stop.set()
            self._stop = None
        for subscriber in list(self._listeners):
            subscriber.cut(reason)
            self.detach(subscriber)
        self._ring.clear()
        self._ring_bytes = 0
        self.end, self._start = [], []

    def stop_if_quiet(self) -> None:
        if self._stop is not None and not self._listeners and time.monotonic() - self._quiet_since > LINGER:
            log.info("feed.quiet", topic=self.topic)
            self.stop("quiet")


def _check(message: Any) -> None:
    """Raises KafkaException for what reading on can't mend."""
    error = message.error()
    if error is None:
        return
    if error.fatal() or error.code() in (KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET):
        raise KafkaException(error)
    log.warning("feed.kafka_error", error=error.str())
