"""Rows as values of the domain, and back."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from kernel_contracts.vocabulary import DenialReason, Hold, Presence, ResourceKind, ResourceStatus

from resource_svc.domain.resource import Resource, Skill, State

Row = Mapping[str, Any]

DEFINITION = (
    "id, type, kind, name, capacity, counted, reorder_at, labels, roles, skills, calendar, closed, status, presence,"
    " presence_until, deleted"
)
"""The columns that `resource` reads."""


class Dispatch(NamedTuple):
    """What became of one dispatch: granted (with so many allocations), denied, or given back before it came."""

    id: str
    tenant: str
    pid: int
    process_version: int
    queue: str
    outcome: str
    reason: DenialReason | None = None
    operator: str | None = None
    allocations: int = 0


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that holds units of a resource now."""

    pid: int
    units: int
    dispatch: str
    hold: Hold
    since: datetime


def resource(row: Row) -> Resource:
    return Resource(
        id=row["id"],
        type=row["type"],
        kind=ResourceKind(row["kind"]),
        name=row["name"],
        capacity=row["capacity"],
        counted=row["counted"],
        reorder_at=row["reorder_at"],
        labels=orjson.loads(row["labels"]) or None,
        roles=tuple(orjson.loads(row["roles"])),
        skills=tuple(_skill(item) for item in orjson.loads(row["skills"])),
        calendar=row["calendar"],
        closed=row["closed"],
        status=ResourceStatus(row["status"]),
        presence=Presence(row["presence"]),
        presence_until=row["presence_until"],
        deleted=row["deleted"],
    )


def state(row: Row) -> State:
    return State(resource(row), row["used"], row["version"])


def columns(tenant: str, of: State, revision: int, at: datetime) -> dict[str, Any]:
    """A row of `resource` as JSON for jsonb_to_recordset."""
    return {
        "tenant": tenant,
        **definition(of.resource),
        "used": of.used,
        "deleted": of.resource.deleted,
        "version": of.version,
        "revision": revision,
        "at": at,
    }


def definition(of: Resource) -> dict[str, Any]:
    return {
        "id": of.id,
        "type": of.type,
        "kind": of.kind,
        "name": of.name,
        "capacity": of.capacity,
        "counted": of.counted,
        "reorder_at": of.reorder_at,
        "labels": of.labels or {},
        "roles": of.roles,
        "skills": [{"skill": each.skill, "level": each.level, "expires": each.expires} for each in of.skills],
        "calendar": of.calendar,
        "closed": of.closed,
        "status": of.status,
        "presence": of.presence,
        "presence_until": of.presence_until,
    }


def _skill(item: Mapping[str, Any]) -> Skill:
    expires = item["expires"]
    return Skill(item["skill"], item["level"], datetime.fromisoformat(expires) if expires else None)
