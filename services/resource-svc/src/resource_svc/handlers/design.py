"""A whole design's calendars, resources and operators at once: all or nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from kernel_runtime.command import Command, Result, json_answer
from kernel_runtime.problem import Problem, invalid, pointer

from resource_svc.domain.calendars import errors_of
from resource_svc.domain.definition import Refusal, define
from resource_svc.domain.resource import Resource, State
from resource_svc.handlers.definitions import refused, save
from resource_svc.handlers.hours import timed
from resource_svc.handlers.roles import DESIGN, missing
from resource_svc.store import Wanted, Work


@dataclass(frozen=True, slots=True)
class Design:
    """By id; calendars as JSON in the form of the contract."""

    calendars: Mapping[str, dict[str, Any]]
    resources: Mapping[str, Resource]
    operators: Mapping[str, Resource]


@dataclass(slots=True)
class Plan:
    """What applying a design would do."""

    created: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    states: list[tuple[State, str]] = field(default_factory=list)
    calendars: list[str] = field(default_factory=list)

    def note(self, kind: str, id: str, *, exists: bool, same: bool) -> None:
        (self.unchanged if same else self.changed if exists else self.created).append(f"{kind}/{id}")

    @property
    def body(self) -> dict[str, list[str]]:
        return {"created": self.created, "changed": self.changed, "unchanged": self.unchanged}


def touch(command: Command, wanted: Wanted) -> None:
    body: Design = command.body
    for id in (*body.resources, *body.operators):
        wanted.resources.add((command.tenant, id))
        wanted.holders.add((command.tenant, id))
    for resource in (*body.resources.values(), *body.operators.values()):
        if resource.calendar is not None:
            wanted.calendars.add((command.tenant, resource.calendar))
    for id, definition in body.calendars.items():
        wanted.calendars.update((command.tenant, each) for each in (id, *definition["layers"]))


def plan(work: Work, tenant: str, design: Design) -> Plan | Problem:
    """Changes nothing; a problem names everything that is wrong."""
    result = Plan()
    problems: list[Problem] = []
    for id, definition in design.calendars.items():
        version, existing = work.calendar(tenant, id)
        wrong = errors_of(id, definition, lambda layer: design.calendars.get(layer) or work.calendar(tenant, layer)[1])
        if wrong:
            problems.append(invalid(wrong[0][1], [(pointer(("calendars", id)) + where, what) for where, what in wrong]))
            continue
        result.note("calendar", id, exists=version > 0, same=existing == definition)
        if existing != definition:
            result.calendars.append(id)
    both = design.resources.keys() & design.operators.keys()
    if both:
        detail = "Resources and operators share their names; this one is both."
        problems.append(invalid(detail, [(f"/operators/{id}", detail) for id in sorted(both)]))
    for section, kind, definitions in (
        ("resources", "resource", design.resources),
        ("operators", "operator", design.operators),
    ):
        for id, wanted in definitions.items():
            state = work.states(tenant).get(id)
            exists = state is not None and not state.resource.deleted
            new = define(state, wanted)
            if isinstance(new, Refusal):
                problems.append(refused(work, tenant, id, new, (section, id)))
                continue
            result.note(kind, id, exists=exists, same=new is state)
            if new is not state:
                result.states.append((new, "changed" if exists else "created"))
    return _together(problems) if problems else result


def apply(work: Work, command: Command, now: datetime) -> Result:
    body: Design = command.body
    if (problem := missing(command, DESIGN)) is not None:
        return problem
    planned = plan(work, command.tenant, body)
    if isinstance(planned, Problem):
        return planned
    for id in planned.calendars:
        work.define_calendar(command.tenant, id, body.calendars[id])
    for state, what in planned.states:
        before = work.states(command.tenant).get(state.resource.id)
        save(work, command, timed(work, command.tenant, state, before, now), what, now)
    return json_answer(planned.body)


def _together(problems: list[Problem]) -> Problem:
    """One that holds up the whole because it is in use, or all that is invalid."""
    errors = [error for each in problems for error in each.errors]
    if not errors:
        return problems[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return invalid(f"{errors[0][0]}: {errors[0][1]}{more}", errors)
