"""`contest`: what the judges of scheduling contests call. Answers go to stdout, everything else to stderr."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

USAGE = """\
contest replay                         one instant a line on stdin, who starts on stdout
contest swf                            the same for rigid jobs on identical processors
contest rcpsp SET.zip [--budget-ms N]
contest msrcpsp FOLDER [--budget-ms N | --online]
contest shop SHOP.json.gz [--budget-ms N]
contest forecast SERIES.csv.gz --day HOURS --per-week DAYS --test-days N [--ahead day|week]
"""


def main(arguments: list[str]) -> int:
    name, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if name == "replay" and not rest:
        from scheduler_svc.simulation.people import People

        return _online(People)
    if name == "swf" and not rest:
        from scheduler_svc.simulation.batch import Batch

        return _online(Batch)
    if name in OFFLINE:
        try:
            answer = OFFLINE[name](rest)
        except (OSError, ValueError, KeyError, IndexError) as error:
            print(f"contest {name}: {error}", file=sys.stderr)
            return 1
        json.dump(answer, sys.stdout, separators=(",", ":"))
        print()
        return 0
    print(USAGE, file=sys.stderr, end="")
    return 2


def _forecast(arguments: list[str]) -> Any:
    from scheduler_svc.simulation.load import forecasts, read

    parser = argparse.ArgumentParser(prog="contest forecast")
    parser.add_argument("series", type=Path)
    parser.add_argument("--day", type=int, required=True, help="hours a day")
    parser.add_argument("--per-week", type=int, required=True, help="days a week")
    parser.add_argument("--test-days", type=int, required=True)
    parser.add_argument("--ahead", choices=["day", "week"], default="day")
    told = parser.parse_args(arguments)
    made = forecasts(read(told.series), told.day, told.per_week, told.test_days, week=told.ahead == "week")
    return {
        str(origin): {name: [round(value, 4) for value in getattr(each, part)] for name, part in _PARTS}
        for origin, each in made.items()
    }


def _rcpsp(arguments: list[str]) -> Any:
    from scheduler_svc.simulation.projects import rcpsp

    told = _planner("rcpsp", "archive").parse_args(arguments)
    return rcpsp(told.archive, told.budget_ms)


def _msrcpsp(arguments: list[str]) -> Any:
    from scheduler_svc.simulation.projects import msrcpsp

    parser = _planner("msrcpsp", "folder")
    parser.add_argument("--online", action="store_true", help="dispatch without looking ahead")
    told = parser.parse_args(arguments)
    return msrcpsp(told.folder, told.budget_ms, online=told.online)


def _shop(arguments: list[str]) -> Any:
    from scheduler_svc.simulation.shop import Shop, read

    told = _planner("shop", "instance").parse_args(arguments)
    return {"ops": Shop(read(told.instance), told.budget_ms).run()}


def _planner(name: str, source: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"contest {name}")
    parser.add_argument(source, type=Path)
    parser.add_argument("--budget-ms", type=float, help="CPU time for each instance")
    return parser


_PARTS = (("mean", "mean"), ("lo", "low"), ("hi", "high"))
OFFLINE: Final[Mapping[str, Callable[[list[str]], Any]]] = {
    "forecast": _forecast,
    "rcpsp": _rcpsp,
    "msrcpsp": _msrcpsp,
    "shop": _shop,
}


def _online(make: Callable[[dict[str, Any]], Any]) -> int:
    """Each line is everything of one instant, answered at once; `end` or the end of the input closes."""
    player = None
    for line in sys.stdin:
        told = json.loads(line)
        if told.get("end"):
            break
        if player is None:
            player = make(told)
            continue
        print(json.dumps(player.answer(told), separators=(",", ":")), flush=True)
    return 0
