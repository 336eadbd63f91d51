"""What a batch has loaded, and what its handlers do with it: in memory, in order, each seeing what those before it did."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kernel_runtime.command import Command, Message
from kernel_worktime import Timeline

from resource_svc.domain.allocation import Allocation, Grant, Request, Returned
from resource_svc.domain.calendars import known_timeline
from resource_svc.domain.ledger import give_back, take
from resource_svc.domain.resource import State
from resource_svc.store.records import Dispatch, Holder

Name = tuple[str, str]
"""Tenant and id."""

Version = tuple[str, str, int]
"""Tenant and id of a resource, and the version that an allocation led to: it names the allocation."""


@dataclass(frozen=True, slots=True)
class Change:
    tenant: str
    state: State
    revision: int
    what: str
    by: str
    reason: str | None


class Batch:
    """Filled by `Work.load`, written by `Work.save`."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.requests: dict[Command, Request] = {}
        self._states: dict[str, dict[str, State]] = {}
        self._revisions: dict[Name, int] = {}
        self._held: dict[int, list[Allocation]] = {}
        self._holders: dict[Name, list[Holder]] = {}
        self._dispatches: dict[str, Dispatch] = {}
        self._calendars: dict[Name, tuple[int, Any]] = {}
        self._used: dict[Name, None] = {}
        self._changes: list[Change] = []
        self._taken: dict[Version, Allocation] = {}
        self._ended: dict[Version, int | None] = {}
        self._kept: dict[Version, Allocation] = {}
        self._decided: dict[str, Dispatch] = {}
        self._defined: set[Name] = set()
        self._new_calendars: set[Name] = set()
        self._openings: dict[Name, datetime | None] = {}

    # What handlers ask

    def states(self, tenant: str) -> dict[str, State]:
        return self._states.setdefault(tenant, {})

    def revision(self, tenant: str, id: str) -> int:
        return self._revisions.get((tenant, id), 0)

    def held(self, pid: int) -> Sequence[Allocation]:
        return self._held.get(pid, ())

    def holders(self, tenant: str, id: str) -> Sequence[Holder]:
        """At the time of loading; asked for by commands that hold no process's units themselves."""
        return self._holders.get((tenant, id), ())

    def dispatch(self, id: str) -> Dispatch | None:
        return self._dispatches.get(id)

    def calendar(self, tenant: str, id: str) -> tuple[int, Any]:
        """Version and definition; version 0 is none."""
        return self._calendars.get((tenant, id), (0, None))

    def timeline(self, tenant: str, calendar: str) -> Timeline | None:
        """Of a calendar over its layers; None where there is none, or none that can be gone by."""
        if (tenant, calendar) not in self._calendars:
            return None
        documents: dict[str, Any] = {}
        todo = [calendar]
        while todo:
            id = todo.pop()
            document = self.calendar(tenant, id)[1]
            if document is not None and id not in documents:
                documents[id] = document
                todo += document["layers"]
        return known_timeline(calendar, documents)

    # What handlers do

    def schedule(self, tenant: str, id: str, at: datetime | None) -> None:
        """When to look next whether a resource is open; None: never."""
        self._openings[tenant, id] = at

    def decide(self, dispatch: Dispatch) -> None:
        self._dispatches[dispatch.id] = self._decided[dispatch.id] = dispatch

    def take(self, tenant: str, request: Request, grant: Grant) -> list[tuple[Allocation, State]]:
        """Each new allocation with the state of its resource after it."""
        states = self._states[tenant]
        held = self._held.setdefault(request.pid, [])
        made = []
        for each in grant.takes:
            state = states[each.resource] = take(states[each.resource], each.units)
            self._used[tenant, each.resource] = None
            allocation = Allocation(
                tenant,
                each.resource,
                state.version,
                each.type,
                request.dispatch,
                each.demand,
                request.pid,
                request.process_version,
                each.units,
                each.hold,
            )
            held.append(allocation)
            self._taken[tenant, each.resource, state.version] = allocation
            made.append((allocation, state))
        for own in grant.relies_on:
            self._keep(own._replace(relied_on_by=request.dispatch))
        return made

    def give_back(self, pid: int, returned: Returned) -> list[tuple[Allocation, State | None]]:
        """Each ended allocation with the state of its resource after it; None where its units were used up."""
        ended: list[tuple[Allocation, State | None]] = []
        held = self._held[pid]
        for own in returned.back:
            states = self._states[own.tenant]
            before = states[own.resource]
            state = states[own.resource] = give_back(before, own.units, unused=returned.unused)
            if state is not before:
                self._used[own.tenant, own.resource] = None
            held.remove(own)
            self._ended[own.tenant, own.resource, own.version] = None if state is before else state.version
            ended.append((own, None if state is before else state))
        for own, heir in returned.kept:
            if heir is None:
                self._keep(own._replace(relied_on_by=None))
            else:
                self._keep(own._replace(dispatch=heir, demand=-1, relied_on_by=None))
        return ended

    def _keep(self, own: Allocation) -> None:
        key = (own.tenant, own.resource, own.version)
        held = self._held[own.pid]
        at = next(i for i, each in enumerate(held) if (each.tenant, each.resource, each.version) == key)
        held[at] = own
        if key in self._taken:
            self._taken[key] = own
        else:
            self._kept[key] = own

    def define(self, tenant: str, state: State, *, what: str, by: str, reason: str | None = None) -> None:
        """A change of definition, stock or presence."""
        id = state.resource.id
        self.states(tenant)[id] = state
        revision = self._revisions[tenant, id] = self.revision(tenant, id) + 1
        self._changes.append(Change(tenant, state, revision, what, by, reason))
        self._defined.add((tenant, id))

    def define_calendar(self, tenant: str, id: str, definition: Any) -> int:
        """The new version."""
        version = self.calendar(tenant, id)[0] + 1
        self._calendars[tenant, id] = (version, definition)
        self._new_calendars.add((tenant, id))
        return version
