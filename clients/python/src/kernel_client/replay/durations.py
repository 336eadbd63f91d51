"""Durations and the default speed."""

from datetime import timedelta

from kernel_client.eventlog import Log

AIM = 60.0
"""Seconds that a replay takes by default,"""
MOST_TASKS_PER_SECOND = 100.0
"""unless more than this many tasks a second would be needed for it."""


def iso(value: timedelta) -> str:
    return f"PT{value.total_seconds():.3f}S"


def default_speed(log: Log) -> float:
    """So that the log takes about a minute; never slower than it was recorded."""
    aim = max(AIM, log.tasks / MOST_TASKS_PER_SECOND)
    return max(1.0, log.span / aim)


def parse_speed(text: str | None) -> float | None:
    """A factor, or None for `max`; raises ValueError."""
    if text is None or text.lower() == "max":
        return None
    try:
        speed = float(text.lower().removesuffix("x"))
    except ValueError:
        raise ValueError(f"--speed takes a number or max, not {text!r}") from None
    if not 0 < speed < float("inf"):
        raise ValueError("--speed must be above 0")
    return speed
