"""Whether a resource is open now, by its calendar."""

from dataclasses import replace
from datetime import datetime

from resource_svc.domain.calendars import turn
from resource_svc.domain.resource import State
from resource_svc.store import Work


def timed(work: Work, tenant: str, state: State, before: State | None, now: datetime) -> State:
    """Open or closed as its calendar says, and noted when to look next. Its calendar must have been asked for.

    A calendar that nobody defined closes nothing.
    """
    resource = state.resource
    timeline = None if resource.calendar is None else work.timeline(tenant, resource.calendar)
    if timeline is None:
        if before is not None and before.resource.calendar is not None:
            work.schedule(tenant, resource.id, None)
        return state._replace(resource=replace(resource, closed=False)) if resource.closed else state
    closed, following = turn(timeline, now)
    work.schedule(tenant, resource.id, following)
    return state if closed is resource.closed else state._replace(resource=replace(resource, closed=closed))
