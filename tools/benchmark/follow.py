"""Follows topics in a thread and hands headers to the event loop in batches."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence

from confluent_kafka import OFFSET_END, Consumer, TopicPartition

Seen = tuple[str, int, float]
"""(message type, pid, the moment it was read)"""


class Follower:
    """Calls `on_batch([(type, pid, at)])` on the loop for records of `topics` whose type is in `types`, from now on."""

    def __init__(
        self,
        bootstrap: str,
        topics: Sequence[str],
        types: Sequence[str],
        loop: asyncio.AbstractEventLoop,
        on_batch: Callable[[list[Seen]], None],
    ) -> None:
        self._types = {name.encode(): name for name in types}
        self._loop = loop
        self._on_batch = on_batch
        self._stop = threading.Event()
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "benchmark",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 100,
                "socket.nagle.disable": True,
            }
        )
        places = []
        for topic in topics:
            for partition in self._consumer.list_topics(topic, timeout=10).topics[topic].partitions:
                _, end = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
                places.append(TopicPartition(topic, partition, end if end >= 0 else OFFSET_END))
        self._consumer.assign(places)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            first = self._consumer.poll(0.2)
            if first is None:
                continue
            at = time.perf_counter()
            seen: list[Seen] = []
            for message in (first, *self._consumer.consume(999, 0)):
                if message.error() is not None:
                    continue
                for name, value in message.headers() or ():
                    if name == "ce_type":
                        kind = self._types.get(value)
                        if kind is not None:
                            seen.append((kind, int(message.key()), at))
                        break
            if seen:
                self._loop.call_soon_threadsafe(self._on_batch, seen)
