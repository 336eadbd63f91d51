"""Names and times as logs write them."""

import re
from datetime import UTC, datetime

LONGEST_NAME = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_NUMBER = re.compile(r"\d{9,16}(\.\d+)?")
_MILLISECONDS_FROM = 10**11
_FORMS = (
    "%Y/%m/%d %H:%M:%S.%f",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%d-%m-%Y %H:%M:%S",
    "%d-%m-%Y %H:%M",
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%d/%m/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M",
)
"""Beside ISO 8601. A date that begins with two numbers is taken day first."""


def name(text: str) -> str:
    """As the kernel takes names: no slash, no control character, no blank around it, no `=` before it, 200 characters at most.

    Empty where nothing is left; raises ValueError where it is not text.
    """
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        raise ValueError("it is not UTF-8 text")
    return _CONTROL.sub(" ", text).replace("/", "-").strip().lstrip("=").strip()[:LONGEST_NAME].strip()


def time(text: str) -> float:
    """Seconds since 1970; what has no zone is UTC. Raises ValueError."""
    text = text.strip()
    if _NUMBER.fullmatch(text):
        number = float(text)
        return number / 1000 if number >= _MILLISECONDS_FROM else number
    try:
        return _seconds(datetime.fromisoformat(text))
    except ValueError:
        pass
    for form in _FORMS:
        try:
            return _seconds(datetime.strptime(text, form))  # noqa: DTZ007
        except ValueError:
            continue
    raise ValueError(f"{text[:40]!r} is not a time")


def _seconds(at: datetime) -> float:
    try:
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except OverflowError:
        raise ValueError("the time is out of range") from None
