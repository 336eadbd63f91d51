"""Resolving incidents: what becomes of the process that needed somebody."""

from datetime import datetime

import orjson
from kernel_contracts.vocabulary import CommandName, Role
from kernel_runtime.command import Answer, Command, Result
from kernel_runtime.problem import Problem, conflict, invalid, not_found

from process_svc import wire
from process_svc.catalog import check_output
from process_svc.domain import decisions
from process_svc.domain.permissions import may_command
from process_svc.domain.process import Decision, Process, Refusal
from process_svc.handlers.answers import forbidden, problem, stored
from process_svc.handlers.bodies import AssignIncident, ResolveIncident
from process_svc.handlers.commands import retried, rolled_back
from process_svc.handlers.compensate import to_undo, undone
from process_svc.handlers.mappings import end_context
from process_svc.handlers.work import Work
from process_svc.store.incidents import Incident


def resolve(work: Work, command: Command, now: datetime) -> Result:
    body: ResolveIncident = command.body
    incident = work.incidents.get(body.id)
    if incident is None or incident.tenant != command.tenant:
        return not_found("incident", body.id)
    process = work.processes[incident.pid]
    if process.incident != body.id:
        return conflict("Incident is resolved", f"Incident {body.id} is resolved already.", state="resolved")
    if not may_command(CommandName.RETRY, command.roles, command.operator):
        return forbidden("resolve incidents")
    if (moved := _moved(incident, body.if_match)) is not None:
        return moved
    decided = _decide(work, process, body, now)
    if isinstance(decided, Problem):
        return decided
    if isinstance(decided, Refusal):
        return problem(decided)
    done = work.apply(decided, command, now)
    version = incident.version + 1
    told = incident._replace(state="resolved", action=body.action, resolved_at=now, version=version)
    shown = orjson.dumps({**told.as_dict(), "process": wire.pcb(done)}, option=wire.UTC_Z)
    return Answer(200, shown, {"etag": f'"{version}"'})


def assign(work: Work, command: Command, now: datetime) -> Result:
    """Somebody looks after it, or nobody any more. A mere operator takes what is nobody's, and gives back what is its own."""
    body: AssignIncident = command.body
    incident = work.incidents.get(body.id)
    if incident is None or incident.tenant != command.tenant:
        return not_found("incident", body.id)
    if not may_command(CommandName.RETRY, command.roles, command.operator):
        mine = {incident.assignee, body.assignee} <= {None, command.operator}
        if Role.OPERATOR.value not in command.roles or command.operator is None or not mine:
            return forbidden("assign incidents to others")
    if (moved := _moved(incident, body.if_match)) is not None:
        return moved
    if work.processes[incident.pid].incident != body.id:
        return conflict("Incident is resolved", f"Incident {body.id} is resolved already.", state="resolved")
    if incident.assignee != body.assignee:
        incident = incident._replace(assignee=body.assignee, version=incident.version + 1)
        work.assign(incident)
    headers = {"etag": f'"{incident.version}"'}
    return Answer(200, orjson.dumps(incident.as_dict(), option=wire.UTC_Z), headers)


def _moved(incident: Incident, expected: int | None) -> Problem | None:
    if expected is None or incident.version == expected:
        return None
    return Problem(
        412,
        "Version has moved on",
        f"Incident {incident.id} is at version {incident.version}, not {expected}. Read it again.",
        extra={"version": incident.version},
    )


def _decide(work: Work, process: Process, body: ResolveIncident, now: datetime) -> Decision | Problem:
    match body.action:
        case "retry":
            return retried(work, process, body.context, now, body.reason)
        case "skip":
            given = body.output or {}
            output = check_output(work.entry(process), given) or stored(given, "output")
            if isinstance(output, Problem):
                return output
            context = end_context(work.entry(process), process, given, now)
            return (
                context if isinstance(context, Problem) else decisions.skip(process, output, now, body.reason, context)
            )
        case "rollback":
            if body.version is None:
                return invalid("A rollback needs the version to go back to.", [("/version", "is required")])
            return rolled_back(work, process, body.version, now, body.reason, resume=True)
        case "terminate":
            decided = decisions.cancel(process, now, body.reason or "its incident was resolved so")
            if isinstance(decided, Refusal) or not body.compensate:
                return decided
            undo = to_undo(work, process)
            return undo if isinstance(undo, Problem) else undone(decided, undo)
