"""Forecasts of an hourly series from a row of origins (contest E); each uses the rows before its origin alone."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from pathlib import Path

from scheduler_svc.domain.forecast import Forecast, Forecaster
from scheduler_svc.domain.forecast.hourly import JUDGED_WEEKS

KEPT_WEEKS = 60
"""No model looks back further; what is older only costs time."""


def read(path: Path) -> list[float]:
    """The counts of `time,count` rows, gzipped or not."""
    raw = path.read_bytes()
    text = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    rows = list(csv.reader(text.decode().splitlines()))
    return [float(row[1]) for row in rows[1:] if row]


def forecasts(series: Sequence[float], hours: int, per_week: int, test_days: int, *, week: bool) -> dict[int, Forecast]:
    """By origin: each of the last `test_days` days; with `week` every `per_week` days while a whole week fits."""
    first = len(series) - test_days * hours
    if first < 0:
        raise ValueError(f"the series has {len(series)} rows, fewer than {test_days} days of {hours}")
    length = per_week * hours if week else hours
    forecaster = Forecaster(hours, per_week, per_week if week else 1)
    made: dict[int, Forecast] = {}
    begin = max(first % hours, first - KEPT_WEEKS * per_week * hours)
    for start in range(begin, len(series) - hours + 1, hours):
        if start >= first and start + length <= len(series) and (start - first) % length == 0:
            made[start] = forecaster.forecast()
        judged = start >= first - JUDGED_WEEKS * per_week * hours
        forecaster.feed(series[start : start + hours], judged=judged)
    return made
