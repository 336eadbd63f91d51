"""From rows to cases: starts and completions paired, missing starts estimated, all in order of time."""

from array import array
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median

from kernel_client.eventlog.csv_rows import CsvRows
from kernel_client.eventlog.files import is_xml, open_log
from kernel_client.eventlog.model import NOBODY, BadRows, Case, Log, Row, Task
from kernel_client.eventlog.xes_rows import XesRows

LONGEST_ESTIMATE = 8 * 3600.0
"""A task whose start is not known has not taken longer than a working day."""


def read(path: Path, columns: Mapping[str, str] | None = None, *, cases: int | None = None) -> Log:
    """The log, or the first `cases` of it to arrive; raises LogError where it can't be read at all."""
    bad = BadRows()
    with open_log(path) as stream:
        rows: XesRows | CsvRows = XesRows(stream, bad) if is_xml(stream) else CsvRows(stream, bad, columns or {})
        table = Table()
        for row in paired(rows, bad):
            table.add(row)
    table.estimate_starts()
    chosen, estimated = table.cases(cases)
    return Log(table.activities.names, table.resources.names, chosen, bad, estimated, rows.columns)


def paired(rows: Iterable[Row], bad: BadRows) -> Iterable[Row]:
    """One row a task: a completion takes the start of the oldest open one of its case, activity and instance."""
    open_starts: dict[tuple[str, str, str | None], deque[Row]] = defaultdict(deque)
    for row in rows:
        if row.start is not None or row.transition not in ("start", "complete"):
            if row.start is not None or row.transition in _ENDS:
                yield row
            continue
        key = (row.case, row.activity, row.instance)
        if row.transition == "start":
            open_starts[key].append(row)
            continue
        begun = open_starts.get(key)
        if begun:
            first = begun.popleft()
            if not begun:
                del open_starts[key]
            if first.time > row.time:
                bad.add(row.line, f"it ends before it starts (line {first.line})")
                continue
            row.start = first.time
            row.resource = row.resource or first.resource
        yield row
    left = sorted((row for begun in open_starts.values() for row in begun), key=lambda row: row.line)
    for row in left:
        bad.add(row.line, f"{row.activity} was started and never completed")


_ENDS = frozenset(("complete", "end", "ended", "completed", "done", "finish", "finished", "autoskip", "manualskip"))
"""Other transitions (schedule, assign, suspend, resume, ...) say nothing of how long the work took."""


class Names:
    """Each name once, by its index."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._index: dict[str, int] = {}

    def index(self, name: str) -> int:
        found = self._index.get(name)
        if found is None:
            found = self._index[name] = len(self.names)
            self.names.append(name)
        return found


class Table:
    """All tasks in columns: 32 bytes each, so that a log of millions fits."""

    def __init__(self) -> None:
        self.activities = Names()
        self.resources = Names()
        self._cases = Names()
        self._case = array("l")
        self._activity = array("i")
        self._resource = array("i")
        self._start = array("d")
        self._end = array("d")
        self._estimated = bytearray()

    def add(self, row: Row) -> None:
        self._case.append(self._cases.index(row.case))
        self._activity.append(self.activities.index(row.activity))
        self._resource.append(NOBODY if row.resource is None else self.resources.index(row.resource))
        self._start.append(float("nan") if row.start is None else row.start)
        self._end.append(row.time)
        self._estimated.append(row.start is None)

    def estimate_starts(self) -> None:
        """A task without a start began when both its case and its person were done with what came before.

        Where neither is known it took what its activity usually takes.
        """
        if not any(self._estimated):
            return
        of_case: dict[int, float] = {}
        of_resource: dict[int, float] = {}
        usual: dict[int, list[float]] = defaultdict(list)
        unknown: list[int] = []
        for at in sorted(range(len(self._end)), key=self._end.__getitem__):
            end, resource = self._end[at], self._resource[at]
            if self._estimated[at]:
                before = of_case.get(self._case[at])
                if before is not None and resource != NOBODY:
                    before = max(before, of_resource.get(resource, before))
                elif before is None and resource != NOBODY:
                    before = of_resource.get(resource)
                if before is None:
                    unknown.append(at)
                else:
                    self._start[at] = max(before, end - LONGEST_ESTIMATE)
            if self._start[at] == self._start[at]:
                usual[self._activity[at]].append(end - self._start[at])
            of_case[self._case[at]] = end
            if resource != NOBODY:
                of_resource[resource] = end
        typical = {activity: median(durations) for activity, durations in usual.items()}
        for at in unknown:
            self._start[at] = self._end[at] - typical.get(self._activity[at], 0.0)

    def cases(self, limit: int | None) -> tuple[list[Case], int]:
        """By arrival, then by the order in which the log names them; and how many of their tasks have an estimated start."""
        order = sorted(range(len(self._end)), key=lambda at: (self._start[at], self._end[at], at))
        chosen: dict[int, Case] = {}
        estimated = 0
        for at in order:
            index = self._case[at]
            case = chosen.get(index)
            if case is None:
                if limit is not None and len(chosen) >= limit:
                    continue
                case = chosen[index] = Case(self._cases.names[index], [])
            estimated += self._estimated[at]
            duration = max(0.0, self._end[at] - self._start[at])
            case.tasks.append(Task(self._activity[at], self._resource[at], self._start[at], duration))
        return list(chosen.values()), estimated
