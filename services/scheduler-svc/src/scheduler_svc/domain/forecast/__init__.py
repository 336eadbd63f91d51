"""What is to come, by the hour, with a band: one automatic method for all series, fed day by day and never fitted anew.

Simple seasonal models run side by side; each forecast was made before what it is judged by (a rolling back-test for nothing).
The best of the last weeks are averaged by how well they did. The band comes from the errors of these very forecasts, its
width steered by how often it was left (adaptive conformal inference, Gibbs and Candes 2021).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final

from scheduler_svc.domain.forecast.models import Day, candidates

REMEMBERS: Final = 0.95
"""What a day's error counts the day after."""
BEST: Final = 3
SHARPNESS: Final = 4.0
"""A model that errs half as much has 2^4 times the weight."""
LEFT: Final = 0.08
"""So often may the truth lie outside of the 90 % band: a little less, for the errors to come are larger than those before."""
STEERS: Final = 0.02
ERRORS: Final = 2_500
"""So many hourly errors are kept for the band, at most."""


JUDGED: Final = 28
"""The accuracy that is told is that of so many days."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Of the forecasts of the last days: error in all through what came in all, and how often it lay within the band."""

    days: int
    error: float | None
    within: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """By hour, from the next one on; `low` to `high` is the 90 % band."""

    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


class Forecaster:
    """Of one series, `hours` a day and `per_week` days a week, for `days` days at a time."""

    def __init__(self, hours: int, per_week: int, days: int = 1) -> None:
        self._hours = hours
        self._days = days
        self._models = candidates(hours, per_week)
        self._losses = [0.0] * len(self._models)
        self._seen = 0.0
        self._every = 1 if days == 1 else 2
        """Forecasts that overlap tell little more than every other of them."""
        self._pending: deque[tuple[int, list[list[float]], list[float]]] = deque()
        self._recent: deque[Day] = deque(maxlen=days)
        self._spread = [1.0] * hours
        self._errors: deque[float] = deque(maxlen=max(ERRORS, 8 * hours * days))
        self._outside = LEFT
        self._judged: deque[tuple[float, float, float]] = deque(maxlen=JUDGED)
        self._fed = 0
        self._begun = 2 * per_week + days
        """From that day on it is judged by forecasts that had two weeks to look at."""

    def feed(self, day: Day, *, judged: bool = True) -> None:
        """One more day, all of its hours. Long ago nothing has to be `judged`: the models see it, no forecast is made."""
        self._recent.append(day)
        if judged and self._fed % self._every == 0:
            self._pending.append((self._fed, *self._predict()))
        if self._pending and self._pending[0][0] == self._fed - self._days + 1:
            _, each, mean = self._pending.popleft()
            truth = [value for known in self._recent for value in known]
            self._judge(each, truth)
            if self._fed >= self._begun:
                self._widen(mean, truth)
        for model in self._models:
            model.feed(day)
        self._fed += 1

    def forecast(self) -> Forecast:
        _, mean = self._predict()
        low, high = self._band(mean)
        return Forecast(tuple(mean), tuple(low), tuple(high))

    @property
    def accuracy(self) -> Accuracy | None:
        """None where nothing could be judged yet."""
        if not self._judged:
            return None
        count = len(self._judged)
        errors, total, within = (sum(column) for column in zip(*self._judged, strict=True))
        return Accuracy(count, errors / total if total else None, within / count)

    def _predict(self) -> tuple[list[list[float]], list[float]]:
        """Of each model, and of the best together."""
        each = [[value for ahead in range(self._days) for value in m.predict(ahead)] for m in self._models]
        chosen = sorted(range(len(each)), key=lambda index: (self._losses[index], index))[:BEST]
        if not self._seen:
            return each, each[2]
        least = max(self._losses[chosen[0]], 1e-9)
        weights = [(least / max(self._losses[index], 1e-9)) ** SHARPNESS for index in chosen]
        total = sum(weights)
        best = [each[index] for index in chosen]
        return each, [
            sum(weight * value for weight, value in zip(weights, values, strict=True)) / total
            for values in zip(*best, strict=True)
        ]

    def _judge(self, each: Sequence[Day], truth: Day) -> None:
        self._seen = self._seen * REMEMBERS + 1
        for index, told in enumerate(each):
            error = sum(abs(a - b) for a, b in zip(told, truth, strict=True))
            self._losses[index] = self._losses[index] * REMEMBERS + error

    def _widen(self, mean: Day, truth: Day) -> None:
        """The errors, in units of what is usual at that hour and load."""
        if self._errors:
            low, high = self._band(mean)
            out = sum(not a <= b <= c for a, b, c in zip(low, truth, high, strict=True)) / len(truth)
            self._outside = min(max(self._outside + STEERS * (LEFT - out), 0.01), 0.3)
            error = sum(abs(a - b) for a, b in zip(mean, truth, strict=True))
            self._judged.append((error, sum(truth), 1 - out))
        hours = self._hours
        for index, (told, was) in enumerate(zip(mean, truth, strict=True)):
            error = (was - told) / sqrt(max(told, 0.0) + 0.5)
            spread = self._spread[index % hours]
            self._errors.append(error / spread)
            self._spread[index % hours] = max(0.1, spread + 0.03 * (abs(error) - spread))

    def _band(self, mean: Day) -> tuple[list[float], list[float]]:
        if not self._errors:
            return list(mean), list(mean)
        errors = sorted(self._errors)
        below = errors[int(self._outside / 2 * (len(errors) - 1))]
        above = errors[-1 - int(self._outside / 2 * (len(errors) - 1))]
        low, high = [], []
        for index, told in enumerate(mean):
            usual = sqrt(max(told, 0.0) + 0.5) * self._spread[index % self._hours]
            low.append(max(0.0, told + below * usual))
            high.append(max(0.0, told + above * usual))
        return low, high
