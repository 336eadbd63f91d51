"""Seasonal models of load by the hour, each a few lines: fed a day at a time, they say what the days to come will be like.

`per_week` days make a season; a day's place in it follows from how many were fed before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

Day = Sequence[float]


class Model(Protocol):
    def feed(self, day: Day) -> None: ...

    def predict(self, ahead: int) -> Day:
        """The day `ahead` days after the next one."""
        ...


class LastWeek:
    """As on the same day a week ago."""

    def __init__(self, hours: int, per_week: int) -> None:
        self._nothing = [0.0] * hours
        self._days: deque[Day] = deque(maxlen=per_week)

    def feed(self, day: Day) -> None:
        self._days.append(day)

    def predict(self, ahead: int) -> Day:
        return self._days[ahead % len(self._days)] if self._days else self._nothing


class Mean:
    """Mean of the same day in the last `weeks` weeks."""

    def __init__(self, hours: int, per_week: int, weeks: int) -> None:
        self._days: list[deque[Day]] = [deque(maxlen=weeks) for _ in range(per_week)]
        self._sums = [[0.0] * hours for _ in range(per_week)]
        self._fed = 0

    def feed(self, day: Day) -> None:
        place = self._fed % len(self._days)
        days, sums = self._days[place], self._sums[place]
        gone = days[0] if len(days) == days.maxlen else [0.0] * len(day)
        self._sums[place] = [total + new - old for total, new, old in zip(sums, day, gone, strict=True)]
        days.append(day)
        self._fed += 1

    def predict(self, ahead: int) -> Day:
        place = (self._fed + ahead) % len(self._days)
        count = max(1, len(self._days[place]))
        return [total / count for total in self._sums[place]]


class Smoothed:
    """Each hour of the week exponentially smoothed, at first as a mean."""

    def __init__(self, hours: int, per_week: int, gain: float) -> None:
        self._profile = [[0.0] * hours for _ in range(per_week)]
        self._gain = gain
        self._fed = 0

    def feed(self, day: Day) -> None:
        weeks, place = divmod(self._fed, len(self._profile))
        gain = max(self._gain, 1 / (weeks + 1))
        self._profile[place] = [
            was + gain * (value - was) for was, value in zip(self._profile[place], day, strict=True)
        ]
        self._fed += 1

    def predict(self, ahead: int) -> Day:
        return self._profile[(self._fed + ahead) % len(self._profile)]


LEAST, MOST = 0.2, 5.0
"""A single day moves a level by no more."""


class Levelled:
    """Another model times how the last days stood to it; `back` of the way to 1 again at each week's end."""

    def __init__(self, base: Model, per_week: int, gain: float, back: float = 0.0) -> None:
        self._base = base
        self._per_week = per_week
        self._gain = gain
        self._back = back
        self._level = 1.0
        self._fed = 0
        self._usual = 0.0

    def feed(self, day: Day) -> None:
        if self._fed >= 2 * self._per_week:
            expected = sum(self._base.predict(0))
            if expected > 0.05 * self._usual:
                ratio = min(max(sum(day) / expected, LEAST), MOST)
                self._level += self._gain * min(1.0, expected / self._usual) * (ratio - self._level)
        self._base.feed(day)
        self._fed += 1
        if self._fed % self._per_week == 0:
            self._level += self._back * (1 - self._level)
            self._usual = sum(sum(self._base.predict(ahead)) for ahead in range(self._per_week)) / self._per_week

    def predict(self, ahead: int) -> Day:
        return [self._level * value for value in self._base.predict(ahead)]


class Factored:
    """Level x weight of the weekday x shape of its day; the shape is drawn by `mix` to that of all days.

    Far fewer parameters than hours in a week: what is known of one day helps the others, which counts where the counts are small.
    """

    def __init__(self, hours: int, per_week: int, gain: float, level_gain: float, mix: float) -> None:
        self._gain, self._level_gain, self._mix = gain, level_gain, mix
        self._common = [1 / hours] * hours
        self._shapes: list[list[float] | None] = [None] * per_week
        self._weights = [1.0] * per_week
        self._level: float | None = None
        self._fed = 0

    def feed(self, day: Day) -> None:
        weeks, place = divmod(self._fed, len(self._weights))
        gain, total = max(self._gain, 1 / (weeks + 1)), sum(day)
        if self._level is None:
            self._level = total or 1.0
        expected = self._level * self._weights[place]
        step = min(max(total / expected, LEAST), MOST) - 1 if expected > 0 else 0.0
        self._weights[place] *= 1 + gain * step
        weight = self._weights[place] * len(self._weights) / max(1e-9, sum(self._weights))
        self._level *= 1 + self._level_gain * step * min(1.0, weight)
        if total > 0:
            shape = [value / total for value in day]
            known = self._shapes[place]
            self._shapes[place] = shape if known is None else _towards(known, shape, gain)
            much = max(self._gain / 3, 1 / (self._fed + 1)) * min(1.0, total / max(expected, 1e-9))
            self._common = _towards(self._common, shape, much)
        self._fed += 1

    def predict(self, ahead: int) -> Day:
        place = (self._fed + ahead) % len(self._weights)
        level = (self._level or 0.0) * self._weights[place]
        own, common = level * (1 - self._mix), level * self._mix
        shape = self._shapes[place] or self._common
        return [own * mine + common * all for mine, all in zip(shape, self._common, strict=True)]


def _towards(was: Day, value: Day, gain: float) -> list[float]:
    return [old + gain * (new - old) for old, new in zip(was, value, strict=True)]


def candidates(hours: int, per_week: int) -> list[Model]:
    """From the quick to the slow, from a whole profile to few parameters."""

    def smoothed(gain: float) -> Model:
        return Smoothed(hours, per_week, gain)

    def mean(weeks: int) -> Model:
        return Mean(hours, per_week, weeks)

    return [
        LastWeek(hours, per_week),
        mean(4),
        smoothed(0.25),
        smoothed(0.5),
        Levelled(smoothed(0.25), per_week, 0.3, 0.5),
        Levelled(smoothed(0.1), per_week, 0.3, 0.5),
        Levelled(smoothed(0.5), per_week, 0.5, 0.5),
        Levelled(mean(16), per_week, 0.1),
        Levelled(mean(52), per_week, 0.1),
        Levelled(mean(52), per_week, 0.3),
        Factored(hours, per_week, 0.05, 0.1, 0.0),
        Factored(hours, per_week, 0.05, 0.1, 0.3),
        Factored(hours, per_week, 0.05, 0.1, 0.6),
    ]
