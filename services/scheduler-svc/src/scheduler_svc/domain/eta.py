"""When it will be its turn, at the pace at which its queue went lately."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import exp, sqrt
from typing import Final

FEWEST: Final = 3
"""Of fewer starts no pace is made."""
NINE_IN_TEN: Final = 1.2816
"""The quantile of the normal distribution."""


@dataclass(frozen=True, slots=True)
class Eta:
    p50: datetime
    p90: datetime


def eta(position: int, started: int, seconds: float, now: datetime) -> Eta | None:
    """The start of who is at `position` (from 1), where `started` of its queue began in the last `seconds`; None: too few.

    Both the starts to come and the pace seen are counts of chance: the logarithm of the wait spreads by 1/position + 1/started.
    """
    if started < FEWEST or seconds <= 0:
        return None
    middle = position * seconds / started
    late = middle * exp(NINE_IN_TEN * sqrt(1 / position + 1 / started))
    return Eta(now + timedelta(seconds=middle), now + timedelta(seconds=late))
