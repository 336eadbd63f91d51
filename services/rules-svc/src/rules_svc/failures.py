"""How many failures of a rule are kept: a rule that fails on every event must not flood its own record."""

from datetime import datetime, timedelta
from typing import Final

PER_WINDOW: Final = 10
WINDOW: Final = timedelta(seconds=10)


class FailureLimit:
    """Lets the first ten failures of a rule through in ten seconds, and counts the others."""

    def __init__(self) -> None:
        self._windows: dict[tuple[str, str], tuple[datetime, int]] = {}

    def keeps(self, tenant: str, rule: str, now: datetime) -> tuple[bool, int]:
        """Whether this failure is kept, and how many were not since the last window."""
        key = (tenant, rule)
        began, count = self._windows.get(key, (now, 0))
        if now - began >= WINDOW:
            missed = max(0, count - PER_WINDOW)
            self._windows[key] = (now, 1)
            return True, missed
        self._windows[key] = (began, count + 1)
        return count < PER_WINDOW, 0
