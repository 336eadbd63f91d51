"""Resources and operators made, changed, deleted; stock delivered."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from kernel_runtime.command import Answer, Command, Result, json_answer
from kernel_runtime.problem import Problem, conflict, invalid, not_found, pointer

from resource_svc import wire
from resource_svc.domain.definition import Refusal, change_stock, define, delete
from resource_svc.domain.resource import ENTITY, OPERATOR, Resource, State
from resource_svc.handlers.hours import timed
from resource_svc.handlers.roles import DESIGN, STOCK, missing
from resource_svc.store import Wanted, Work

HOLDERS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class PutResource:
    id: str
    wanted: Resource
    if_match: int | None


@dataclass(frozen=True, slots=True)
class DeleteResource:
    id: str
    operator: bool
    if_match: int | None


@dataclass(frozen=True, slots=True)
class StockChange:
    id: str
    delta: int
    reason: str | None


def touch(command: Command, wanted: Wanted) -> None:
    name = (command.tenant, command.body.id)
    wanted.resources.add(name)
    wanted.holders.add(name)


def touch_definition(command: Command, wanted: Wanted) -> None:
    touch(command, wanted)
    body: PutResource = command.body
    if body.wanted.calendar is not None:
        wanted.calendars.add((command.tenant, body.wanted.calendar))


def there(work: Work, tenant: str, id: str) -> State | None:
    """The state of what exists; what was deleted does not."""
    state = work.states(tenant).get(id)
    return None if state is None or state.resource.deleted else state


def put_resource(work: Work, command: Command, now: datetime) -> Result:
    body: PutResource = command.body
    if (problem := missing(command, DESIGN)) is not None:
        return problem
    existing = there(work, command.tenant, body.id)
    if (problem := stale(body.if_match, work.revision(command.tenant, body.id) if existing else 0)) is not None:
        return problem
    new = define(work.states(command.tenant).get(body.id), body.wanted)
    if isinstance(new, Refusal):
        return refused(work, command.tenant, body.id, new)
    if new is not existing:
        new = timed(work, command.tenant, new, existing, now)
        save(work, command, new, "created" if existing is None else "changed", now)
    return shown(work, command.tenant, body.id, 201 if existing is None else 200)


def delete_resource(work: Work, command: Command, now: datetime) -> Result:
    body: DeleteResource = command.body
    if (problem := missing(command, DESIGN)) is not None:
        return problem
    existing = there(work, command.tenant, body.id)
    if existing is None or (existing.resource.type == OPERATOR) != body.operator:
        return not_found("operator" if body.operator else "resource", body.id)
    if existing.resource.type == ENTITY:
        return conflict("An entity's lock", "The locks of entities make themselves and stay.")
    if (problem := stale(body.if_match, work.revision(command.tenant, body.id))) is not None:
        return problem
    gone = delete(existing, held=bool(work.holders(command.tenant, body.id)))
    if isinstance(gone, Refusal):
        return refused(work, command.tenant, body.id, gone)
    save(work, command, gone, "deleted", now)
    return Answer(204)


def change_stock_of(work: Work, command: Command, now: datetime) -> Result:
    body: StockChange = command.body
    if (problem := missing(command, STOCK)) is not None:
        return problem
    existing = there(work, command.tenant, body.id)
    if existing is None:
        return not_found("resource", body.id)
    new = change_stock(existing, body.delta)
    if isinstance(new, Refusal):
        title = "Not a consumable" if not existing.resource.is_consumable else "Not enough in stock"
        return conflict(title, new.detail, stock=existing.free if existing.resource.is_consumable else None)
    if new is not existing:
        save(work, command, new, "stock", now, body.reason)
    return shown(work, command.tenant, body.id)


def save(work: Work, command: Command, new: State, what: str, now: datetime, reason: str | None = None) -> None:
    """Into the work, with what tells it."""
    work.define(command.tenant, new, what=what, by=command.by, reason=reason)
    work.messages += wire.changed(new, tenant=command.tenant, at=now, cause=command.cause)


def shown(work: Work, tenant: str, id: str, status: int = 200) -> Answer:
    revision = work.revision(tenant, id)
    return json_answer(wire.shown(work.states(tenant)[id], revision), status, etag=f'"{revision}"')


def stale(if_match: int | None, version: int) -> Problem | None:
    if if_match is None or if_match == version:
        return None
    return Problem(
        412,
        "Precondition failed",
        f"Its version is {version}, not {if_match}. Read it again.",
        extra={"version": version},
    )


def refused(work: Work, tenant: str, id: str, refusal: Refusal, path: Sequence[str] = ()) -> Problem:
    """409 where holders stand in the way, with who they are; else 422."""
    if not refusal.in_use:
        where = pointer((*path, refusal.field) if refusal.field else path)
        return invalid(refusal.detail, [(where, refusal.detail)])
    held_by = [{"pid": each.pid, "units": each.units} for each in work.holders(tenant, id)]
    return conflict(
        "In use",
        f"{refusal.detail} Held by {len(held_by)} allocations; set status out (or presence away) to let them run out.",
        resource=id,
        held_by=held_by[:HOLDERS_SHOWN],
    )
