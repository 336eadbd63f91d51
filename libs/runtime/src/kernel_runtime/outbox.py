"""The outbox: messages written in the transaction of what they tell; the relay publishes and deletes them.

Their order is that of the identity column. Transactions overlap, so a smaller id may become visible later than a larger one;
two messages of one aggregate can't, because its row is locked from before the first insert to after the commit.
"""

from collections.abc import Sequence

from kernel_runtime.command import Message
from kernel_runtime.database import Connection

_INSERT = """
INSERT INTO outbox (topic, key, headers, body)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[])
"""


async def add(connection: Connection, messages: Sequence[Message]) -> None:
    """All of them in one statement."""
    if messages:
        await connection.execute(
            _INSERT,
            [message.topic for message in messages],
            [message.key for message in messages],
            [message.headers for message in messages],
            [message.body for message in messages],
        )


async def age(connection: Connection) -> tuple[int, float]:
    """How many wait (counted to 100,000), and for how many seconds the oldest does."""
    row = await connection.fetchrow(
        "SELECT (SELECT count(*) FROM (SELECT 1 FROM outbox LIMIT 100000) waiting) AS depth,"
        " coalesce(extract(epoch FROM clock_timestamp() - (SELECT at FROM outbox ORDER BY id LIMIT 1)), 0)::float AS age"
    )
    assert row is not None
    return row["depth"], row["age"]
