"""What another version of its service means for a process: what would change, and what speaks against it.

The state stays. Priority, queue, expected duration and due time follow the definition only where the process had them from it. A
process that runs keeps what it was dispatched with, so its form, roles and demands must be the same in both versions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from kernel_contracts.vocabulary import CommandName

from process_svc.domain.limits import limited
from process_svc.domain.process import Change, Decision, Entry, Process, Refusal
from process_svc.domain.service import Service
from process_svc.domain.states import READY, RUNNING, allowed, legal
from process_svc.domain.steps import illegal, step, with_context


@dataclass(frozen=True, slots=True)
class Plan:
    """`members` of the process as they would be; `changes`: name -> [before, after], as history tells them."""

    members: Mapping[str, Any]
    changes: Mapping[str, list[Any]]
    problems: tuple[str, ...]


def plan(process: Process, old: Service, new: Service, differs: Sequence[str]) -> Plan:
    """`differs`: members of the definition that a running process can't take over and that are not the same."""
    members: dict[str, Any] = {"service_version": new.version}
    for name in ("priority", "queue", "expected_duration"):
        if getattr(process, name) == getattr(old, name):
            members[name] = getattr(new, name)
    if process.due == _due(process, old):
        members["due"] = _due(process, new)
    if process.state in (READY, RUNNING):
        members["run_until"] = limited(process, new).run_until
    changes = {
        name: [getattr(process, name), value]
        for name, value in members.items()
        if getattr(process, name) != value and name != "run_until"
    }
    for name in ("timeout", "start_in", "heartbeat", "max_attempts"):
        if getattr(old, name) != getattr(new, name):
            changes[name] = [getattr(old, name), getattr(new, name)]
    return Plan(members, changes, tuple(_problems(process, old, new, differs)))


def _due(process: Process, service: Service) -> datetime | None:
    return None if service.due_in is None else process.created_at + timedelta(seconds=service.due_in)


def _problems(process: Process, old: Service, new: Service, differs: Sequence[str]) -> list[str]:
    found = []
    if new.version == old.version:
        found.append(f"it has version {new.version} already")
    if new.entity_type is not None and new.entity_type != process.entity_type:
        has = "none" if process.entity_type is None else f"one of type {process.entity_type!r}"
        found.append(f"version {new.version} works on an entity of type {new.entity_type!r}, and it has {has}")
    if new.per_entity is not old.per_entity:
        found.append(
            f"per_entity is {old.per_entity} in version {old.version}, {new.per_entity} in version {new.version}"
        )
    if process.state is RUNNING and differs:
        found.append(f"it is RUNNING, and {', '.join(differs)} differ: release or suspend it first")
    return found


def migrate(process: Process, found: Plan, context: str | None, now: datetime, reason: str | None) -> Decision:
    """In its state, as `found`. A READY one is announced anew, for its demands may be others; its place in the queue stays."""
    if not legal(CommandName.MIGRATE, process.state):
        return illegal(process, CommandName.MIGRATE)
    if found.problems:
        return Refusal(
            "Can't be migrated",
            f"Process {process.pid} can't be migrated: {'; '.join(found.problems)}.",
            state=process.state,
            allowed=tuple(allowed(process.state, process.outcome, process.incident)),
        )
    after = step(process, process.state, **found.members)
    kind = "ready" if process.state is READY else "migrated"
    entry = Entry(CommandName.MIGRATE, kind, after, process.state, reason, changes=found.changes)
    if process.state is RUNNING:
        entry.dispatch_id = process.dispatch_id
    return with_context(Change([entry], kind=True), process, context)
