"""How long a run takes, learnt from the runs before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MOST_TRIES: Final = 4
"""From so many on, how often a step was tried before tells nothing more."""
PRIOR: Final = 600.0
"""Seconds that a run takes where nothing at all is known."""
PRIOR_WEIGHT: Final = 5.0
WEIGHT: Final = 20.0
"""A mean counts as much as the one above it when it stands on so many runs."""

Level = tuple[str, ...] | tuple[str, str, int] | tuple[str, str, int, str]


@dataclass(frozen=True, slots=True)
class Step:
    """What makes runs alike: the service, the how manieth time it is tried, and the service that ran before it."""

    service: str
    tries: int = 1
    previous: str = ""


@dataclass(slots=True)
class Known:
    """The mean of `count` runs, in seconds."""

    count: int = 0
    mean: float = 0.0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.mean += (seconds - self.mean) / self.count


class Durations:
    """Running means, each shrunk to the one above it: step, service and tries, service, everything of the tenant, a prior.

    What was declared takes the place of the tenant's mean. Only whole steps are stored; the levels above are made of them.
    """

    def __init__(self) -> None:
        self.steps: dict[tuple[str, Step], Known] = {}
        self._above: dict[Level, Known] = {}

    def __bool__(self) -> bool:
        return bool(self.steps)

    def expected(self, tenant: str, step: Step, declared: float | None = None) -> float:
        """Seconds."""
        tries = min(step.tries, MOST_TRIES)
        value, weight = PRIOR, PRIOR_WEIGHT
        if declared is None:
            value, weight = _shrunk(self._above.get((tenant,)), value, weight), WEIGHT
        else:
            value, weight = declared, WEIGHT
        value = _shrunk(self._above.get((tenant, step.service)), value, weight)
        value = _shrunk(self._above.get((tenant, step.service, tries)), value, weight)
        return _shrunk(self.steps.get((tenant, Step(step.service, tries, step.previous))), value, weight)

    def learn(self, tenant: str, step: Step, seconds: float) -> tuple[str, Step]:
        """One run more; the place that has to be saved."""
        step = Step(step.service, min(step.tries, MOST_TRIES), step.previous)
        place = (tenant, step)
        known = self.steps.get(place)
        if known is None:
            known = self.steps[place] = Known()
        known.add(seconds)
        for level in _levels(tenant, step):
            above = self._above.get(level)
            if above is None:
                above = self._above[level] = Known()
            above.add(seconds)
        return place

    def restore(self, tenant: str, step: Step, known: Known) -> None:
        self.steps[tenant, step] = known
        for level in _levels(tenant, step):
            above = self._above.setdefault(level, Known())
            total = above.count + known.count
            above.mean += (known.mean - above.mean) * known.count / total
            above.count = total


def _levels(tenant: str, step: Step) -> tuple[Level, ...]:
    return (tenant,), (tenant, step.service), (tenant, step.service, step.tries)


def _shrunk(known: Known | None, value: float, weight: float) -> float:
    if known is None:
        return value
    return (known.mean * known.count + value * weight) / (known.count + weight)
