"""What a resource goes by: its calendar put together with its layers, kept until one of them changes."""

from datetime import datetime, timedelta

import orjson
from kernel_runtime.database import Connection
from kernel_runtime.problem import Problem, ProblemError, conflict, invalid
from kernel_worktime import Timeline, always
from starlette.requests import Request

from resource_svc.domain import calendars
from resource_svc.http.paging import time_of
from resource_svc.store import past

KEPT = 20_000
"""More than that, and the cache begins anew."""

FARTHEST = timedelta(days=3 * 366)
WEEK = timedelta(days=7)
EARLIEST, LATEST = 1970, 2400
Versions = tuple[tuple[str, int], ...]


class Timelines:
    """By tenant and id of a calendar, with the versions of all that it was made from."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, str], tuple[Versions, Timeline]] = {}

    async def find(self, connection: Connection, tenant: str, id: str) -> Timeline | None:
        """None where there is no such calendar; raises ProblemError where it can't be gone by."""
        layers = await past.layers(connection, tenant, id)
        versions = tuple((each.id, each.version) for each in layers)
        if not any(each.id == id for each in layers):
            return None
        made = self._made.get((tenant, id))
        if made is None or made[0] != versions:
            if len(self._made) > KEPT:
                self._made.clear()
            try:
                documents = {each.id: orjson.loads(each.definition) for each in layers}
                made = versions, calendars.timeline(id, documents)
            except ValueError as error:
                raise ProblemError(
                    conflict("Calendar not usable", f"Calendar {id} can't be gone by; define it again: {error}")
                ) from None
            self._made[tenant, id] = made
        return made[1]

    async def of(self, connection: Connection, tenant: str, calendar: str | None) -> Timeline:
        """Day and night where a resource has no calendar, or one that nobody defined."""
        found = None if calendar is None else await self.find(connection, tenant, calendar)
        return ALWAYS if found is None else found


ALWAYS = always()


def stretch(request: Request, now: datetime) -> tuple[datetime, datetime]:
    """`from` and `to` of the query; from now on and a week, where they are not said. Raises ProblemError."""
    start = time_of(request, "from") or now
    if not EARLIEST <= start.year <= LATEST:
        raise ProblemError(_wrong("from", f"It must lie in the years {EARLIEST} to {LATEST}."))
    end = time_of(request, "to") or start + WEEK
    if not EARLIEST <= end.year <= LATEST:
        raise ProblemError(_wrong("to", f"It must lie in the years {EARLIEST} to {LATEST}."))
    if end <= start:
        raise ProblemError(_wrong("to", "It must be later than `from`."))
    if end - start > FARTHEST:
        raise ProblemError(_wrong("to", f"It must be within {FARTHEST.days} days of `from`."))
    return start, end


def _wrong(name: str, reason: str) -> Problem:
    return invalid(f"{name}: {reason}", [(f"/{name}", reason)])
