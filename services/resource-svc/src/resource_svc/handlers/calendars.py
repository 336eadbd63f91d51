"""Calendars: kept and shown. Nothing goes by them yet."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kernel_runtime.command import Command, Result, json_answer

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
    wanted.calendars.add((command.tenant, command.body.id))


def put_calendar(work: Work, command: Command, now: datetime) -> Result:
    body: PutCalendar = command.body
    if (problem := missing(command, DESIGN)) is not None:
        return problem
    version, existing = work.calendar(command.tenant, body.id)
    if (problem := stale(body.if_match, version)) is not None:
        return problem
    status = 200 if version else 201
    if existing != body.definition:
        version = work.define_calendar(command.tenant, body.id, body.definition)
    return json_answer({"id": body.id, "version": version, **body.definition}, status, etag=f'"{version}"')
