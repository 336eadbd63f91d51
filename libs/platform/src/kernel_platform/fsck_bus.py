"""Whether every row of the process journal was published, in order of version: the journal against the topic itself."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition
from kernel_contracts.topics import PROCESS_EVENTS

from kernel_platform.fsck_facts import snapshot

PUBLISHED = "every row of the journal is on the bus"
ORDERED = "the bus tells each process in order of version"
BATCH = 5_000
SILENCE = 20.0
"""Seconds without a record after which the broker counts as away."""


@dataclass(slots=True)
class Told:
    """What the topic says: up to which version each process was told without a gap, and where it was not in order."""

    last: dict[int, int] = field(default_factory=dict)
    first: dict[int, int] = field(default_factory=dict)
    """Where it is not 1: what came before is no longer kept."""
    ahead: dict[int, set[int]] = field(default_factory=dict)
    disordered: set[str] = field(default_factory=set)
    whole: bool = True
    """Nothing has been dropped from the topic yet."""

    def add(self, pid: int, version: int) -> None:
        """Everything may come twice; a version that comes first before the one below it is out of order."""
        last = self.last.get(pid)
        if last is None:
            if version != 1:
                self.first[pid] = version
                if self.whole:
                    self.disordered.add(f"pid {pid}: version {version} came before version 1")
            self.last[pid] = version
        elif version == last + 1:
            self.last[pid] = version
            later = self.ahead.get(pid)
            while later and self.last[pid] + 1 in later:
                self.last[pid] += 1
                later.discard(self.last[pid])
        elif version > last:
            self.disordered.add(f"pid {pid}: version {version} came before version {last + 1}")
            self.ahead.setdefault(pid, set()).add(version)


async def check(dsn: str, bootstrap: str, topic: str = PROCESS_EVENTS) -> dict[str, frozenset[str]]:
    """The journal is read first: what it has by then must be on the topic by now."""
    async with snapshot(dsn) as database:
        rows = await database.fetch("SELECT pid, max(version) FROM journal GROUP BY pid")
    told = await asyncio.to_thread(read_topic, bootstrap, topic)
    return {PUBLISHED: frozenset(missing(rows, told)), ORDERED: frozenset(told.disordered)}


def missing(rows: Iterable[Any], told: Told) -> Iterable[str]:
    for pid, version in rows:
        last = told.last.get(pid)
        if last is None:
            if told.whole:
                yield f"pid {pid}: nothing of its {version} versions was published"
        elif last < version:
            yield f"pid {pid}: version {last + 1} was not published"


def read_topic(bootstrap: str, topic: str) -> Told:
    """All that the topic keeps, by its headers alone; raises KafkaException where the broker is away."""
    told = Told()
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "kernel-fsck",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "fetch.wait.max.ms": 100,
            "fetch.max.bytes": 8 << 20,
            "queued.max.messages.kbytes": 32_768,
            "log_level": 0,
        }
    )
    try:
        left: dict[int, int] = {}
        places = []
        for partition in consumer.list_topics(topic, timeout=10).topics[topic].partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
            told.whole = told.whole and low == 0
            if low < high:
                left[partition] = high
                places.append(TopicPartition(topic, partition, low))
        consumer.assign(places)
        while left:
            first = consumer.poll(SILENCE)
            if first is None:
                raise TimeoutError(f"{topic} could not be read to its end")
            for message in (first, *consumer.consume(BATCH - 1, 0)):
                if message.error() is not None:
                    raise KafkaException(message.error())
                partition, offset = message.partition() or 0, message.offset() or 0
                if offset + 1 >= left.get(partition, 1 << 62):
                    del left[partition]
                about = of_process(message.headers())
                if about is not None:
                    told.add(*about)
    finally:
        consumer.close()
    return told


def of_process(headers: Any) -> tuple[int, int] | None:
    """(pid, version) of an event that tells a row of the journal: its id is `PID.VERSION`."""
    for name, value in headers or ():
        if name == "ce_id":
            pid, dot, version = value.partition(b".")
            return (int(pid), int(version)) if dot and pid.isdigit() and version.isdigit() else None
    return None
