"""Forecasts of load: nothing of the future gets in, the band holds, the best model is found by itself."""

from math import cos, pi
from pathlib import Path
from random import Random

import pytest
from scheduler_svc.domain.forecast import Forecaster
from scheduler_svc.domain.forecast.models import candidates
from scheduler_svc.simulation.load import forecasts

from .test_simulation import contest

HOURS, PER_WEEK = 12, 7


def series(weeks: int, seed: int, *, jump: float = 1.0) -> list[float]:
    """Counts with a shape of the day, a quiet weekend, noise, and from the last quarter on another level."""
    rng = Random(seed)
    told = []
    for day in range(weeks * PER_WEEK):
        level = (20 if day % PER_WEEK < 5 else 4) * (jump if day >= weeks * PER_WEEK * 3 // 4 else 1)
        for hour in range(HOURS):
            rate = level * (1.1 - cos(2 * pi * hour / HOURS))
            told.append(float(max(0, round(rng.gauss(rate, rate**0.5)))))
    return told


def error(told: dict[int, list[float]], truth: list[float]) -> float:
    return sum(abs(value - truth[at + i]) for at, mean in told.items() for i, value in enumerate(mean))


@pytest.mark.parametrize("week", [False, True])
def test_the_future_does_not_get_in(week: bool) -> None:
    truth = series(16, 1)
    other = truth[: 14 * PER_WEEK * HOURS] + [value * 9 + 1 for value in truth[14 * PER_WEEK * HOURS :]]
    first, second = (forecasts(each, HOURS, PER_WEEK, 28, week=week) for each in (truth, other))
    assert list(first) == list(second)
    assert len(first) == (4 if week else 28)
    for origin in first:
        if origin <= 14 * PER_WEEK * HOURS:
            assert first[origin] == second[origin]


@pytest.mark.parametrize(("jump", "week"), [(1.0, False), (1.0, True), (1.6, False)])
def test_it_is_near_the_best_of_its_models_and_the_band_holds(jump: float, week: bool) -> None:
    truth = series(40, 2, jump=jump)
    made = forecasts(truth, HOURS, PER_WEEK, 28, week=week)
    ours = error({at: list(each.mean) for at, each in made.items()}, truth)
    length = len(next(iter(made.values())).mean) // HOURS
    theirs = []
    for model in candidates(HOURS, PER_WEEK):
        told: dict[int, list[float]] = {}
        for at in range(0, len(truth), HOURS):
            if at in made:
                told[at] = [value for ahead in range(length) for value in model.predict(ahead)]
            model.feed(truth[at : at + HOURS])
        theirs.append(error(told, truth))
    assert ours <= 1.05 * min(theirs)
    inside = [
        low <= truth[at + index] <= high
        for at, each in made.items()
        for index, (low, high) in enumerate(zip(each.low, each.high, strict=True))
    ]
    assert 0.85 <= sum(inside) / len(inside) <= 0.97


def test_with_little_or_nothing_to_look_at_it_says_something() -> None:
    forecaster = Forecaster(3, 7, 7)
    assert forecaster.forecast().mean == (0.0,) * 21
    forecaster.feed([1, 2, 3])
    told = forecaster.forecast()
    assert all(low <= mean <= high for low, mean, high in zip(told.low, told.mean, told.high, strict=True))


def test_the_door_of_the_contest(tmp_path: Path) -> None:
    truth = series(10, 3)
    rows = ["time,count"] + [f"2026-01-01T00:00:00,{value}" for value in truth]
    path = tmp_path / "load.csv"
    path.write_text("\n".join(rows))
    (told,) = contest("forecast", str(path), "--day", str(HOURS), "--per-week", "7", "--test-days", "14")
    assert list(told) == [str(len(truth) - day * HOURS) for day in range(14, 0, -1)]
    assert all(len(told[origin][part]) == HOURS for origin in told for part in ("mean", "lo", "hi"))
