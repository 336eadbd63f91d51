"""Resolving incidents: what becomes of the process that needed somebody."""

from datetime import datetime

import orjson
from kernel_contracts.vocabulary import CommandName
from kernel_runtime.command import Answer, Command, Result
from kernel_runtime.problem import Problem, conflict, invalid, not_found

from process_svc import wire
from process_svc.catalog import check_output
from process_svc.domain import decisions
from process_svc.domain.permissions import may_command
from process_svc.domain.process import Decision, Process, Refusal
from process_svc.handlers.answers import forbidden, problem, stored
from process_svc.handlers.bodies import ResolveIncident
from process_svc.handlers.commands import retried, rolled_back
from process_svc.handlers.compensate import to_undo, undone
from process_svc.handlers.mappings import end_context
from process_svc.handlers.work import Work


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
    decided = _decide(work, process, body, now)
    if isinstance(decided, Problem):
        return decided
    if isinstance(decided, Refusal):
        return problem(decided)
    done = work.apply(decided, command, now)
    told = incident._replace(state="resolved", action=body.action, resolved_at=now)
    return Answer(200, orjson.dumps({**told.as_dict(), "process": wire.pcb(done)}, option=wire.UTC_Z))


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
