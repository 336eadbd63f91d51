"""How much of a resource is free, at an instant and over time; and when a calendar is open."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from kernel_contracts.vocabulary import Presence, ResourceStatus
from kernel_runtime.database import Database
from kernel_runtime.http import caller, json_response
from kernel_runtime.problem import Problem, ProblemError, not_found
from kernel_worktime import DAY, WHOLE, Timeline, micros, moment
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from resource_svc.domain.availability import Held, available, next_change, past, serving, use
from resource_svc.domain.resource import Resource, State
from resource_svc.http.paging import id_of, time_of
from resource_svc.http.timelines import LATEST, Timelines, stretch
from resource_svc.store import past as history
from resource_svc.store import reads

HORIZONS = (8 * DAY, 60 * DAY, 400 * DAY)
"""How far the next change is looked for, one after the other: most calendars change within days."""


def routes(database: Database) -> list[BaseRoute]:
    timelines = Timelines()

    async def status(request: Request) -> Response:
        now = datetime.now(UTC)
        when = time_of(request, "at") or now
        tenant, id = caller(request).tenant, id_of(request, "resource")
        async with database.connection() as connection:
            if when < now:
                then = await reads.at(connection, tenant, id, when)
            else:
                one = await reads.one(connection, tenant, id)
                then = None if one is None else one[0]
            if then is None and when < now:
                raise ProblemError(Problem(404, "Not found", f"There was no resource {id} at {when.isoformat()}."))
            if then is None:
                raise ProblemError(not_found("resource", id))
            timeline = await timelines.of(connection, tenant, then.resource.calendar)
        return json_response(_status(then, timeline, when, upcoming=when >= now))

    async def availability(request: Request) -> Response:
        now = datetime.now(UTC)
        start, end = stretch(request, now)
        tenant, id = caller(request).tenant, id_of(request, "resource")
        async with database.connection() as connection:
            one = await reads.one(connection, tenant, id)
            if one is None:
                raise ProblemError(not_found("resource", id))
            state = one[0]
            timeline = await timelines.of(connection, tenant, state.resource.calendar)
            first, last, border = micros(start), micros(end), micros(max(now, start))
            capacity = serving(state.resource, border, last, _back(state.resource)) if border < last else []
            held = [Held(border, last, state.used)] if border < last else []
            if start < now:
                until = min(now, end)
                capacity = past(await history.changes(connection, tenant, id, start, until), micros(until)) + capacity
                held += _before(await history.held(connection, tenant, id, start, until), micros(until))
        free = available(timeline.windows(first, last), capacity, use(held), first, last)
        return json_response({"windows": [{"from": moment(a), "to": moment(b), "free": units} for a, b, units in free]})

    async def windows(request: Request) -> Response:
        start, end = stretch(request, datetime.now(UTC))
        id = id_of(request, "calendar")
        async with database.connection() as connection:
            timeline = await timelines.find(connection, caller(request).tenant, id)
        if timeline is None:
            raise ProblemError(not_found("calendar", id))
        found = timeline.windows(micros(start), micros(end))
        return json_response({"windows": [_window(moment(a), moment(b), capacity) for a, b, capacity in found]})

    return [
        Route("/v1/resources/{id}/status", status),
        Route("/v1/resources/{id}/availability", availability),
        Route("/v1/calendars/{id}/windows", windows),
    ]


def _before(held: Sequence[Held], until: int) -> list[Held]:
    """The ledger counts until now; from then on what is in use counts."""
    return [each._replace(end=min(each.end, until)) for each in held]


def _window(start: datetime, end: datetime, capacity: int) -> Mapping[str, Any]:
    """`capacity` is null where the window names none: all that the resource has."""
    return {"from": start, "to": end, "capacity": None if capacity == WHOLE else capacity}


def _back(resource: Resource) -> int | None:
    return None if resource.presence_until is None else micros(resource.presence_until)


def _status(state: State, timeline: Timeline, when: datetime, *, upcoming: bool) -> Mapping[str, Any]:
    """`capacity` is what the calendar leaves of it: 0 where it is closed. What changes next is told of now and later."""
    resource, at = state.resource, micros(when)
    back = _back(resource)
    presence = Presence.AVAILABLE if back is not None and back <= at else resource.presence
    capacity = min(resource.capacity, timeline.capacity_at(at))
    serves = resource.status is ResourceStatus.IN_SERVICE and presence is Presence.AVAILABLE
    change = None
    if upcoming and when.year <= LATEST:
        changes = (next_change(timeline, state, at, back, horizon) for horizon in HORIZONS)
        change = next((each for each in changes if each is not None), None)
    return {
        "capacity": capacity,
        "current_usage": state.used,
        "available": max(capacity - state.used, 0) if serves else 0,
        "next_change": None if change is None else moment(change),
        "status": resource.status,
        "presence": presence,
    }
