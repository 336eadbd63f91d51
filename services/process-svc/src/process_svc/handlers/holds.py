"""Legal holds, made and released."""

from datetime import datetime

import orjson
from kernel_contracts.holds import NewHold
from kernel_runtime.command import Answer, Command, Result
from kernel_runtime.problem import Problem, conflict, not_found

from process_svc import wire
from process_svc.handlers.bodies import ReleaseHold
from process_svc.handlers.work import Work
from process_svc.store.holds import Hold


def hold(work: Work, command: Command, now: datetime) -> Result:
    """201 with the hold."""
    body: NewHold = command.body
    if body.pid is not None:
        process = work.processes.get(body.pid)
        if process is None or process.tenant != command.tenant:
            return not_found("process", body.pid)
    text = None if body.filter is None else orjson.dumps(body.filter).decode()
    made = Hold(work.memory.holds.next(), command.tenant, body.pid, text, body.reason, command.by, now)
    work.holds[made.id] = made
    work.new_holds.append(made)
    return _answer(made, 201)


def release(work: Work, command: Command, now: datetime) -> Result | Problem:
    body: ReleaseHold = command.body
    found = work.holds.get(body.id)
    if found is None or found.tenant != command.tenant:
        return not_found("hold", body.id)
    if found.released_at is not None:
        return conflict("Hold is released", f"Hold {found.id} was released by {found.released_by} before.")
    found = work.holds[found.id] = found._replace(released_by=command.by, released_at=now)
    work.released_holds.append(found)
    return _answer(found, 200)


def _answer(hold: Hold, status: int) -> Answer:
    headers = {"location": f"/v1/holds/{hold.id}"} if status == 201 else {}
    return Answer(status, orjson.dumps(hold.as_dict(), option=wire.UTC_Z), headers)
