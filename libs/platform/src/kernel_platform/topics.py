"""Makes the topics that contracts declare."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from kernel_contracts.topics import TOPICS

from kernel_platform.kafka import admin_client


@dataclass(frozen=True, slots=True)
class TopicSpec:
    name: str
    partitions: int
    config: dict[str, str] = field(default_factory=dict)


def declared() -> list[TopicSpec]:
    """Each topic, and beside it the one for its dead letters."""
    specs = []
    for topic in TOPICS:
        specs.append(TopicSpec(topic.name, topic.partitions, topic.config))
        if topic.dead_letters:
            specs.append(TopicSpec(topic.dlq, 1, topic.dlq_config))
    return specs


def ensure_topics(
    bootstrap: str, topics: Iterable[TopicSpec], *, replication: int = -1, timeout: float = 30
) -> list[str]:
    """Makes those that are missing and returns their names once the broker leads all of their partitions."""
    wanted = {topic.name: topic for topic in topics}
    admin = admin_client(bootstrap)
    there = admin.list_topics(timeout=timeout).topics
    missing = [topic for name, topic in wanted.items() if name not in there]
    if missing:
        new = [NewTopic(t.name, t.partitions, replication_factor=replication, config=t.config) for t in missing]
        for future in admin.create_topics(new, operation_timeout=timeout, request_timeout=timeout).values():
            try:
                future.result()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
        _wait_for_leaders(admin, {topic.name for topic in missing}, timeout)
    return [topic.name for topic in missing]


def _wait_for_leaders(admin: AdminClient, names: set[str], timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while True:
        topics = admin.list_topics(timeout=timeout).topics
        led = {n for n, t in topics.items() if t.partitions and all(p.leader >= 0 for p in t.partitions.values())}
        if names <= led:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"no leader for {', '.join(sorted(names - led))} after {timeout:.0f} s")
        time.sleep(0.02)
