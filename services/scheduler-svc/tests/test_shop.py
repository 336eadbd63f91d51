"""A floor of machines and people: rules kept, no peeking at orders to come, looking ahead only ever helps what is known."""

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from scheduler_svc.domain.deadlines import step_due
from scheduler_svc.domain.projects.lookahead import FLOW, Chain, LookAhead, Position
from scheduler_svc.simulation.shop import Row, Shop, floor_of

from .test_projects import looks
from .test_simulation import contest


def shop(seed: int, orders: int = 14) -> dict[str, Any]:
    rng = Random(seed)
    machines = [{"id": f"m{n}", "capacity": 1 + n % 2} for n in range(4)]
    workers = [
        {
            "id": f"w{n}",
            "capacity": 1 + n % 2,
            "skills": sorted({n % 4, rng.randrange(4)}),
            "presence": [[day * 1_440, day * 1_440 + 480] for day in range(60)],
        }
        for n in range(5)
    ]
    made = []
    for n in range(orders):
        release = rng.randrange(2_000)
        ops = [[rng.randrange(4), rng.randint(5, 120)] for _ in range(rng.randint(1, 6))]
        made.append(
            {"id": str(n), "release": release, "due": release + 3 * sum(length for _, length in ops), "ops": ops}
        )
    return {"contest": "shop", "machines": machines, "workers": workers, "orders": made}


def check(told: dict[str, Any], rows: list[Row]) -> float:
    """The rules of the floor; the tardiness in all."""
    starts = {(order, step): (start, worker, machine) for order, step, start, worker, machine in rows}
    assert len(starts) == len(rows) == sum(len(order["ops"]) for order in told["orders"])
    spans: dict[tuple[str, int], list[tuple[float, float]]] = {}
    tardy = 0.0
    for index, order in enumerate(told["orders"]):
        ready = order["release"]
        for step, (machine, length) in enumerate(order["ops"]):
            start, worker, on = starts[index, step]
            assert on == machine
            assert start >= ready
            assert machine in told["workers"][worker]["skills"]
            assert any(begin <= start < end for begin, end in told["workers"][worker]["presence"])
            ready = start + length
            for place in (("m", machine), ("w", worker)):
                spans.setdefault(place, []).append((start, ready))
        tardy += max(0, ready - order["due"])
    for (kind, index), busy in spans.items():
        capacity = told["machines" if kind == "m" else "workers"][index]["capacity"]
        assert all(sum(a <= t < b for a, b in busy) <= capacity for t, _ in busy)
    return tardy


@pytest.mark.parametrize("seed", range(4))
def test_the_rules_are_kept_and_no_order_is_known_before_its_release(seed: int) -> None:
    told = shop(seed)
    rows = Shop(told).run()
    check(told, rows)
    assert Shop(told).run() == rows
    horizon = sorted(order["release"] for order in told["orders"])[8]
    fewer = [index for index, order in enumerate(told["orders"]) if order["release"] <= horizon]
    some = Shop({**told, "orders": [told["orders"][index] for index in fewer]}).run()
    early = [(fewer[order], *rest) for order, *rest in some if rest[1] <= horizon]
    assert sorted(early) == sorted(row for row in rows if row[2] <= horizon)


def test_looking_ahead_keeps_the_rules_and_helps() -> None:
    plain, ahead = 0.0, 0.0
    for seed in range(3):
        told = shop(seed, 20)
        plain += check(told, Shop(told).run())
        ahead += check(told, Shop(told, 400).run())
    assert ahead < plain


def test_a_rollout_is_what_the_dispatcher_does() -> None:
    """Where all is released at once and nothing moved, the known work ends as it then does."""
    told = shop(5)
    for order in told["orders"]:
        order["release"] = 0
    tardy = check(told, Shop(told).run())
    floor = floor_of(told)
    chains = {
        n: Chain(0, order["due"], [(machine, length) for machine, length in order["ops"]], 0)
        for n, order in enumerate(told["orders"])
    }
    ahead = LookAhead(floor, Random(1).random)
    position = Position(0, [1] * 5, chains)
    before = ahead.rollout(position)
    ends: dict[int, float] = {}
    for index, step, start, _, _ in Shop(told).run():
        ends[index] = max(ends.get(index, 0), start + told["orders"][index]["ops"][step][1])
    flow = FLOW * sum(ends.values())
    assert before == pytest.approx(tardy + flow, rel=0.1)
    ahead.improve(position, looks(300))
    assert ahead.rollout(position) <= before
    assert ahead.rollout(position, before / 1e6) == float("inf")


def test_a_step_gets_its_share_of_the_slack() -> None:
    assert step_due(0, 100, [10]) == 100
    assert step_due(0, 100, [10, 10, 10, 10]) == pytest.approx(10 + 60 / 2)
    assert step_due(50, 60, [30, 30, 30, 30]) == pytest.approx(50 + 30 - 110 / 2)


def test_the_door_of_the_contest(tmp_path: Path) -> None:
    told = shop(1, 4)
    path = tmp_path / "shop.json"
    path.write_text(json.dumps(told))
    for options in ([], ["--budget-ms", "50"]):
        (answer,) = contest("shop", str(path), *options)
        check(told, [tuple(row) for row in answer["ops"]])
