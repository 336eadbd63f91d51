"""What a batch of commands touches, found before anything is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from kernel_contracts.process import (
    CreateProcess,
    ProcessCommand,
    RollbackProcess,
)
from kernel_contracts.resource import ResourcesGranted
from kernel_runtime.command import Command

from process_svc.handlers.bodies import Batch, Definitions, FollowUp, ResolveIncident, Tick


@dataclass(slots=True)
class Touched:
    pids: set[int] = field(default_factory=set)
    creates: list[tuple[str, CreateProcess]] = field(default_factory=list)
    """(tenant, body)"""
    snapshots: list[tuple[int, int]] = field(default_factory=list)
    parents: set[int] = field(default_factory=set)
    """Processes whose children matter."""
    follow_ups: list[FollowUp] = field(default_factory=list)
    incidents: list[int] = field(default_factory=list)
    definitions: set[tuple[str, str]] = field(default_factory=set)
    may_fail: int = 0
    """How many incidents there may be."""


def touched(commands: Sequence[Command]) -> Touched:
    found = Touched()
    for command in commands:
        _add(found, command.tenant, command.name, command.body)
    return found


def _add(found: Touched, tenant: str, name: str, body: Any) -> None:
    match body:
        case CreateProcess():
            found.creates.append((tenant, body))
            if body.parent is not None:
                found.pids.add(body.parent)
            found.pids.update(body.after)
            found.may_fail += bool(body.after)
        case Batch():
            for item_name, item in body.items:
                _add(found, tenant, item_name, item)
        case ProcessCommand():
            found.pids.add(body.pid)
            if isinstance(body, RollbackProcess):
                found.snapshots.append((body.pid, body.version))
            if name == "wait":
                found.parents.add(body.pid)
            found.may_fail += name == "fail"
        case ResourcesGranted():
            found.pids.add(body.pid)
        case Tick():
            found.pids.add(body.pid)
            found.may_fail += 1
        case FollowUp():
            found.follow_ups.append(body)
            found.pids.add(body.pid)
            found.may_fail += 1
        case ResolveIncident():
            found.incidents.append(body.id)
        case Definitions():
            found.definitions.update((tenant, each) for each in body.services)
