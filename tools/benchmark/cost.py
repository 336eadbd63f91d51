"""CPU time and memory of the stack's processes, taken from the operating system."""

import contextlib
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Cost:
    """CPU seconds (user and system) since each process began, and resident MiB, by group of processes."""

    seconds: dict[str, float]
    mib: dict[str, float]

    def since(self, before: "Cost") -> dict[str, float]:
        return {name: self.seconds[name] - before.seconds.get(name, 0.0) for name in self.seconds}


def measure(groups: dict[str, list[int]]) -> Cost:
    """`groups`: name -> pids; children count with their parents, ended ones too (Postgres' backends come and go)."""
    seconds: dict[str, float] = {}
    mib: dict[str, float] = {}
    for name, pids in groups.items():
        seconds[name] = mib[name] = 0.0
        for pid in pids:
            for process in _family(pid):
                with contextlib.suppress(psutil.NoSuchProcess):
                    times = process.cpu_times()
                    seconds[name] += times.user + times.system + times.children_user + times.children_system
                    mib[name] += process.memory_info().rss / 2**20
    return Cost(seconds, mib)


def _family(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def percentile(values: list[float], share: float) -> float:
    """The value that `share` of them do not exceed (nearest rank); nan where there are none."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
