"""Starting processes: one, or up to a thousand, each by its own merits."""

from datetime import datetime, timedelta
from typing import Any

import orjson
from kernel_contracts.process import CreateProcess
from kernel_contracts.vocabulary import EntityAccess, ProcessState
from kernel_runtime.command import Answer, Command, Result
from kernel_runtime.problem import Problem, conflict, invalid, not_found

from process_svc import wire
from process_svc.domain import decisions, snapshots
from process_svc.domain.permissions import may_create
from process_svc.domain.process import Process, Refusal
from process_svc.domain.service import Service
from process_svc.handlers.answers import forbidden, problem
from process_svc.handlers.bodies import Batch
from process_svc.handlers.work import Work

MAX_CONTEXT = 256 * 1024
MAX_PID = 2**63 - 1


def create(work: Work, command: Command, now: datetime) -> Result:
    """201 with the PCB; 200 where `key` has made it before."""
    made = _create(work, command, command.body, now)
    if isinstance(made, Problem):
        return made
    process, status = made
    headers = {"etag": f'"{process.version}"', "location": f"/v1/processes/{process.pid}"}
    return Answer(status, wire.pcb_json(process), headers)


def create_batch(work: Work, command: Command, now: datetime) -> Result:
    """An item each: status and process, or status and problem."""
    batch: Batch = command.body
    items: list[dict[str, Any]] = []
    for _, body in batch.items:
        made = body if isinstance(body, Problem) else _create(work, command, body, now)
        if isinstance(made, Problem):
            items.append({"status": made.status, "problem": made.as_dict()})
        else:
            items.append({"status": made[1], "process": wire.pcb(made[0])})
    return Answer(200, orjson.dumps({"items": items}, option=orjson.OPT_UTC_Z))


def _create(work: Work, command: Command, body: CreateProcess, now: datetime) -> tuple[Process, int] | Problem:
    if command.envelope is None and not may_create(command.roles):
        return forbidden("start processes")
    tenant = command.tenant
    if body.key is not None and (taken := work.keys.get((tenant, body.key))) is not None:
        return _again(work.processes[taken], body)
    version = body.service_version or work.latest.get((tenant, body.service))
    if version is None or (tenant, body.service) not in work.latest:
        return not_found("service", body.service)
    if version > work.latest[tenant, body.service]:
        return not_found("service", f"{body.service} in version {version}")
    entry = work.catalog.get(tenant, body.service, version)
    if (wrong := _entity_problem(entry.service, body)) is not None:
        return wrong
    parent = _relative(work, tenant, body.parent)
    if isinstance(parent, Problem):
        return parent
    if parent is not None and parent.state is ProcessState.TERMINATED:
        return conflict("Parent has ended", f"Process {parent.pid} is TERMINATED and can't get children.")
    before = [_relative(work, tenant, pid) for pid in dict.fromkeys(body.after)]
    for each in before:
        if isinstance(each, Problem):
            return each
    try:
        context = wire.canonical(body.context)
    except TypeError as error:
        return invalid(f"context can't be stored: {error}", [("/context", str(error))])
    if len(context) > MAX_CONTEXT:
        return Problem(
            413,
            "Context too large",
            f"A context may have {MAX_CONTEXT:,} bytes; this has {len(context):,}. Keep large data elsewhere and refer to it.",
        )
    process = _new(work.next_pid(), tenant, entry.service, body, context, parent, now)
    decided = decisions.create(process, work.outcomes, now)
    if isinstance(decided, Refusal):
        return problem(decided)
    made = work.apply(decided, command, now)
    if parent is not None and not parent.has_children:
        work.mark(work.processes[parent.pid], children=True)
    for each in before:
        if isinstance(each, Process) and each.state is not ProcessState.TERMINATED:
            work.mark(work.processes[each.pid], dependents=True)
    if body.key is not None:
        work.keys[tenant, body.key] = made.pid
    return made, 201


def _again(process: Process, body: CreateProcess) -> tuple[Process, int] | Problem:
    entity = None if body.entity is None else (body.entity.type, body.entity.id)
    there = None if process.entity_type is None else (process.entity_type, process.entity_id)
    if process.service == body.service and entity == there:
        return process, 200
    return conflict(
        "Key is taken",
        f"The key {body.key!r} belongs to process {process.pid}, which is another one ({process.service}). Use a new key.",
        pid=process.pid,
    )


def _entity_problem(service: Service, body: CreateProcess) -> Problem | None:
    if body.entity is None:
        if service.entity_access is EntityAccess.EXCLUSIVE or service.entity_type is not None:
            return invalid(
                f"The service {service.name} works on an entity of type {service.entity_type!r}: name it in `entity`.",
                [("/entity", "is required by the service")],
            )
        return None
    if service.entity_type is not None and body.entity.type != service.entity_type:
        return invalid(
            f"The service {service.name} works on entities of type {service.entity_type!r}, not {body.entity.type!r}.",
            [("/entity/type", f"must be {service.entity_type!r}")],
        )
    return None


def _relative(work: Work, tenant: str, pid: int | None) -> Process | Problem | None:
    if pid is None:
        return None
    process = work.processes.get(pid)
    if process is None or process.tenant != tenant:
        return not_found("process", pid)
    return process


def _new(
    pid: int, tenant: str, service: Service, body: CreateProcess, context: str, parent: Process | None, now: datetime
) -> Process:
    due = body.due
    if due is None and service.due_in is not None:
        due = now + timedelta(seconds=service.due_in)
    duration = service.expected_duration
    if body.expected_duration is not None:
        duration = body.expected_duration.total_seconds()
    return Process(
        pid=pid,
        tenant=tenant,
        version=1,
        state=ProcessState.NEW,
        outcome=None,
        service=service.name,
        service_version=service.version,
        entity_type=None if body.entity is None else body.entity.type,
        entity_id=None if body.entity is None else body.entity.id,
        operator=None,
        assigned=body.operator,
        priority=service.priority if body.priority is None else body.priority,
        queue=body.queue or service.queue,
        key=body.key,
        parent=body.parent,
        root=pid if parent is None else parent.root or parent.pid,
        after=tuple(dict.fromkeys(body.after)),
        after_mode=body.after_mode,
        after_on=body.after_on,
        attempt=1,
        dispatch_id=None,
        created_at=now,
        ready_at=None,
        started_at=None,
        ended_at=None,
        not_before=body.not_before,
        not_after=body.not_after,
        due=due,
        expected_duration=duration,
        context=context,
        context_version=1,
        context_hash=snapshots.link(snapshots.GENESIS, context),
        output=None,
        waiting=None,
        suspended_from=None,
        incident=None,
        has_children=False,
        has_dependents=False,
    )
