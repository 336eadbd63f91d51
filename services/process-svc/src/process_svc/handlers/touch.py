"""What a batch of commands touches, found before anything is loaded."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kernel_contracts.holds import NewHold
from kernel_contracts.process import (
    ArriveAtBarrier,
    CallProcess,
    CancelProcess,
    CompleteProcess,
    CreateProcess,
    FailProcess,
    IterateProcess,
    MapProcess,
    MigrateProcess,
    PatchContext,
    ProcessCommand,
    ReleaseProcess,
    ResumeProcess,
    RetryProcess,
    RollbackProcess,
    WaitProcess,
    WakeProcess,
)
from kernel_runtime.command import Command

from process_svc.handlers.bodies import (
    AssignIncident,
    Batch,
    Beats,
    Definitions,
    FollowUp,
    Grant,
    JobControl,
    JobItem,
    Lapse,
    NewJob,
    ReleaseHold,
    ResolveIncident,
    ServiceChange,
    Settle,
    Tick,
)
from process_svc.store.follow_ups import JOIN, SPAWN


@dataclass(slots=True)
class Touched:
    pids: set[int] = field(default_factory=set)
    whole: set[int] = field(default_factory=set)
    """Processes whose context is needed, however large."""
    creates: list[tuple[str, CreateProcess]] = field(default_factory=list)
    """(tenant, body)"""
    snapshots: list[tuple[int, int]] = field(default_factory=list)
    """(pid, version)"""
    follow_ups: list[FollowUp] = field(default_factory=list)
    terminated: set[int] = field(default_factory=set)
    """Of these incidents, those whose process is undone."""
    incidents: dict[int, int | None] = field(default_factory=dict)
    """id -> the version to go back to"""
    definitions: set[tuple[str, str]] = field(default_factory=set)
    versions: set[tuple[str, str, int]] = field(default_factory=set)
    """Of services, beyond the newest and the current one."""
    leases: set[int] = field(default_factory=set)
    """Processes whose lease is looked at."""
    beats: set[int] = field(default_factory=set)
    """Processes whose lease alone is touched: they are not locked."""
    holds: list[int] = field(default_factory=list)
    new_holds: int = 0
    migrations: list[tuple[int, int]] = field(default_factory=list)
    """(pid, the version of its service that it is to get)"""
    undo: dict[int, int | None] = field(default_factory=dict)
    """Processes of which something may be undone -> the version that they go back to."""
    proceed: set[int] = field(default_factory=set)
    """Processes of which something is being undone."""
    ticks: set[int] = field(default_factory=set)
    may_fail: int = 0
    """How many incidents there may be."""
    jobs: set[int] = field(default_factory=set)
    job_items: list[tuple[int, int]] = field(default_factory=list)
    """(job, item)"""
    new_jobs: int = 0
    called: list[tuple[str, str]] = field(default_factory=list)
    """(tenant, service) of each call"""
    arrivals: list[tuple[int, str]] = field(default_factory=list)
    """(pid, name of the barrier)"""


def touched(commands: Sequence[Command]) -> Touched:
    found = Touched()
    for command in commands:
        body = command.body
        _ADD[type(body)](found, command.tenant, body)
        if command.envelope is None and isinstance(body, ProcessCommand):
            found.whole.add(body.pid)
    return found


def _create(found: Touched, tenant: str, body: CreateProcess) -> None:
    found.creates.append((tenant, body))
    if body.parent is not None:
        found.pids.add(body.parent)
    if body.after:
        found.pids.update(body.after)


def _command(found: Touched, tenant: str, body: ProcessCommand) -> None:
    found.pids.add(body.pid)


def _by_token(found: Touched, tenant: str, body: Any) -> None:
    found.pids.add(body.pid)
    if body.token is not None:
        found.leases.add(body.pid)


def _fail(found: Touched, tenant: str, body: FailProcess) -> None:
    found.may_fail += 1
    _by_token(found, tenant, body)
    if body.compensate:
        found.undo.setdefault(body.pid, None)


def _lapse(found: Touched, tenant: str, body: Lapse) -> None:
    _may_fail(found, tenant, body)
    found.leases.add(body.pid)


def _beats(found: Touched, tenant: str, body: Beats) -> None:
    found.beats.update(body.pids)


def _may_fail(found: Touched, tenant: str, body: Any) -> None:
    found.pids.add(body.pid)
    found.may_fail += 1


def _changes_context(found: Touched, tenant: str, body: Any) -> None:
    found.pids.add(body.pid)
    found.whole.add(body.pid)


def _call(found: Touched, tenant: str, body: CallProcess) -> None:
    _by_token(found, tenant, body)
    found.whole.add(body.pid)
    found.called.append((tenant, body.service))


def _arrive(found: Touched, tenant: str, body: ArriveAtBarrier) -> None:
    _by_token(found, tenant, body)
    found.arrivals.append((body.pid, body.name))


def _wait(found: Touched, tenant: str, body: WaitProcess) -> None:
    _by_token(found, tenant, body)
    if body.for_.event is not None and (body.for_.event.key or "").startswith("="):
        found.whole.add(body.pid)
    if body.for_.barrier is not None:
        found.arrivals.append((body.pid, body.for_.barrier.name))


def _tick(found: Touched, tenant: str, body: Tick) -> None:
    _may_fail(found, tenant, body)
    found.whole.add(body.pid)
    found.ticks.add(body.pid)


def _migrate(found: Touched, tenant: str, body: MigrateProcess) -> None:
    _changes_context(found, tenant, body)
    if body.to < 2**31:
        found.migrations.append((body.pid, body.to))


def _rollback(found: Touched, tenant: str, body: RollbackProcess) -> None:
    found.pids.add(body.pid)
    found.snapshots.append((body.pid, body.version))
    found.undo[body.pid] = body.version


def _cancel(found: Touched, tenant: str, body: CancelProcess) -> None:
    found.pids.add(body.pid)
    if body.compensate:
        found.undo.setdefault(body.pid, None)


def _batch(found: Touched, tenant: str, body: Batch) -> None:
    for _, item in body.items:
        if (add := _ADD.get(type(item))) is not None:
            add(found, tenant, item)


def _follow_up(found: Touched, tenant: str, body: FollowUp) -> None:
    found.follow_ups.append(body)
    found.pids.add(body.pid)
    if body.kind == SPAWN or (body.kind == JOIN and (body.data is None or '"calls"' in body.data)):
        found.whole.add(body.pid)
        found.may_fail += 1


def _resolve(found: Touched, tenant: str, body: ResolveIncident) -> None:
    found.incidents[body.id] = body.version
    if body.compensate:
        found.terminated.add(body.id)


def _assign(found: Touched, tenant: str, body: AssignIncident) -> None:
    found.incidents.setdefault(body.id, None)


def _define(found: Touched, tenant: str, body: Definitions) -> None:
    found.definitions.update((tenant, name) for name in body.services)


def _life(found: Touched, tenant: str, body: ServiceChange) -> None:
    found.definitions.add((tenant, body.name))
    if body.version is not None:
        named = (body.version, body.base or body.version - 1)
        found.versions.update((tenant, body.name, each) for each in named)


def _new_job(found: Touched, tenant: str, body: NewJob) -> None:
    found.new_jobs += 1


def _control(found: Touched, tenant: str, body: JobControl) -> None:
    found.jobs.add(body.id)


def _job_item(found: Touched, tenant: str, body: JobItem) -> None:
    found.jobs.add(body.job)
    found.job_items.append((body.job, body.item))
    inner = body.inner.body
    _ADD[type(inner)](found, tenant, inner)


def _settle(found: Touched, tenant: str, body: Settle) -> None:
    found.jobs.add(body.job)
    found.job_items += [(each.job, each.item) for each in body.items]


def _hold(found: Touched, tenant: str, body: NewHold) -> None:
    found.new_holds += 1
    if body.pid is not None:
        found.pids.add(body.pid)


def _release(found: Touched, tenant: str, body: ReleaseHold) -> None:
    found.holds.append(body.id)


def _descendants(kind: type[Any]) -> list[type[Any]]:
    return [kind, *itertools.chain.from_iterable(map(_descendants, type.__subclasses__(kind)))]


_ADD: Mapping[type, Callable[[Touched, str, Any], None]] = {
    **dict.fromkeys(_descendants(ProcessCommand), _command),
    CreateProcess: _create,
    RollbackProcess: _rollback,
    CancelProcess: _cancel,
    WaitProcess: _wait,
    MigrateProcess: _migrate,
    **dict.fromkeys((WakeProcess, RetryProcess, PatchContext), _changes_context),
    **dict.fromkeys((CompleteProcess, ReleaseProcess), _by_token),
    FailProcess: _fail,
    Grant: _command,
    Lapse: _lapse,
    Beats: _beats,
    **dict.fromkeys((CallProcess, MapProcess, IterateProcess), _call),
    ArriveAtBarrier: _arrive,
    Tick: _tick,
    ResumeProcess: _may_fail,
    Batch: _batch,
    FollowUp: _follow_up,
    ResolveIncident: _resolve,
    AssignIncident: _assign,
    Definitions: _define,
    ServiceChange: _life,
    NewJob: _new_job,
    JobControl: _control,
    JobItem: _job_item,
    Settle: _settle,
    NewHold: _hold,
    ReleaseHold: _release,
}
