"""How many processes of each service became READY in each hour. Counted in memory, saved in passing, as waits are."""

from collections.abc import Sequence
from datetime import datetime

from kernel_runtime.database import Connection

_SAVE = """
INSERT INTO service_hour (tenant, service, hour, arrivals)
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])
ON CONFLICT (tenant, service, hour) DO UPDATE SET arrivals = service_hour.arrivals + EXCLUDED.arrivals
"""
_FORGET = "DELETE FROM service_hour WHERE hour < $1"
KEPT_HOURS = 60 * 7 * 24


def hour_of(at: datetime) -> int:
    """Hours since 1970, UTC."""
    return int(at.timestamp()) // 3600


class Arrivals:
    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, int], int] = {}
        self._forgotten = 0

    def __bool__(self) -> bool:
        return bool(self._counts)

    def count(self, arrivals: Sequence[tuple[str, str, datetime]]) -> None:
        counts = self._counts
        for tenant, service, at in arrivals:
            place = (tenant, service, hour_of(at))
            counts[place] = counts.get(place, 0) + 1

    async def save(self, connection: Connection) -> None:
        """What is older than any forecast looks at goes, once an hour."""
        rows = [(*place, count) for place, count in sorted(self._counts.items())]
        await connection.execute(_SAVE, *([list(column) for column in zip(*rows, strict=True)]))
        newest = max(hour for _, _, hour in self._counts)
        if newest > self._forgotten:
            await connection.execute(_FORGET, newest - KEPT_HOURS)
            self._forgotten = newest

    def clear(self) -> None:
        self._counts.clear()


async def history(
    connection: Connection, tenant: str, service: str | None, since: int, most: int
) -> dict[str, dict[int, float]]:
    """By service what arrived by the hour, since an hour; of the `most` with the most arrivals."""
    rows = await connection.fetch(
        "SELECT service, hour, arrivals FROM service_hour JOIN (SELECT service, sum(arrivals) AS total FROM service_hour"
        " WHERE tenant = $1 AND hour >= $3 AND ($2::text IS NULL OR service = $2) GROUP BY service"
        " ORDER BY total DESC, service LIMIT $4) AS busiest USING (service) WHERE tenant = $1 AND hour >= $3"
        " ORDER BY total DESC, service, hour",
        tenant,
        service,
        since,
        most,
    )
    found: dict[str, dict[int, float]] = {}
    for row in rows:
        found.setdefault(row["service"], {})[row["hour"]] = float(row["arrivals"])
    return found


async def lengths(connection: Connection, tenant: str, services: Sequence[str]) -> dict[str, float]:
    """Mean seconds of a run, where that was learnt."""
    rows = await connection.fetch(
        "SELECT service, sum(count * mean) / sum(count) AS mean FROM service_time"
        " WHERE tenant = $1 AND service = ANY($2::text[]) GROUP BY service",
        tenant,
        list(services),
    )
    return {row["service"]: row["mean"] for row in rows}
