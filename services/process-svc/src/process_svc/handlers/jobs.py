"""Bulk jobs: making and steering them, and carrying out their items with the handlers of single commands."""

from datetime import datetime

import orjson
from kernel_contracts.vocabulary import JobState, Role
from kernel_runtime.command import Answer, Command, Result
from kernel_runtime.pipeline import Handler
from kernel_runtime.problem import Problem, conflict, not_found

from process_svc import wire
from process_svc.domain.jobs import allowed, controlled
from process_svc.handlers import commands, incidents
from process_svc.handlers.answers import forbidden
from process_svc.handlers.bodies import JobControl, JobItem, NewJob, Settle
from process_svc.handlers.job_work import JobWork, refused
from process_svc.handlers.work import Work
from process_svc.store.job_items import Settled
from process_svc.store.jobs import Job

DONE = Answer()
RESOLVE = "resolve_incident"
_ASKERS = frozenset({Role.ADMIN.value, Role.INTEGRATOR.value})


def handler(name: str) -> Handler:
    """Of an item."""
    return incidents.resolve if name == RESOLVE else commands.handle


def create(work: Work, command: Command, now: datetime) -> Result:
    """202 with the job. Each item will be carried out with the rights of who asks here."""
    if not command.roles & _ASKERS:
        return forbidden("start bulk jobs")
    body: NewJob = command.body
    made = Job(
        id=_jobs(work).ids.next(),
        tenant=command.tenant,
        kind=body.kind,
        command=body.command,
        filter=orjson.dumps(body.filter).decode(),
        body=orjson.dumps(body.body).decode(),
        dry_run=body.dry_run,
        state=JobState.COLLECTING,
        collected=False,
        bound=_jobs(work).newest_pid,
        reached=0,
        expected=body.expected,
        total=0,
        done=0,
        failed=0,
        by=command.by,
        roles=sorted(command.roles),
        operator=command.operator,
        correlation=command.cause.correlation,
        created_at=now,
        started_at=None,
        ended_at=None,
        error=None,
    )
    _jobs(work).make(made)
    headers = {"location": f"/v1/jobs/{made.id}"}
    return Answer(202, _json(made), headers)


def control(work: Work, command: Command, now: datetime) -> Result:
    """Pause, resume or cancel; what is settled stays so."""
    body: JobControl = command.body
    job = _jobs(work).jobs.get(body.id)
    if job is None or job.tenant != command.tenant:
        return not_found("job", body.id)
    if not command.roles & _ASKERS:
        return forbidden(f"{body.action} bulk jobs")
    state = controlled(job.state, body.action, collected=job.collected)
    if state is None:
        can = allowed(job.state)
        return conflict(
            "Illegal state change",
            f"Job {job.id} is {job.state}; {body.action} is not allowed then. Allowed: {', '.join(can) or 'nothing'}.",
            state=job.state.value,
            allowed=can,
        )
    _jobs(work).change(job, state, now)
    return Answer(200, _json(job))


def item(work: Work, command: Command, now: datetime) -> Result:
    """Carried out and settled in one transaction: once, however often it is sent."""
    body: JobItem = command.body
    jobs = _jobs(work)
    if jobs.takes(body.job, body.item):
        result = handler(body.inner.name)(work, body.inner, now)
        if isinstance(result, Problem):
            jobs.settle([refused(body.job, body.item, result)], now)
        else:
            jobs.settle([Settled(body.job, body.item, "done")], now)
    return DONE


def settle(work: Work, command: Command, now: datetime) -> Result:
    """What was found out without carrying it out: of a dry run, or that an item broke."""
    body: Settle = command.body
    _jobs(work).settle(body.items, now)
    return DONE


def _jobs(work: Work) -> JobWork:
    assert work.jobs is not None
    return work.jobs


def _json(job: Job) -> bytes:
    return orjson.dumps(job.as_dict(), option=wire.UTC_Z)
