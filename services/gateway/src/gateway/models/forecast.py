"""Plans and forecasts as they are shown."""

from typing import Literal

from kernel_contracts.base import Event, Time
from pydantic import ConfigDict, Field


class ForecastPoint(Event):
    """An hour from `at` on. `load` is in hours of work: 2 keeps two people busy."""

    at: Time
    mean: float
    low: float
    high: float


class ForecastError(Event):
    """Of its forecasts in the last `days`: error in all through what came in all, and the share that lay within the band."""

    days: int
    wape: float | None
    within_band: float


class ServiceForecast(Event):
    service: str
    error: ForecastError | None
    points: list[ForecastPoint]


class Forecast(Event):
    """What is to come, by the hour, with a 90 % band; of the twenty services with the most arrivals, or of one."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)

    of: Literal["arrivals", "load"]
    by: Literal["service"]
    start: Time = Field(alias="from")
    step: str
    band: float
    items: list[ServiceForecast]


class PlannedResource(Event):
    type: str
    id: str


class PlannedRun(Event):
    pid: int
    service: str
    queue: str
    state: Literal["running", "planned"]
    begin: Time
    end: Time
    resources: list[PlannedResource]


class Plan(Event):
    """Who is expected to run what, when. `complete`: everything in line was looked at and is shown, as far as it begins."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)

    start: Time = Field(alias="from")
    until: Time
    complete: bool
    assumes: list[str]
    waiting: int
    not_before_until: int
    items: list[PlannedRun]


class Waits(Event):
    """Seconds from READY."""

    mean: float
    p50: float
    p95: float


class Busy(Event):
    id: str
    utilisation: float


class Outcome(Event):
    """What begins until the end of the horizon. `late`: of those with a deadline, how many miss it."""

    begun: int
    waiting: int
    wait: Waits
    with_due: int
    late: int
    utilisation: dict[str, float]
    busiest: list[Busy]


class Simulated(Event):
    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)

    start: Time = Field(alias="from")
    until: Time
    complete: bool
    assumes: list[str]
    as_it_is: Outcome
    changed: Outcome
