"""What a log becomes: a design that the kernel takes, routes that fit its rule."""

import json
from pathlib import Path

import pytest
from gateway.models.design import Design
from kernel_client.eventlog import Log, read
from kernel_client.replay import durations
from kernel_client.replay.plan import MOST_TASKS, POOL, cut, plan

TEXT = """case,activity,resource,start,end
1,Check,ann,2024-01-01 10:00,2024-01-01 10:10
1,Pay,,2024-01-01 10:20,2024-01-01 10:30
2,Check,bob,2024-01-01 10:00,2024-01-01 10:20
2,Check,,2024-01-01 10:40,2024-01-01 10:50
2,=size(x) a/b,ann,2024-01-01 11:00,2024-01-01 11:10
"""


@pytest.fixture
def log(tmp_path: Path) -> Log:
    path = tmp_path / "log.csv"
    path.write_text(TEXT)
    return read(path)


def test_activities_become_services_and_resources_operators(log: Log) -> None:
    made = plan(log, 10.0)
    Design.model_validate(made.design)
    assert made.design["services"].keys() == {"Check", f"Check {POOL}", "Pay", "size(x) a-b"}
    assert made.design["operators"]["ann"]["roles"] == ["Check", "size(x) a-b"]
    assert made.design["operators"]["bob"]["roles"] == ["Check"]
    assert made.design["operators"][POOL]["roles"] == [POOL], "whoever nobody named competes with nobody"
    assert made.design["services"]["Pay"]["roles"] == [POOL]
    assert made.design["services"]["Check"]["expected_duration"] == "PT90.000S"


def test_a_route_names_the_services_of_its_case(log: Log) -> None:
    made = plan(log, None)
    first = made.first(log.cases[1], "run")
    services = made.design["rules"][made.rule]["parameters"]["services"]
    assert [services[index] for index in first["context"]["route"]] == ["Check", f"Check {POOL}", "size(x) a-b"]
    assert first["service"] == "Check"
    assert first["entity"] == {"type": "replay-case", "id": "2"}


def test_a_case_too_long_for_its_context_is_cut(log: Log) -> None:
    log.cases[0].tasks *= 4000
    assert len(cut(log)) == 1
    assert len(log.cases[0].tasks) == MOST_TASKS
    context = plan(log, None).first(log.cases[0], "run")["context"]
    assert len(json.dumps({**context, "route": [9999] * MOST_TASKS}, separators=(",", ":"))) < 16 * 1024


def test_the_same_log_has_the_same_rule(log: Log) -> None:
    assert plan(log, 1.0).rule == plan(log, 50.0).rule


def test_speeds(log: Log) -> None:
    assert durations.parse_speed("max") is None
    assert durations.parse_speed("60x") == 60
    assert durations.default_speed(log) == log.span / 60
    for wrong in ("fast", "0", "-1", "inf", "nan"):
        with pytest.raises(ValueError, match="--speed"):
            durations.parse_speed(wrong)
