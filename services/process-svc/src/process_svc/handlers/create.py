"""Starting processes: one, or up to a thousand, each by its own merits."""

import hashlib
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any

import orjson
from kernel_contracts.envelope import MAX_DEPTH
from kernel_contracts.process import CreateProcess
from kernel_contracts.vocabulary import PerEntity, ProcessState
from kernel_runtime.command import Answer, Command, Result
from kernel_runtime.problem import Problem, conflict, invalid, not_found

from process_svc import wire
from process_svc.domain import decisions, snapshots
from process_svc.domain.life import refused, version_for
from process_svc.domain.permissions import may_create
from process_svc.domain.process import Change, Process, Reference, Refusal
from process_svc.domain.service import Service
from process_svc.handlers.answers import forbidden, problem, too_far, utc
from process_svc.handlers.bodies import Batch
from process_svc.handlers.mappings import start_context
from process_svc.handlers.undoing import request
from process_svc.handlers.work import Work
from process_svc.store.compensations import Open
from process_svc.store.follow_ups import REPLACE

DONE = Answer()


def create(work: Work, command: Command, now: datetime) -> Result:
    """201 with the PCB; 200 where `key` has made it before."""
    made = _create(work, command, command.body, now)
    if isinstance(made, Problem):
        return made
    if command.envelope is not None:
        return DONE
    process, status = made
    headers = {"etag": f'"{process.version}"', "location": f"/v1/processes/{process.pid}"}
    warned = _warned(work, process)
    if warned is None:
        return Answer(status, wire.pcb_json(process), headers)
    headers["deprecation"] = f"@{int(warned['at'].timestamp())}"
    if warned["sunset"] is not None:
        headers["sunset"] = format_datetime(warned["sunset"], usegmt=True)
    return Answer(status, orjson.dumps({**wire.pcb(process), "deprecated": warned}, option=wire.UTC_Z), headers)


def create_batch(work: Work, command: Command, now: datetime) -> Result:
    """An item each: status and process, or status and problem."""
    batch: Batch = command.body
    items: list[dict[str, Any]] = []
    for _, body in batch.items:
        made = body if isinstance(body, Problem) else _create(work, command, body, now)
        if isinstance(made, Problem):
            items.append({"status": made.status, "problem": made.as_dict()})
        else:
            item: dict[str, Any] = {"status": made[1], "process": wire.pcb(made[0])}
            if (warned := _warned(work, made[0])) is not None:
                item["deprecated"] = warned
            items.append(item)
    return Answer(200, orjson.dumps({"items": items}, option=wire.UTC_Z))


def start_step(work: Work, command: Command, owner: Process, step: Open, now: datetime) -> Process:
    """What undoes a process: whatever speaks against it, it is there, with an incident where it can't start so."""
    body, tenant = request(step), owner.tenant
    life = work.lives[tenant, body.service]
    entry = work.definition(tenant, body.service, life.current)
    service = entry.service
    context = start_context(entry, body, now)
    wrong = context if isinstance(context, Problem) else None
    text = context if isinstance(context, str) else wire.canonical(body.context)
    line = None if work.turns is None else work.turns.line(tenant, service, body.entity)
    pid = work.memory.pids.next() if work.turns is None or line is None else work.turns.pid()
    process = _new(pid, tenant, service, body, None, text, owner, now).but(
        compensates=step.target, priority=max(service.priority, owner.priority), ahead=line[-1] if line else None
    )
    decided = decisions.create(process, work.outcomes, now)
    assert isinstance(decided, Change)
    if wrong is not None:
        decided = decisions.unable(process, "compensation_input", wrong.detail, now)
    if not owner.has_children:
        work.mark(owner.pid, has_children=True)
    return work.apply(decided, command, now)


def _create(work: Work, command: Command, body: CreateProcess, now: datetime) -> tuple[Process, int] | Problem:
    if command.envelope is None and not may_create(command.roles):
        return forbidden("start processes")
    return make(work, command, body, now, command.tenant)


def make(
    work: Work, command: Command, body: CreateProcess, now: datetime, tenant: str, *, call: int | None = None
) -> tuple[Process, int] | Problem:
    """(the process, the status of HTTP). `call`: of its parent, which makes it."""
    if command.cause.depth > MAX_DEPTH:
        return conflict("Chain of causes too long", f"This is caused by a chain of more than {MAX_DEPTH} messages.")
    key_hash = None
    if body.key is not None:
        key_hash = _fingerprint(body)
        if (taken := work.keys.get((tenant, body.key))) is not None:
            return _again(work.processes[taken], body.key, key_hash)
    service = service_of(work, tenant, body, now, begun=call is not None)
    if isinstance(service, Problem):
        return service
    if (wrong := _entity_problem(service, body)) is not None:
        return wrong
    relatives = _relatives(work, tenant, body)
    if isinstance(relatives, Problem):
        return relatives
    parent, before = relatives
    context = start_context(work.definition(tenant, service.name, service.version), body, now)
    if isinstance(context, Problem):
        return context
    turns = work.turns
    line = None if turns is None else turns.line(tenant, service, body.entity)
    if line and service.per_entity is PerEntity.REJECT:
        return _taken(service, body, line[0])
    if line and parent is not None and parent.state is ProcessState.WAITING and parent.pid in line:
        return _in_a_circle(parent)
    pid = work.memory.pids.next() if turns is None or line is None else turns.pid()
    try:
        process = _new(pid, tenant, service, body, key_hash, context, parent, now)
    except OverflowError:
        return too_far("")
    if line:
        process = process.but(ahead=line[-1])
    if call is not None:
        process = process.but(call=call)
    decided = decisions.create(process, work.outcomes, now)
    if isinstance(decided, Refusal):
        return problem(decided)
    if parent is not None and not parent.has_children:
        work.note(parent.pid, command, now, has_children=True)
    for each in before:
        if not each.has_dependents:
            work.note(each.pid, command, now, has_dependents=True)
    if line and service.per_entity is PerEntity.REPLACE:
        work.follow(REPLACE, pid, command.cause)
    made = work.apply(decided, command, now)
    if body.key is not None:
        work.keys[tenant, body.key] = made.pid
    return made, 201


def _taken(service: Service, body: CreateProcess, pid: int) -> Problem:
    assert body.entity is not None
    return conflict(
        "Entity is taken",
        f"Process {pid} of the service {service.name} works on {body.entity.type} {body.entity.id}; one at a time may.",
        pid=pid,
    )


def _in_a_circle(parent: Process) -> Problem:
    return conflict(
        "Would wait for itself",
        f"It would have to wait until process {parent.pid} has ended, its parent on the same entity, which is WAITING itself."
        " Start it on another entity, or of a service that is not one at a time there.",
        pid=parent.pid,
    )


def _fingerprint(body: CreateProcess) -> bytes:
    """The same request has the same, in whatever way it is written."""
    text = orjson.dumps(body.model_dump(mode="json", exclude_defaults=True), option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(text, digest_size=16).digest()


def _again(process: Process, key: str, key_hash: bytes) -> tuple[Process, int] | Problem:
    if process.key_hash == key_hash:
        return process, 200
    return conflict(
        "Key is taken",
        f"The key {key!r} made process {process.pid} ({process.service}) by another request. Use a new key.",
        pid=process.pid,
    )


def service_of(
    work: Work, tenant: str, body: CreateProcess, now: datetime, *, begun: bool = False
) -> Service | Problem:
    """The version that it gets. `begun`: it belongs to a call that was let in, which a retirement does not stop."""
    life = work.lives.get((tenant, body.service))
    if life is None:
        return not_found("service", body.service)
    version = body.service_version
    if version is None:
        key = body.key if body.key is not None or life.canary is None else str(work.memory.pids.peek())
        version = life.current if key is None else version_for(life, body.service, key, now)
    elif version > life.latest:
        return not_found("service", f"{body.service} in version {version}")
    if not begun and (no := refused(life, body.service, version, now)) is not None:
        return problem(no)
    return work.definition(tenant, body.service, version).service


def _warned(work: Work, process: Process) -> dict[str, Any] | None:
    """What is said with a new process of a deprecated version, as the members and headers of an answer."""
    life = work.lives.get((process.tenant, process.service))
    found = None if life is None else life.deprecated.get(process.service_version)
    if life is None or found is None:
        return None
    until = "" if found.sunset is None else f" It takes no new processes from {found.sunset.isoformat()} on."
    why = f" {found.reason}" if found.reason else ""
    return {
        "version": process.service_version,
        "at": found.at,
        "sunset": found.sunset,
        "detail": f"Version {process.service_version} of {process.service} is deprecated.{until}{why}",
    }


def _entity_problem(service: Service, body: CreateProcess) -> Problem | None:
    if service.entity_type is None:
        return None
    if body.entity is None:
        return invalid(
            f"The service {service.name} works on an entity of type {service.entity_type!r}: name it in `entity`.",
            [("/entity", "is required by the service")],
        )
    if body.entity.type != service.entity_type:
        return invalid(
            f"The service {service.name} works on entities of type {service.entity_type!r}, not {body.entity.type!r}.",
            [("/entity/type", f"must be {service.entity_type!r}")],
        )
    return None


def _relatives(work: Work, tenant: str, body: CreateProcess) -> tuple[Process | None, list[Process]] | Problem:
    """Its parent and its predecessors."""
    parent = None
    if body.parent is not None:
        parent = work.processes.get(body.parent)
        if parent is None or parent.tenant != tenant:
            return _unknown("parent", body.parent)
        if parent.state is ProcessState.TERMINATED:
            return conflict("Parent has ended", f"Process {parent.pid} is TERMINATED and can't get children.")
    before = []
    for index, pid in enumerate(body.after):
        process = work.processes.get(pid)
        if process is None or process.tenant != tenant:
            return _unknown(f"after/{index}", pid)
        before.append(process)
    return parent, before


def _unknown(where: str, pid: int) -> Problem:
    return invalid(f"There is no process {pid}.", [(f"/{where}", f"There is no process {pid}.")])


def _new(
    pid: int,
    tenant: str,
    service: Service,
    body: CreateProcess,
    key_hash: bytes | None,
    context: str,
    parent: Process | None,
    now: datetime,
) -> Process:
    due = utc(body.due)
    if due is None and service.due_in is not None:
        due = now + timedelta(seconds=service.due_in)
    duration = service.expected_duration
    if body.expected_duration is not None:
        duration = body.expected_duration.total_seconds()
    entity = body.entity
    return Process(
        pid=pid,
        tenant=tenant,
        version=1,
        state=ProcessState.NEW,
        outcome=None,
        service=service.name,
        service_version=service.version,
        entity_type=None if entity is None else entity.type,
        entity_id=None if entity is None else entity.id,
        operator=body.operator,
        assigned=body.operator,
        priority=service.priority if body.priority is None else body.priority,
        queue=body.queue or service.queue,
        key=body.key,
        key_hash=key_hash,
        parent=body.parent,
        root=pid if parent is None else parent.root,
        after=tuple(dict.fromkeys(body.after)),
        after_mode=body.after_mode,
        after_on=body.after_on,
        attempt=1,
        dispatch_id=None,
        held=False,
        created_at=now,
        ready_at=None,
        started_at=None,
        ended_at=None,
        not_before=utc(body.not_before),
        not_after=utc(body.not_after),
        due=due,
        run_until=None,
        expected_duration=duration,
        context=context,
        context_version=1,
        context_hash=snapshots.link(snapshots.GENESIS, context),
        output=None,
        waiting=None,
        suspended_from=None,
        suspended_at=None,
        incident=None,
        has_children=False,
        has_dependents=False,
        ended_by=None,
        entities=tuple(Reference(each.type, each.id, each.role, each.access) for each in body.entities),
    )
