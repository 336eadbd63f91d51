"""How a replay went: one object for programs, tables for people."""

from typing import Any

from kernel_client.eventlog import Log
from kernel_client.replay.plan import POOL
from kernel_client.replay.run import Replay

SHOWN = 15


def summary(log: Log, replay: Replay, speed: float | None) -> dict[str, Any]:
    """Waits and busy times are real seconds; times `speed` they are the log's."""
    seconds, measure = replay.seconds, replay.measure
    return {
        "cases": replay.cases_done,
        "tasks": measure.tasks,
        "log": {
            "cases": len(log.cases),
            "tasks": log.tasks,
            "activities": len(log.activities),
            "span": round(log.span, 3),
        },
        "bad_rows": log.bad.count,
        "bad": [{"line": line, "error": why} for line, why in log.bad.named],
        "estimated_starts": log.estimated,
        "speed": speed or "max",
        "seconds": round(seconds, 3),
        "tasks_per_s": round(measure.tasks / seconds, 2) if seconds else 0.0,
        "waits": measure.all_waits(),
        "activities": measure.service_rows(),
        "operators": measure.operator_rows(),
        "interrupted": replay.interrupted,
        "problems": replay.problems,
    }


def show(told: dict[str, Any]) -> None:
    from kernel_client.cli.output import print_table

    log = told["log"]
    if told["interrupted"]:
        print("Ended before its end; this is what was done until then.")
    done = f"cases {told['cases']} of {log['cases']}, tasks {told['tasks']} of {log['tasks']}"
    print(f"{done}, in {told['seconds']:.1f} s ({told['tasks_per_s']:.1f}/s)")
    print_table(
        ["activity", "tasks>", "wait p50 s>", "p95>", "max>"],
        [
            [row["service"], row["tasks"], _s(row["p50"]), _s(row["p95"]), _s(row["max"])]
            for row in told["activities"][:SHOWN]
        ],
        title="Waits (READY to RUNNING), longest first",
    )
    _more(told["activities"], "activities")
    print_table(
        ["operator", "tasks>", "busy s>", "utilisation>"],
        [
            [row["id"], row["tasks"], _s(row["busy"]), "" if row["id"] == POOL else f"{row['utilisation']:.0%}"]
            for row in told["operators"][:SHOWN]
        ],
        title="Who did how much",
    )
    _more(told["operators"], "operators")
    waits = told["waits"]
    print(
        f"all waits: p50 {_s(waits['p50'])}, p95 {_s(waits['p95'])}, max {_s(waits['max'])}, mean {_s(waits['mean'])} s",
        end="",
    )
    print(f" ({told['speed']:g} s of the log pass in one)" if told["speed"] != "max" else "")
    if told["estimated_starts"]:
        print(
            f"{told['estimated_starts']} tasks have no start in the log: estimated from what their case and person did before"
        )
    if told["bad_rows"]:
        print(f"{told['bad_rows']} rows could not be used:")
        for each in told["bad"][:10]:
            print(f"  line {each['line']}: {each['error']}")
    for problem in told["problems"][:10]:
        print(f"problem: {problem}")


def _more(rows: list[Any], what: str) -> None:
    if len(rows) > SHOWN:
        print(f"  and {len(rows) - SHOWN} more {what} (--json has all)\n")


def _s(value: float) -> str:
    return f"{value:.2f}"
