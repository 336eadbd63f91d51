"""The outbox: messages written in the transaction of what they tell; the relay publishes and deletes them.

Their order is that of the identity column. Transactions overlap, so a smaller id may become visible later than a larger one;
two messages of one aggregate can't, because its row is locked from before the first insert to after the commit.
"""

from collections.abc import Sequence

from kernel_runtime.command import Message
from kernel_runtime.database import Connection


async def add(connection: Connection, messages: Sequence[Message]) -> None:
    """All of them, by COPY: a third of what arrays cost."""
    if messages:
        await connection.copy_records_to_table("outbox", records=messages, columns=Message._fields)


async def age(connection: Connection) -> tuple[int, float]:
    """How many wait (counted to 100,000), and for how many seconds the oldest does."""
    row = await connection.fetchrow(
        "SELECT (SELECT count(*) FROM (SELECT 1 FROM outbox LIMIT 100000) waiting) AS depth,"
        " coalesce(extract(epoch FROM clock_timestamp() - (SELECT at FROM outbox ORDER BY id LIMIT 1)), 0)::float AS age"
    )
    assert row is not None
    return row["depth"], row["age"]
