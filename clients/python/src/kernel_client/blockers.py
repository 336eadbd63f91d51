"""What READY processes wait for, by asking the kernel why, every now and then."""

import asyncio
import random
from collections import Counter
from typing import Any

from kernel_client.client import Kernel
from kernel_client.errors import ApiError
from kernel_client.types import Process

EVERY = 0.5
ASKED = 6
"""Of those that wait, so many are asked each time."""


class Blockers:
    """`seen` counts, by service and what it lacked, the READY processes of every look: seconds of waiting, by `EVERY`."""

    def __init__(self, kernel: Kernel, seed: int = 0, **filters: Any) -> None:
        self._kernel = kernel
        self._filters = filters
        self._chance = random.Random(seed)
        self.seen: Counter[tuple[str, str]] = Counter()

    async def run(self) -> None:
        """Forever."""
        while True:
            await asyncio.sleep(EVERY)
            waiting, _ = await self._kernel.processes.page(state="READY", limit=200, **self._filters)
            chosen = self._chance.sample(waiting, min(ASKED, len(waiting)))
            weight = len(waiting) / len(chosen) if chosen else 0.0
            for process in chosen:
                for lacking in await self._lacking(process):
                    self.seen[process["service"], lacking] += weight  # type: ignore[assignment]

    async def _lacking(self, process: Process) -> list[str]:
        try:
            told = await self._kernel.processes.why(process["pid"])
        except ApiError:
            return []
        if told["state"] != "READY":
            return []
        return [name(blocker["requirement"]) for blocker in told.get("blockers") or () if not blocker.get("free")]

    def rows(self) -> list[tuple[str, str, float]]:
        """(what was lacking, by which service, seconds of waiting), the most first; seconds are about right."""
        found = [(lacking, service, round(count * EVERY, 1)) for (service, lacking), count in self.seen.items()]
        return sorted(found, key=lambda row: (-row[2], row[0], row[1]))


def name(requirement: Any) -> str:
    """A requirement in a few words: `operator legal`, `meeting-room`, `entity permit-dossier 2026-1`."""
    if not isinstance(requirement, dict):
        return str(requirement)
    roles = "/".join(requirement.get("roles") or ())
    labels = " ".join(f"{key}={value}" for key, value in (requirement.get("selector") or {}).items())
    kind = str(requirement.get("type") or "something")
    if kind == "entity":
        return "the same dossier"
    return " ".join(filter(None, (kind, roles, labels)))
