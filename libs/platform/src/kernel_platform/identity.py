"""Which process is meant: a pid alone is reused, a pid with its start time is not."""

import os
import signal
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import psutil


@dataclass(frozen=True, slots=True)
class Identity:
    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> "Identity | None":
        try:
            return cls(pid, psutil.Process(pid).create_time())
        except psutil.Error:
            return None

    @classmethod
    def load(cls, value: Any) -> "Identity":
        return cls(int(value["pid"]), float(value["started"]))

    def dump(self) -> dict[str, Any]:
        return asdict(self)

    def alive(self) -> bool:
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < 0.1
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def send(self, number: signal.Signals) -> None:
        if self.alive():
            os.kill(self.pid, number)


def stop_all(processes: Iterable[tuple[Identity, signal.Signals]], timeout: float) -> None:
    """Asks each with its signal, waits, and kills what is still there after `timeout` seconds."""
    asked = list(processes)
    for process, number in asked:
        process.send(number)
    deadline = time.monotonic() + timeout
    while any(process.alive() for process, _ in asked) and time.monotonic() < deadline:
        time.sleep(0.05)
    for process, _ in asked:
        process.send(signal.SIGKILL)
    while any(process.alive() for process, _ in asked):
        time.sleep(0.02)
