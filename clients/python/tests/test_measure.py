"""Percentiles by nearest rank; waits and shares from processes that ended."""

from typing import Any, cast

from kernel_client.measure import Measure, percentile, spread
from kernel_client.types import Process


def process(**told: Any) -> Process:
    return cast(
        Process, {"service": "s", "operator": "ann", "ready_at": None, "started_at": None, "ended_at": None, **told}
    )


def test_percentiles() -> None:
    values = [float(n) for n in range(1, 101)]
    assert (percentile(values, 0.5), percentile(values, 0.95), percentile(values, 1), percentile(values, 0)) == (
        50,
        95,
        100,
        1,
    )
    assert percentile([], 0.5) == 0
    assert spread([3.0]) == {"p50": 3, "p95": 3, "max": 3, "mean": 3}


def test_who_did_how_much() -> None:
    measure = Measure()
    measure.expect("ann")
    measure.expect("idle", 2)
    at = "2024-01-01T10:00:{:02}Z".format
    measure.add(process(ready_at=at(0), started_at=at(2), ended_at=at(6)))
    measure.add(process(ready_at=at(0), started_at=at(6), ended_at=at(10)))
    measure.add(process(ready_at=at(0)))
    assert measure.tasks == 2
    assert measure.all_waits() == {"p50": 2, "p95": 6, "max": 6, "mean": 4}
    assert measure.operator_rows() == [
        {"id": "ann", "tasks": 2, "busy": 8, "utilisation": 0.8},
        {"id": "idle", "tasks": 0, "busy": 0, "utilisation": 0},
    ]
