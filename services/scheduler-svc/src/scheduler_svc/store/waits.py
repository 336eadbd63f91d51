"""How long items waited, by queue and minute: gathered in memory, saved once a second, kept for an hour."""

from collections.abc import Sequence
from datetime import datetime

from kernel_runtime.database import Connection

from scheduler_svc.domain.waits import CLASSES, class_of

_SAVE = """
INSERT INTO queue_wait (tenant, queue, minute, counts) VALUES ($1, $2, $3, $4::int[])
ON CONFLICT (tenant, queue, minute) DO UPDATE SET counts = ARRAY(
    SELECT coalesce(a, 0) + coalesce(b, 0) FROM unnest(queue_wait.counts, EXCLUDED.counts) WITH ORDINALITY AS t (a, b, i)
    ORDER BY i)
"""


class Waits:
    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, datetime], list[int]] = {}

    def __bool__(self) -> bool:
        return bool(self._counts)

    def count(self, waits: Sequence[tuple[str, str, float]], now: datetime) -> None:
        """(tenant, queue, seconds) each."""
        minute = now.replace(second=0, microsecond=0)
        for tenant, queue, seconds in waits:
            counts = self._counts.get((tenant, queue, minute))
            if counts is None:
                counts = self._counts[tenant, queue, minute] = [0] * CLASSES
            counts[class_of(seconds)] += 1

    async def save(self, connection: Connection) -> None:
        rows = [(*place, counts) for place, counts in sorted(self._counts.items())]
        await connection.executemany(_SAVE, rows)
        await connection.execute("DELETE FROM queue_wait WHERE minute < clock_timestamp() - interval '1 hour'")

    def clear(self) -> None:
        self._counts.clear()
