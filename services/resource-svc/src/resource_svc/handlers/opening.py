"""Resources open and close by their calendars: told as a change of them, so whoever keeps a copy follows."""

from dataclasses import dataclass
from datetime import datetime

from kernel_runtime.command import Answer, Command, Result

from resource_svc.domain.ledger import redefine
from resource_svc.handlers.definitions import save, there
from resource_svc.handlers.hours import timed
from resource_svc.store import Wanted, Work


@dataclass(frozen=True, slots=True)
class Look:
    """At a resource whose time may have come. `calendar`: what it went by when it was found to be due."""

    id: str
    calendar: str | None


def touch(command: Command, wanted: Wanted) -> None:
    body: Look = command.body
    wanted.resources.add((command.tenant, body.id))
    if body.calendar is not None:
        wanted.calendars.add((command.tenant, body.calendar))


def look(work: Work, command: Command, now: datetime) -> Result:
    """Told by the ticker, and true only by the rows; the same again changes nothing."""
    body: Look = command.body
    existing = there(work, command.tenant, body.id)
    if existing is None or existing.resource.calendar is None:
        work.schedule(command.tenant, body.id, None)
    elif existing.resource.calendar == body.calendar:
        new = timed(work, command.tenant, existing, existing, now)
        if new is not existing:
            save(work, command, redefine(existing, new.resource), "hours", now, "its calendar")
    return Answer()
