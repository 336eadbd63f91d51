"""One process in the hands of this worker."""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from kernel_client.types import Entity, WorkItem


class Work:
    """What a function may ask for beside its input: annotate a parameter with `Work`.

    `token` rises with each hand-out of a process: give it along to what you write to, where that can refuse an older one.
    """

    def __init__(self, item: WorkItem, on_progress: Callable[[], None]) -> None:
        self.pid = item["pid"]
        self.token = item["token"]
        self.service = item["service"]
        self.entity: Entity | None = item["entity"]
        self.context: dict[str, Any] = item["context"]
        self.attempt = item["attempt"]
        self.item = item
        self.seconds = item["lease"]
        self.until = time.monotonic() + self.seconds
        """When the lease ends by this machine's monotonic clock, if no heartbeat gets through."""
        self.told: Mapping[str, Any] | None = None
        self.task: asyncio.Task[None] | None = None
        self.stopping = False
        """It is cancelled because the worker stops, not because the kernel took it back."""
        self.answering = False
        """Its function has ended: its lease ends by the answer that is on its way."""
        self._on_progress = on_progress
        self._lost = threading.Event()

    @property
    def cancelled(self) -> bool:
        """The kernel has taken it back: cancelled, suspended, or the lease has lapsed. Functions in threads look at it."""
        return self._lost.is_set()

    @property
    def seconds_left(self) -> float:
        """Of the lease, which heartbeats in the background extend."""
        return self.until - time.monotonic()

    def progress(self, value: Mapping[str, Any]) -> None:
        """Shown at GET /v1/work/{pid}, soon; up to 4 KiB of JSON. From any thread."""
        self.told = dict(value)
        self._on_progress()

    def lose(self) -> None:
        """The function is cancelled; its answer would be refused."""
        if self.answering:
            return
        self._lost.set()
        if self.task is not None:
            self.task.cancel()
