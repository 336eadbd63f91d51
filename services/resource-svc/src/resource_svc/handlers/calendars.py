"""Calendars: checked with all their layers, and kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kernel_runtime.command import Command, Result, json_answer
from kernel_runtime.problem import Problem, invalid

from resource_svc.domain.calendars import errors_of
from resource_svc.handlers.definitions import stale
from resource_svc.handlers.roles import DESIGN, missing
from resource_svc.store import Wanted, Work


@dataclass(frozen=True, slots=True)
class PutCalendar:
    id: str
    definition: dict[str, Any]
    """As JSON, in the form of the contract."""
    if_match: int | None


def touch(command: Command, wanted: Wanted) -> None:
    body: PutCalendar = command.body
    wanted.calendars.update((command.tenant, id) for id in (body.id, *body.definition["layers"]))


def put_calendar(work: Work, command: Command, now: datetime) -> Result:
    body: PutCalendar = command.body
    if (problem := missing(command, DESIGN)) is not None:
        return problem
    version, existing = work.calendar(command.tenant, body.id)
    if (problem := stale(body.if_match, version)) is not None:
        return problem
    status = 200 if version else 201
    wrong = errors_of(body.id, body.definition, lambda id: work.calendar(command.tenant, id)[1])
    if wrong:
        return refused(wrong)
    if existing != body.definition:
        version = work.define_calendar(command.tenant, body.id, body.definition)
    return json_answer({"id": body.id, "version": version, **body.definition}, status, etag=f'"{version}"')


def refused(errors: Sequence[tuple[str, str]]) -> Problem:
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return invalid(f"{errors[0][0]}: {errors[0][1]}{more}", errors)
