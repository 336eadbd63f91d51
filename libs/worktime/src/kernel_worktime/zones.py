"""Wall-clock windows of a zone as instants.

A window of the wall clock is the set of all instants at which the clock shows a time in it. So what a change of clocks leaves
out is not there, and what it shows twice counts twice, in every zone and for any size and time of the change.
"""

from bisect import bisect_right
from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from kernel_worktime.spans import Span
from kernel_worktime.units import EPOCH, HOUR, SECOND, year_start

STEP = 6 * HOUR
"""Two changes of clocks within less are not looked for: the IANA database has none that undo each other within a day."""

FARTHEST = 26 * HOUR
"""No zone is farther from UTC, in either direction."""


class Piece(NamedTuple):
    """While a zone has one offset from UTC, in microseconds."""

    start: int
    end: int
    offset: int


class Pieces:
    """Consecutive pieces of a zone over a range of instants."""

    def __init__(self, pieces: list[Piece]) -> None:
        self._pieces = pieces
        self._starts = [piece.start for piece in pieces]

    def __iter__(self) -> Iterator[Piece]:
        return iter(self._pieces)

    def resolve(self, start: int, end: int, capacity: int, into: list[Span]) -> None:
        """Appends the instants at which the wall clock shows `start` or later, and earlier than `end`."""
        at = max(0, bisect_right(self._starts, start - FARTHEST) - 1)
        for piece in self._pieces[at:]:
            if piece.start >= end + FARTHEST:
                return
            first, last = max(piece.start, start - piece.offset), min(piece.end, end - piece.offset)
            if first < last:
                into.append(Span(first, last, capacity))


@lru_cache(maxsize=4096)
def pieces(zone: ZoneInfo, year: int) -> Pieces:
    """Of a year in UTC and three days on both sides."""
    margin = 12 * STEP
    start, end = year_start(year) - margin, year_start(year + 1) + margin
    found: list[Piece] = []
    begun, offset = start, offset_at(zone, start)
    at = start
    while at < end:
        following = min(at + STEP, end)
        new = offset_at(zone, following)
        if new != offset:
            change = _change(zone, at, following)
            found.append(Piece(begun, change, offset))
            begun, offset = change, new
        at = following
    found.append(Piece(begun, end, offset))
    return Pieces(found)


def offset_at(zone: tzinfo, at: int) -> int:
    """The zone's offset from UTC at an instant, in microseconds; instants before year 1 or after 9999 raise OverflowError."""
    moment: datetime = (EPOCH + timedelta(microseconds=at)).astimezone(zone)
    offset = moment.utcoffset()
    assert offset is not None
    return offset // timedelta(microseconds=1)


def _change(zone: tzinfo, before: int, after: int) -> int:
    """The first second with the offset that holds at `after`; there is one change between the two."""
    old = offset_at(zone, before)
    low, high = before // SECOND, after // SECOND
    while high - low > 1:
        middle = (low + high) // 2
        if offset_at(zone, middle * SECOND) == old:
            low = middle
        else:
            high = middle
    return high * SECOND
