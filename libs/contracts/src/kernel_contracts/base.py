"""What all models of the bus and of the public face have in common."""

from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
)


class Command(BaseModel):
    """Asked of us: a field that we don't know is a mistake of the sender, and said."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Event(BaseModel):
    """Told by us: a reader ignores what a later version adds."""

    model_config = ConfigDict(frozen=True, extra="ignore")


NAME_PATTERN = r"^[^\s/\x00-\x1f\x7f](?:[^/\x00-\x1f\x7f]*[^\s/\x00-\x1f\x7f])?$"
"""Printable, no slash, no blank at either end: event logs bring names such as 'Confirmation of receipt'."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=NAME_PATTERN)]
Text = Annotated[str, StringConstraints(max_length=2000, pattern=r"^[^\x00]*$")]
Priority = Annotated[int, Field(ge=0, le=100)]
Time = AwareDatetime
JsonObject = dict[str, Any]


def _not_negative(value: timedelta) -> timedelta:
    if value < timedelta(0):
        raise ValueError("a duration must not be negative")
    return value


def iso_duration(value: timedelta) -> str:
    """ISO 8601 with days of 24 hours: `P1DT30M`, `PT0S`."""
    days, seconds = value.days, value.seconds
    hours, rest = divmod(seconds, 3600)
    minutes, secs = divmod(rest, 60)
    text = "P" + (f"{days}D" if days else "")
    clock = (f"{hours}H" if hours else "") + (f"{minutes}M" if minutes else "")
    if value.microseconds:
        clock += f"{secs}.{value.microseconds:06d}".rstrip("0") + "S"
    elif secs:
        clock += f"{secs}S"
    if clock:
        text += "T" + clock
    return text if text != "P" else "PT0S"


Duration = Annotated[
    timedelta,
    AfterValidator(_not_negative),
    PlainSerializer(iso_duration, return_type=str, when_used="json"),
]


def rfc3339(at: datetime) -> str:
    """UTC with microseconds only where there are any."""
    return at.isoformat().replace("+00:00", "Z")
