"""What happened to the tasks of a run: waits, who did how much, throughput. Times in seconds."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from kernel_client.types import Process


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that `share` of them do not exceed (nearest rank); 0 where there are none."""
    if not ordered:
        return 0.0
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def spread(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "p50": round(percentile(ordered, 0.5), 4),
        "p95": round(percentile(ordered, 0.95), 4),
        "max": round(ordered[-1] if ordered else 0.0, 4),
        "mean": round(sum(ordered) / len(ordered), 4) if ordered else 0.0,
    }


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@dataclass(slots=True)
class Share:
    """What one operator did: how many tasks, busy for how long; its capacity."""

    tasks: int = 0
    busy: float = 0.0
    capacity: int = 1


@dataclass(slots=True)
class Measure:
    """Filled with processes that have ended. A wait is from READY to RUNNING: only for want of somebody or something."""

    waits: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """By service."""
    operators: dict[str, Share] = field(default_factory=dict)
    first: float = math.inf
    last: float = 0.0

    def expect(self, operator: str, capacity: int = 1) -> None:
        """It is listed even where it does nothing."""
        self.operators.setdefault(operator, Share(capacity=capacity)).capacity = capacity

    def add(self, process: Process, service: str | None = None) -> None:
        """One that has ended after it ran; others are not counted."""
        ready, started, ended = process["ready_at"], process["started_at"], process["ended_at"]
        if not ready or not started or not ended:
            return
        begin, end = seconds(started), seconds(ended)
        arrived = seconds(ready)
        self.waits[service or process["service"]].append(max(0.0, begin - arrived))
        if process["operator"]:
            share = self.operators.setdefault(process["operator"], Share())
            share.tasks += 1
            share.busy += max(0.0, end - begin)
        self.first = min(self.first, arrived)
        self.last = max(self.last, end)

    @property
    def tasks(self) -> int:
        return sum(map(len, self.waits.values()))

    @property
    def seconds(self) -> float:
        """From the first READY to the last end."""
        return max(0.0, self.last - self.first) if self.last else 0.0

    def all_waits(self) -> dict[str, float]:
        return spread([wait for waits in self.waits.values() for wait in waits])

    def utilisation(self, share: Share) -> float:
        available = self.seconds * share.capacity
        return share.busy / available if available else 0.0

    def operator_rows(self) -> list[dict[str, Any]]:
        """The busiest first."""
        rows = [
            {
                "id": id,
                "tasks": share.tasks,
                "busy": round(share.busy, 3),
                "utilisation": round(self.utilisation(share), 4),
            }
            for id, share in self.operators.items()
        ]
        return sorted(rows, key=lambda row: (-row["utilisation"], row["id"]))

    def service_rows(self) -> list[dict[str, Any]]:
        """The longest waits (p95) first."""
        rows = [{"service": service, "tasks": len(waits), **spread(waits)} for service, waits in self.waits.items()]
        return sorted(rows, key=lambda row: (-row["p95"], row["service"]))
