"""Brings a client that was away to where the feed is, at the client's own pace.

From the ring; from Kafka where the ring has moved on.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from itertools import islice
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from gateway.live.feed import TIMEOUT, Feed, FeedAwayError, consumer_settings, partitions_of
from gateway.live.position import encode
from gateway.live.record import Record
from gateway.live.subscriber import Subscriber

CHUNK = 200


class PositionGoneError(Exception):
    """What lies after the position is no longer kept, or never was."""


async def check(feed: Feed, bootstrap: str, position: Sequence[int]) -> None:
    """Raises PositionGoneError or FeedAwayError."""
    if (
        len(position) == len(feed.end)
        and feed.covers(position)
        and all(a <= b for a, b in zip(position, feed.end, strict=True))
    ):
        return
    try:
        limits = await asyncio.to_thread(_limits, bootstrap, feed.topic)
    except KafkaException as error:
        raise FeedAwayError(str(error)) from None
    if len(position) != len(limits) or any(
        not low <= at <= high for at, (low, high) in zip(position, limits, strict=True)
    ):
        raise PositionGoneError


def _limits(bootstrap: str, topic: str) -> list[tuple[int, int]]:
    consumer = Consumer(consumer_settings(bootstrap, "gateway-limits"))
    try:
        return [consumer.get_watermark_offsets(place, timeout=TIMEOUT) for place in partitions_of(consumer, topic)]
    finally:
        consumer.close()


async def catch_up(feed: Feed, bootstrap: str, subscriber: Subscriber, position: list[int]) -> None:
    """Offers all that lies between `position` and now, then attaches the subscriber to the feed without a gap."""
    reader: Consumer | None = None
    try:
        while subscriber.cut_reason is None:
            await subscriber.room()
            if not feed.end:
                subscriber.cut("the stream begins anew. Connect again with after=id of the last message.")
            elif feed.covers(position):
                chunk = list(islice(feed.since(position), CHUNK))
                for record in chunk:
                    _offer(subscriber, record, position)
                if len(chunk) < CHUNK:
                    subscriber.position = None if position == feed.end else position
                    feed.attach(subscriber)
                    return
            else:
                if reader is None:
                    reader = await asyncio.to_thread(_open, bootstrap, feed.topic, position)
                messages = await asyncio.to_thread(reader.consume, CHUNK, 0.1)
                _take(subscriber, messages, position)
    except KafkaException:
        subscriber.cut("the bus is away. Connect again with after=id of the last message.")
    finally:
        if reader is not None:
            await asyncio.to_thread(reader.close)


def _open(bootstrap: str, topic: str, position: Sequence[int]) -> Consumer:
    consumer = Consumer(consumer_settings(bootstrap, "gateway-catch-up", tell_end=True))
    consumer.assign([TopicPartition(topic, partition, offset) for partition, offset in enumerate(position)])
    return consumer


def _take(subscriber: Subscriber, messages: Sequence[Any], position: list[int]) -> None:
    """In the order in which Kafka gave them. The end of a partition moves the position too, for offsets may have holes."""
    for message in messages:
        error = message.error()
        if error is None:
            _offer(subscriber, Record(message), position)
        elif error.code() == KafkaError._PARTITION_EOF:
            position[message.partition()] = max(position[message.partition()], message.offset())
        elif error.code() in (KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET) or error.fatal():
            raise KafkaException(error)


def _offer(subscriber: Subscriber, record: Record, position: list[int]) -> None:
    if record.offset < position[record.partition]:
        return
    position[record.partition] = record.offset + 1
    if record.header("ce_tenant") == subscriber.sight.principal.tenant:
        subscriber.offer(record, partial(encode, subscriber.topic, position))
