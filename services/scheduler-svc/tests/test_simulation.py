"""The contests' door, as a judge calls it: what comes in on stdin, what goes out on stdout."""

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any


def contest(*arguments: str, lines: Sequence[dict[str, Any]] = ()) -> list[Any]:
    told = "".join(json.dumps(line) + "\n" for line in lines)
    command = [sys.executable, "-m", "scheduler_svc", "contest", *arguments]
    done = subprocess.run(command, input=told, capture_output=True, text=True, timeout=60, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_jobs_on_processors_start_by_line_and_backfill() -> None:
    answers = contest(
        "swf",
        lines=[
            {"contest": "swf", "procs": 4},
            {"t": 0, "submit": [{"id": 0, "procs": 3, "est": 100}], "done": []},
            {"t": 1, "submit": [{"id": 1, "procs": 4, "est": 50}, {"id": 2, "procs": 1, "est": 200}], "done": []},
            {"t": 2, "submit": [{"id": 3, "procs": 1, "est": 98}], "done": []},
            {"t": 90, "submit": [], "done": [3]},
            {"t": 100, "submit": [], "done": [0]},
            {"t": 150, "submit": [], "done": [1]},
            {"end": True},
        ],
    )
    assert [answer["start"] for answer in answers] == [[0], [], [3], [], [1], [2]]


def test_people_get_what_they_can_do_while_they_are_there() -> None:
    def ready(id: int, activity: int, priority: int = 0) -> dict[str, int]:
        return {"id": id, "case": id, "activity": activity, "priority": priority, "due": 9_000}

    people = [{"id": "a", "skills": [0]}, {"id": "b", "skills": [0, 1]}]
    answers = contest(
        "replay",
        lines=[
            {"contest": "replay", "activities": ["check", "sign"], "operators": people},
            {"t": 0, "ready": [ready(0, 1), ready(1, 0)], "done": [], "present": [0], "absent": []},
            {"t": 10, "ready": [ready(2, 0), ready(3, 0, 2)], "done": [], "present": [1], "absent": []},
            {"t": 20, "ready": [], "done": [[1, 0]], "present": [], "absent": []},
            {"t": 30, "ready": [], "done": [[2, 0]], "present": [], "absent": [0]},
            {"t": 40, "ready": [], "done": [[3, 1]], "present": [], "absent": []},
            {"end": True},
        ],
    )  # fmt: skip
    assert [answer["start"] for answer in answers] == [[[1, 0]], [[3, 1]], [[2, 0]], [], [[0, 1]]]
