"""Between messages and the domain. Bodies of events are made as they go out; tests hold them against their models."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import orjson
from kernel_contracts import message_types as types
from kernel_contracts import topics
from kernel_contracts.process import Skill as SkillModel
from kernel_contracts.resource import (
    AllocateResources,
    CalendarDefinition,
    OperatorDefinition,
    Proposal,
    ResourceDefinition,
)
from kernel_contracts.vocabulary import ResourceKind
from kernel_runtime.command import Cause, Message, message

from resource_svc.domain.allocation import Allocation, Denial, Request
from resource_svc.domain.definition import reorder
from resource_svc.domain.resource import OPERATOR, Need, Resource, Skill, State

SOURCE = "/kernel/resource-svc"


def request(body: AllocateResources) -> Request:
    return Request(
        body.dispatch_id,
        body.pid,
        body.process_version,
        body.queue,
        tuple([_need(proposal) for proposal in body.proposals]),
    )


def _need(proposal: Proposal) -> Need:
    demand = proposal.demand
    candidates = tuple(proposal.candidates)
    if not candidates and demand.resource is not None:
        candidates = (demand.resource,)
    return Need(
        demand.type,
        candidates,
        demand.units,
        demand.hold,
        demand.resource,
        demand.selector or None,
        frozenset(demand.roles),
        tuple([_skill(each) for each in demand.skills]),
    )


def _skill(skill: str | SkillModel) -> Skill:
    return Skill(skill) if isinstance(skill, str) else Skill(skill.skill, skill.level, skill.expires)


def resource(id: str, definition: ResourceDefinition) -> Resource:
    return Resource(
        id=id,
        type=definition.type,
        kind=definition.kind,
        capacity=definition.capacity,
        counted=definition.stock,
        reorder_at=definition.reorder_at,
        labels=definition.labels or None,
        calendar=definition.calendar,
        status=definition.status,
    )


def operator(id: str, definition: OperatorDefinition) -> Resource:
    return Resource(
        id=id,
        type=OPERATOR,
        kind=ResourceKind.SHARED,
        name=definition.name,
        capacity=definition.capacity,
        roles=tuple(definition.roles),
        skills=tuple([_skill(each) for each in definition.skills]),
        calendar=definition.calendar,
    )


LATER_FIELDS = frozenset({"anchor", "breaks", "overtime", "leave"})
"""Left out of a calendar where they say nothing: what was stored before there were any stays the same when it is said again."""


def calendar(definition: CalendarDefinition) -> dict[str, Any]:
    """As it is stored and shown."""
    written = definition.model_dump(mode="json", by_alias=True)
    return {name: value for name, value in written.items() if value or name not in LATER_FIELDS}


# Events


def granted(
    of: Request, who: str | None, taken: Iterable[tuple[Allocation, State]], *, tenant: str, at: datetime, cause: Cause
) -> Message:
    body = {
        "dispatch_id": of.dispatch,
        "pid": of.pid,
        "process_version": of.process_version,
        "queue": of.queue,
        "operator": who,
        "allocations": [_units(own, state) for own, state in taken],
    }
    return _event(types.RESOURCES_GRANTED, "granted", of.dispatch, of.pid, body, tenant, at, cause)


def denied(
    of: Request, why: Denial, seen: Iterable[tuple[int, State]], *, tenant: str, at: datetime, cause: Cause
) -> Message:
    body = {
        "dispatch_id": of.dispatch,
        "pid": of.pid,
        "process_version": of.process_version,
        "queue": of.queue,
        "reason": why.reason,
        "blockers": [
            {"demand": each.demand, "type": each.type, "reason": each.reason, "resources": each.resources}
            for each in why.obstacles
        ],
        "usage": [_usage(of.needs[demand], state) for demand, state in seen],
    }
    return _event(types.RESOURCES_DENIED, "denied", of.dispatch, of.pid, body, tenant, at, cause)


def released(
    pid: int,
    dispatch: str | None,
    reason: str,
    ended: Iterable[tuple[Allocation, State]],
    *,
    last: bool,
    tenant: str,
    at: datetime,
    cause: Cause,
) -> Message:
    """`last`: the dispatch holds nothing any more."""
    body = {
        "pid": pid,
        "dispatch_id": dispatch,
        "reason": reason,
        "allocations": [_units(own, state) for own, state in ended],
    }
    what = "released" if last else "released.running"
    return _event(types.RESOURCES_RELEASED, what, dispatch or f"{pid}.{cause.message}", pid, body, tenant, at, cause)


def _event(
    type: str, what: str, dispatch: str, pid: int, body: Any, tenant: str, at: datetime, cause: Cause
) -> Message:
    return message(
        topics.RESOURCE_EVENTS,
        str(pid),
        orjson.dumps(body),
        id=f"{dispatch}.{what}",
        type=type,
        source=SOURCE,
        at=at,
        tenant=tenant,
        cause=cause,
        dispatch=dispatch,
    )


def _units(own: Allocation, state: State) -> dict[str, Any]:
    return {
        "resource": own.resource,
        "type": own.type,
        "units": own.units,
        "hold": own.hold,
        "used": state.used,
        "capacity": state.resource.capacity,
        "version": state.version,
    }


def _usage(need: Need, state: State) -> dict[str, Any]:
    return {
        "resource": state.resource.id,
        "type": state.resource.type,
        "units": need.units,
        "hold": need.hold,
        "used": state.used,
        "capacity": state.resource.capacity,
        "version": state.version,
    }


def changed(state: State, *, tenant: str, at: datetime, cause: Cause) -> list[Message]:
    """For those who follow resource-events, and for those who read definitions from the start."""
    of = state.resource
    body = orjson.dumps(
        {
            "id": of.id,
            "tenant": tenant,
            "type": of.type,
            "kind": of.kind,
            "name": of.name,
            "capacity": of.capacity,
            "used": state.used,
            "labels": of.labels or {},
            "roles": of.roles,
            "skills": [_full(each) for each in of.skills],
            "status": of.status,
            "presence": of.presence,
            "calendar": of.calendar,
            "closed": of.closed,
            "version": state.version,
            "deleted": of.deleted,
        }
    )
    kind = "operator" if of.type == OPERATOR else "resource"
    return [
        message(
            topic,
            key,
            body,
            id=f"{tenant}.{of.id}.{state.version}",
            type=types.RESOURCE_CHANGED,
            source=SOURCE,
            at=at,
            tenant=tenant,
            cause=cause,
            subject=of.id,
            version=state.version,
        )
        for topic, key in ((topics.RESOURCE_EVENTS, of.id), (topics.DEFINITIONS, f"{kind}/{tenant}/{of.id}"))
    ]


def release_process(pid: int, reason: str, id: str, *, tenant: str, at: datetime, cause: Cause) -> Message:
    """Asks process-svc to take a process from the one who runs it."""
    return message(
        topics.PROCESS_COMMANDS,
        str(pid),
        orjson.dumps({"pid": pid, "reason": reason}),
        id=id,
        type=types.RELEASE_PROCESS,
        source=SOURCE,
        at=at,
        tenant=tenant,
        cause=cause,
    )


# The public face


def shown(state: State, revision: int) -> dict[str, Any]:
    """A resource or operator as GET and PUT answer it."""
    of = state.resource
    use = {"used": state.used, "available": state.free, "version": revision}
    if of.type == OPERATOR:
        return {
            "id": of.id,
            "name": of.name,
            "roles": of.roles,
            "skills": [_short(each) for each in of.skills],
            "capacity": of.capacity,
            "calendar": of.calendar,
            "presence": of.presence,
            "presence_until": of.presence_until,
            **use,
        }
    body: dict[str, Any] = {
        "id": of.id,
        "type": of.type,
        "kind": of.kind,
        "capacity": of.capacity,
        "labels": of.labels or {},
        "calendar": of.calendar,
        "status": of.status,
        **use,
    }
    if of.is_consumable:
        body |= {"stock": state.free, "reorder_at": of.reorder_at, "reorder": reorder(state)}
    return body


def _full(skill: Skill) -> dict[str, Any]:
    return {"skill": skill.skill, "level": skill.level, "expires": skill.expires}


def _short(skill: Skill) -> str | dict[str, Any]:
    """As it is usually written: a name, where it has neither level nor end."""
    if skill.expires is None:
        return skill.skill if skill.level == 1 else {"skill": skill.skill, "level": skill.level}
    return _full(skill)
