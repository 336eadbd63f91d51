"""Free units over time as breakpoints, as Slurm's backfill map: split at each reservation, never sampled."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from math import inf


class Profile:
    """From `times[i]` until `times[i + 1]` there are `free[i]`; the last holds for ever. Times are seconds of any clock."""

    __slots__ = ("free", "times")

    def __init__(self, start: float, free: int, gains: Iterable[tuple[float, int]] = ()) -> None:
        """`gains`: units that come free, and when; what is due before `start` comes at once."""
        self.times = [start]
        self.free = [free]
        for at, units in sorted(gains):
            if at <= self.times[-1]:
                self.free[-1] += units
            else:
                self.times.append(at)
                self.free.append(self.free[-1] + units)

    def fits(self, units: int, start: float, end: float) -> bool:
        """Whether so many are free all the time from `start` (not before the first breakpoint) until `end`."""
        times, free = self.times, self.free
        index = bisect_right(times, start) - 1
        while index < len(times) and times[index] < end:
            if free[index] < units:
                return False
            index += 1
        return True

    def earliest(self, units: int, length: float, after: float = -inf) -> float | None:
        """The first time from `after` on at which so many are free for so long."""
        times, free = self.times, self.free
        index = max(0, bisect_right(times, after) - 1)
        count = len(times)
        while index < count:
            if free[index] < units:
                index += 1
                continue
            start = max(times[index], after)
            end = start + length
            ahead = index + 1
            while ahead < count and times[ahead] < end:
                if free[ahead] < units:
                    break
                ahead += 1
            else:
                return start
            index = ahead
        return None

    def take(self, units: int, start: float, end: float) -> None:
        """They are not free any more from `start` until `end`; the caller has looked whether they are."""
        first = self._split(start)
        last = self._split(end) if end < inf else len(self.free)
        free = self.free
        for index in range(first, last):
            free[index] -= units

    def _split(self, at: float) -> int:
        """The index of the breakpoint at that time, made where there is none."""
        times = self.times
        index = bisect_left(times, at)
        if index == len(times) or times[index] != at:
            times.insert(index, at)
            self.free.insert(index, self.free[index - 1])
        return index
