"""How long items waited, as histograms: eight classes for each doubling, so a quantile is right to within a twelfth."""

from collections.abc import Iterable, Sequence
from math import log2
from typing import Final

SHORTEST: Final = 0.001
PER_DOUBLING: Final = 8
CLASSES: Final = 256
"""From a millisecond to 50 days."""


def class_of(seconds: float) -> int:
    if seconds <= SHORTEST:
        return 0
    return min(CLASSES - 1, 1 + int(log2(seconds / SHORTEST) * PER_DOUBLING))


def middle(index: int) -> float:
    """The seconds that a class stands for."""
    return SHORTEST if index == 0 else SHORTEST * 2 ** ((index - 0.5) / PER_DOUBLING)


def merge(histograms: Iterable[Sequence[int]]) -> list[int]:
    total = [0] * CLASSES
    for histogram in histograms:
        for index, count in enumerate(histogram):
            total[index] += count
    return total


def quantile(histogram: Sequence[int], share: float) -> float | None:
    """None where nothing was counted."""
    rank = share * sum(histogram)
    seen = 0
    for index, count in enumerate(histogram):
        seen += count
        if count and seen >= rank:
            return round(middle(index), 4)
    return None
