"""Forecasts of counts by the hour, as they are kept: hours without any are left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from scheduler_svc.domain.forecast import Accuracy, Forecast, Forecaster

HOURS: Final = 24
PER_WEEK: Final = 7
WEEKS: Final = 26
"""So far back is looked."""
JUDGED_WEEKS: Final = 20
"""Of so many the forecasts are judged."""


def ahead(counts: Mapping[int, float], origin: int, days: int) -> tuple[Forecast, Accuracy | None]:
    """From the hour `origin` on, from the whole days before it since the first count. Hours are numbered."""
    first = max(min(counts, default=origin), origin - WEEKS * PER_WEEK * HOURS)
    forecaster = Forecaster(HOURS, PER_WEEK, days)
    for start in range(origin - (origin - first) // HOURS * HOURS, origin, HOURS):
        judged = start >= origin - JUDGED_WEEKS * PER_WEEK * HOURS
        forecaster.feed([counts.get(hour, 0.0) for hour in range(start, start + HOURS)], judged=judged)
    return forecaster.forecast(), forecaster.accuracy
