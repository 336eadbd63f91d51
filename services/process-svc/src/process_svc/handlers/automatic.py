"""What workers ask beside their answers, and what becomes of those that are not heard of."""

from datetime import datetime
from typing import Any

import orjson
from kernel_contracts.vocabulary import CommandName
from kernel_contracts.work import Heartbeat
from kernel_runtime.command import Answer, Command, Result
from kernel_runtime.problem import Problem, not_found

from process_svc import wire
from process_svc.domain.lease import gone, lapsed
from process_svc.domain.permissions import may_command
from process_svc.domain.steps import failed
from process_svc.handlers.answers import forbidden, lease_is_gone
from process_svc.handlers.bodies import Beats, Lapse
from process_svc.handlers.work import Work

DONE = Answer()


def heartbeat(work: Work, command: Command, now: datetime) -> Result:
    """Until when each lease is held now, or 409 where it is gone: the worker stops then. No process changes."""
    body: Beats = command.body
    if not may_command(CommandName.COMPLETE, command.roles, None):
        return forbidden("work on processes by a lease")
    found = [item if isinstance(item, Problem) else _beat(work, command.tenant, item, now) for item in body.items]
    if body.single:
        (only,) = found
        return only if isinstance(only, Problem) else Answer(200, orjson.dumps(only, option=wire.UTC_Z))
    items = [
        {"status": each.status, "problem": each.as_dict()} if isinstance(each, Problem) else {"status": 200, **each}
        for each in found
    ]
    return Answer(200, orjson.dumps({"items": items}, option=wire.UTC_Z))


def _beat(work: Work, tenant: str, beat: Heartbeat, now: datetime) -> dict[str, Any] | Problem:
    lease = work.leases.locked.get(beat.pid)
    owner, state = (lease.tenant, "RUNNING") if lease is not None else work.leases.states.get(beat.pid, ("", ""))
    if owner != tenant:
        return not_found("process", beat.pid)
    why = gone(lease, beat.token, now)
    if lease is None or why is not None:
        return lease_is_gone(beat.pid, beat.token, why or "", state)
    progress = None if beat.progress is None else wire.canonical(beat.progress)
    seconds = None if beat.lease is None else beat.lease.total_seconds()
    return {
        "pid": beat.pid,
        "token": beat.token,
        "lease_until": work.leases.extend(lease, seconds, progress, now),
    }


def lapse(work: Work, command: Command, now: datetime) -> Result:
    """A worker was not heard of in time: its attempt has failed."""
    body: Lapse = command.body
    process = work.processes.get(body.pid)
    error = lapsed(work.leases.locked.get(body.pid), body.token, now)
    if process is not None and error is not None:
        service = work.entry(process).service
        work.apply(failed(process, CommandName.TIME_OUT, service, error, now, None), command, now)
    return DONE
