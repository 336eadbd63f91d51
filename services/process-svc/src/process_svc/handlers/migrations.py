"""To another version of its service: carried out, or only told."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from kernel_contracts.process import MigrateProcess
from kernel_runtime.problem import Problem, not_found

from process_svc.catalog import Entry, check_start, demands
from process_svc.domain.merge import merge
from process_svc.domain.migration import Plan, migrate, plan
from process_svc.domain.process import Decision, Process
from process_svc.domain.states import TERMINATED
from process_svc.handlers.answers import stored
from process_svc.handlers.work import Work

FIXED = ("kind", "form", "roles", "requirements", "entity_access", "output")
"""Members of a definition that a running process relies on."""


@dataclass(frozen=True, slots=True)
class Report:
    """What migrating would do. `context`: as it would be stored, None where it stays; `refused`: what is wrong with it."""

    plan: Plan
    changes: Mapping[str, Any]
    context: str | None
    refused: Problem | None


def report(process: Process, old: Entry, new: Entry, patch: Mapping[str, Any] | None) -> Report:
    """`process` with its context, however large."""
    assert process.context is not None
    differs = [name for name in FIXED if getattr(old.definition, name) != getattr(new.definition, name)]
    found = plan(process, old.service, new.service, differs)
    changes: dict[str, Any] = dict(found.changes)
    before, after = orjson.loads(demands(old, process)), orjson.loads(demands(new, process))
    if before != after:
        changes["demands"] = [before, after]
    given = orjson.loads(process.context)
    context = merge(given, patch) if patch is not None else given
    refused = check_start(new, context)
    text: str | Problem | None = None if patch is None else stored(context, "context")
    if isinstance(text, Problem):
        refused, text = text, None
    return Report(found, changes, text, refused)


def migrated(work: Work, process: Process, body: MigrateProcess, now: datetime) -> Decision | Problem:
    new = work.memory.catalog.find(process.tenant, process.service, body.to)
    if new is None:
        return not_found("service", f"{process.service} in version {body.to}")
    if process.state is TERMINATED:
        return migrate(process, Plan({}, {}, ()), None, now, body.reason)
    found = report(process, work.entry(process), new, body.context_patch)
    decided = migrate(process, found.plan, found.context, now, body.reason)
    return found.refused if found.refused is not None and not found.plan.problems else decided
