"""What the kernel has to know to run a log: services, operators, one queue, one rule.

The route of a case travels in its context as indexes into the rule's list of services, so that a long case stays far below the
16 KiB up to which a context is told with its event.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from statistics import median
from typing import Any

from kernel_client.eventlog import Case, Log, Task
from kernel_client.eventlog.model import NOBODY
from kernel_client.replay.durations import iso

ENTITY = "replay-case"
POOL = "(pool)"
"""The operator, and its role, of tasks for which the log names nobody."""
POOL_CAPACITY = 10_000
LONGEST_NAME = 200
MOST_TASKS = 3_000
"""Of one case: so many steps of its route stay within 16 KiB."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`id` is the same for the same services, so that a log replayed again finds its rule."""

    id: str
    services: list[str]
    of_task: Mapping[tuple[int, bool], int]
    """(activity, whether the log names somebody) -> index into `services`."""
    activity: list[str]
    """Of each service: the activity that it stands for."""
    design: dict[str, Any]
    operators: list[str]

    @property
    def queue(self) -> str:
        return f"replay-{self.id}"

    @property
    def rule(self) -> str:
        return f"replay-{self.id}-next"

    def route(self, case: Case) -> list[int]:
        return [self.of_task[task.activity, task.resource != NOBODY] for task in case.tasks]

    def first(self, case: Case, run: str) -> dict[str, Any]:
        """The process that a case begins with."""
        route = self.route(case)
        return {
            "service": self.services[route[0]],
            "entity": {"type": ENTITY, "id": case.id},
            "context": {"replay": self.id, "run": run, "position": 0, "route": route},
            "key": f"{run}:{hashlib.sha256(case.id.encode()).hexdigest()[:24]}",
        }


def cut(log: Log) -> list[str]:
    """Shortens cases that are too long for their context; says which."""
    told = []
    for case in log.cases:
        if len(case.tasks) > MOST_TASKS:
            told.append(f"case {case.id} has {len(case.tasks):,} tasks, its first {MOST_TASKS:,} are replayed")
            del case.tasks[MOST_TASKS:]
    return told


def plan(log: Log, speed: float | None) -> Plan:
    """`speed` scales the expected durations, which the scheduler may use; None is as fast as can be."""
    named: dict[int, list[float]] = {}
    pooled: dict[int, list[float]] = {}
    roles: dict[int, set[int]] = {}
    for case in log.cases:
        for task in case.tasks:
            (pooled if task.resource == NOBODY else named).setdefault(task.activity, []).append(task.duration)
            if task.resource != NOBODY:
                roles.setdefault(task.resource, set()).add(task.activity)
    names: list[str] = []
    activity: list[str] = []
    of_task: dict[tuple[int, bool], int] = {}
    services: dict[str, Any] = {}
    taken = set(log.activities)
    for index, title in enumerate(log.activities):
        for known, durations in ((True, named.get(index)), (False, pooled.get(index))):
            if not durations:
                continue
            name = title if known or index not in named else _pooled_name(title, taken)
            of_task[index, known] = len(names)
            names.append(name)
            activity.append(title)
            services[name] = _service(title, title if known else POOL, median(durations), speed)
    operators = {
        log.resources[resource]: {"roles": sorted(log.activities[each] for each in does), "capacity": 1}
        for resource, does in roles.items()
    }
    if pooled:
        operators[POOL] = {"roles": [POOL], "capacity": POOL_CAPACITY}
    id = hashlib.sha256("\n".join(names).encode()).hexdigest()[:8]
    for service in services.values():
        service["queue"] = f"replay-{id}"
    design = {
        "services": services,
        "operators": operators,
        "queues": {f"replay-{id}": {"policy": "fifo"}},
        "rules": {f"replay-{id}-next": next_rule(id, names)},
    }
    return Plan(id, names, of_task, activity, design, sorted(operators))


def _pooled_name(title: str, taken: set[str]) -> str:
    name = f"{title[: LONGEST_NAME - len(POOL) - 1]} {POOL}"
    while name in taken:
        name = name[:-2] + "+)"
    taken.add(name)
    return name


def _service(title: str, role: str, seconds: float, speed: float | None) -> dict[str, Any]:
    expected = timedelta(seconds=seconds / speed) if speed else timedelta(0)
    return {"title": title, "kind": "human", "roles": [role], "entity_type": ENTITY, "expected_duration": iso(expected)}


def next_rule(id: str, services: list[str]) -> dict[str, Any]:
    """When a task of this log has ended well, start what comes next on its case's route."""
    following = "process.context.position + 1"
    return {
        "event": {"type": "kernel.process.terminated.v1"},
        "entity_type": ENTITY,
        "when": (
            f"process.context.replay == parameters.replay && process.outcome == 'completed'"
            f" && {following} < size(process.context.route)"
        ),
        "instructions": [
            {
                "do": "start",
                "service": f"=parameters.services[process.context.route[{following}]]",
                "entity": "=entity",
                "context": {
                    "replay": "=process.context.replay",
                    "run": "=process.context.run",
                    "position": f"={following}",
                    "route": "=process.context.route",
                },
            }
        ],
        "parameters": {"replay": id, "services": services},
    }


def logged(case: Case, position: int) -> Task | None:
    return case.tasks[position] if 0 <= position < len(case.tasks) else None
