"""Rows as a log has them, and the log as a replay wants it. Times are seconds since 1970, UTC."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kernel_client.errors import KernelError

NOBODY = -1
"""In place of a resource, where the log names none."""


class LogError(KernelError):
    """Not a log that can be read at all."""


@dataclass(slots=True)
class Row:
    """One event. `transition`: `start` opens a task, `complete` ends one; `start` is known where a row is a whole task."""

    line: int
    case: str
    activity: str
    resource: str | None
    time: float
    start: float | None = None
    transition: str = "complete"
    instance: str | None = None


@dataclass(slots=True)
class BadRows:
    """How many rows could not be used, and the first of them: (line, what is wrong)."""

    count: int = 0
    named: list[tuple[int, str]] = field(default_factory=list)
    limit: int = 100

    def add(self, line: int, why: str) -> None:
        self.count += 1
        if len(self.named) < self.limit:
            self.named.append((line, why))


@dataclass(frozen=True, slots=True)
class Task:
    """Indexes into the log's activities and resources (or NOBODY); `duration` in seconds."""

    activity: int
    resource: int
    start: float
    duration: float


@dataclass(slots=True)
class Case:
    """Its tasks in the order in which they began."""

    id: str
    tasks: list[Task]

    @property
    def arrival(self) -> float:
        return self.tasks[0].start


@dataclass(slots=True)
class Log:
    """Cases in order of arrival. `estimated`: tasks whose start the log does not have."""

    activities: list[str]
    resources: list[str]
    cases: list[Case]
    bad: BadRows
    estimated: int = 0
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def tasks(self) -> int:
        return sum(len(case.tasks) for case in self.cases)

    @property
    def span(self) -> float:
        """Seconds from the first arrival to the last end."""
        if not self.cases:
            return 0.0
        last = max(task.start + task.duration for case in self.cases for task in case.tasks)
        return last - self.cases[0].arrival
