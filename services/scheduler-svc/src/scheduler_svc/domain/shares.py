"""Virtual time of a queue that shares its capacity between services: start-time fair queueing (Goyal, Vin, Cheng 1996).

An item's tag is where its service stands in virtual time, and its length moves that on: what has had more waits longer. A
service that was idle starts at the queue's own virtual time, so nobody saves up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from scheduler_svc.domain.durations import PRIOR

LEAST: Final = 1e-3
"""A run of no length at all would never move its service on."""


class Shares:
    __slots__ = ("_ends", "_least", "now", "weights")

    def __init__(self) -> None:
        self.weights: Mapping[str, float] = {}
        self.now = 0.0
        """The tag of what was placed last."""
        self._ends: dict[str, float] = {}
        self._least: float | None = None

    def tag(self, service: str, expected: float | None) -> float:
        """For one more item of `service`."""
        if self._least is not None:
            self.placed(self._least)
            self._least = None
        start = max(self.now, self._ends.get(service, 0.0))
        self.ends(service, start, expected)
        return start

    def ends(self, service: str, start: float, expected: float | None) -> None:
        """An item with this tag is known: the next of its service stands behind it."""
        length = max(PRIOR if expected is None else expected, LEAST) / self.weights.get(service, 1.0)
        self._ends[service] = max(self._ends.get(service, 0.0), start + length)

    def restore(self, service: str, tag: float, expected: float | None, *, busy: bool) -> None:
        """Virtual time goes on where what was stored shows it to have been: at the last placed, or the first in line."""
        self.ends(service, tag, expected)
        if busy:
            self.placed(tag)
        elif self._least is None or tag < self._least:
            self._least = tag

    def placed(self, tag: float) -> None:
        if tag > self.now:
            self.now = tag
            if len(self._ends) > 1_000:
                self._ends = {service: end for service, end in self._ends.items() if end > tag}
