"""`GET /forecast`: what will arrive, and how much work that is, by the hour."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from kernel_runtime.database import Database
from kernel_runtime.problem import ProblemError, invalid

from scheduler_svc.domain.durations import PRIOR
from scheduler_svc.domain.forecast import Accuracy, Forecast
from scheduler_svc.domain.forecast.hourly import HOURS, PER_WEEK, WEEKS, ahead
from scheduler_svc.foresight import horizon_of
from scheduler_svc.store import arrivals

LONGEST = timedelta(days=7)
MOST = 20
"""Services in one answer: those with the most arrivals."""


async def forecast(database: Database, tenant: str, query: Mapping[str, str]) -> dict[str, Any]:
    of = _one_of(query, "of", ("arrivals", "load"), ("wait",))
    _one_of(query, "by", ("service",), ("role", "resource"))
    horizon = horizon_of(query, "P1D", timedelta(hours=1), LONGEST)
    days = -(-horizon // timedelta(days=1))
    async with database.connection() as connection:
        now: datetime = await connection.fetchval("SELECT clock_timestamp()")
        origin = arrivals.hour_of(now)
        since = origin - WEEKS * PER_WEEK * HOURS
        counts = await arrivals.history(connection, tenant, query.get("service"), since, MOST)
        lengths = await arrivals.lengths(connection, tenant, list(counts)) if of == "load" else {}
    made = await asyncio.to_thread(lambda: {service: ahead(known, origin, days) for service, known in counts.items()})
    hours = -(-horizon // timedelta(hours=1))
    return {
        "of": of,
        "by": "service",
        "from": datetime.fromtimestamp(origin * 3600, UTC),
        "step": "PT1H",
        "band": 0.9,
        "items": [
            _item(service, told, accuracy, origin, hours, lengths.get(service, PRIOR) / 3600 if of == "load" else 1.0)
            for service, (told, accuracy) in made.items()
        ],
    }


def _item(
    service: str, told: Forecast, accuracy: Accuracy | None, origin: int, hours: int, factor: float
) -> dict[str, Any]:
    """`factor`: hours of work that one arrival makes; so a load of 2 keeps two people busy."""
    return {
        "service": service,
        "error": None
        if accuracy is None
        else {
            "days": accuracy.days,
            "wape": None if accuracy.error is None else round(accuracy.error, 4),
            "within_band": round(accuracy.within, 4),
        },
        "points": [
            {
                "at": datetime.fromtimestamp((origin + hour) * 3600, UTC),
                "mean": round(told.mean[hour] * factor, 4),
                "low": round(told.low[hour] * factor, 4),
                "high": round(told.high[hour] * factor, 4),
            }
            for hour in range(hours)
        ],
    }


def _one_of(query: Mapping[str, str], name: str, there: tuple[str, ...], later: tuple[str, ...]) -> str:
    value = query.get(name, there[0])
    if value not in there:
        word = "comes later" if value in later else "is unknown"
        detail = f"A forecast {name} {value} {word}; there is {', '.join(there)}."
        raise ProblemError(invalid(detail, [(f"/{name}", detail)]))
    return value
