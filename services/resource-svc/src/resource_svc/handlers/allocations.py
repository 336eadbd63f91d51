"""Units taken and given back: commands of the scheduler, and what processes say by the headers of their events."""

from collections.abc import Sequence
from datetime import datetime

from kernel_contracts.message_types import DISPATCH_REFUSED
from kernel_contracts.resource import ReleaseResources
from kernel_contracts.vocabulary import DenialReason, Give, Hold
from kernel_runtime.command import Answer, Command

from resource_svc import wire
from resource_svc.domain.allocation import (
    Allocation,
    Denial,
    Grant,
    Release,
    Request,
    Returned,
    allocate,
    release,
    withdraw,
)
from resource_svc.domain.resource import ENTITY, ENTITY_PREFIX, State
from resource_svc.store import Dispatch, Wanted, Work

DONE = Answer()


def touch_allocate(command: Command, wanted: Wanted) -> None:
    request = wanted.requests[command] = wire.request(command.body)
    tenant = command.tenant
    for need in request.needs:
        for id in need.candidates:
            wanted.resources.add((tenant, id))
        if need.type == ENTITY and need.resource is not None and need.resource.startswith(ENTITY_PREFIX):
            wanted.locks.add((tenant, need.resource))
        if need.hold is Hold.PROCESS:
            wanted.pids.add(request.pid)
    wanted.dispatches.add(request.dispatch)


def allocate_resources(work: Work, command: Command, now: datetime) -> Answer:
    """Grants all of a request or denies it. A dispatch that was decided is not decided again, only told again."""
    request, tenant = work.requests[command], command.tenant
    known = work.dispatch(request.dispatch)
    if known is not None:
        _tell_again(work, command, request, known, now)
        return DONE
    decision = allocate(request, work.states(tenant), work.held(request.pid), now)
    if isinstance(decision, Denial):
        _decide(work, request, tenant, "denied", reason=decision.reason)
        _tell_denied(work, command, request, decision, now)
        return DONE
    taken = work.take(tenant, request, decision)
    _decide(work, request, tenant, "granted", grant=decision)
    work.messages.append(wire.granted(request, decision.operator, taken, tenant=tenant, at=now, cause=command.cause))
    return DONE


def _decide(
    work: Work,
    request: Request,
    tenant: str,
    outcome: str,
    *,
    reason: DenialReason | None = None,
    grant: Grant | None = None,
) -> None:
    work.decide(
        Dispatch(
            request.dispatch,
            tenant,
            request.pid,
            request.process_version,
            request.queue,
            outcome,
            reason,
            grant.operator if grant else None,
            len(grant.takes) if grant else 0,
        )
    )


def _tell_denied(work: Work, command: Command, request: Request, why: Denial, now: datetime) -> None:
    states = work.states(command.tenant)
    looked_at: dict[str, int] = {}
    for place, need in enumerate(request.needs):
        for id in need.candidates:
            looked_at.setdefault(id, place)
    seen = [(place, states[id]) for id, place in looked_at.items() if id in states and states[id].version]
    work.messages.append(wire.denied(request, why, seen, tenant=command.tenant, at=now, cause=command.cause))


def _tell_again(work: Work, command: Command, request: Request, known: Dispatch, now: datetime) -> None:
    """What became of it, with the use of its resources as it is now."""
    if known.outcome != "granted":
        _tell_denied(work, command, request, Denial(known.reason or DenialReason.WITHDRAWN, ()), now)
        return
    states = work.states(command.tenant)
    own = [(each, states[each.resource]) for each in work.held(known.pid) if each.dispatch == known.id]
    if own or not known.allocations:
        work.messages.append(
            wire.granted(request, known.operator, own, tenant=command.tenant, at=now, cause=command.cause)
        )
    else:
        _tell_released(work, command, known.pid, known.id, "released already", (), now)


def touch_release(command: Command, wanted: Wanted) -> None:
    body: ReleaseResources = command.body
    wanted.pids.add(body.pid)
    if body.dispatch_id is not None:
        wanted.dispatches.add(body.dispatch_id)


def release_resources(work: Work, command: Command, now: datetime) -> Answer:
    body: ReleaseResources = command.body
    ask = Release(body.pid, body.give, body.dispatch_id)
    _give_back(work, command, ask.pid, ask.dispatch, release(ask, work.held(ask.pid)), "released", now)
    return DONE


def pid_of(command: Command) -> int:
    """The key of a process event."""
    if command.key is None:
        raise ValueError("a process event without a key gives nothing back: its key is the pid")
    return int(command.key[1])


def touch_return(command: Command, wanted: Wanted) -> None:
    wanted.pids.add(pid_of(command))
    assert command.envelope is not None
    if command.envelope.dispatch is not None:
        wanted.dispatches.add(command.envelope.dispatch)


def take_back(work: Work, command: Command, now: datetime) -> Answer:
    """A process stopped running, ended, or refused a grant."""
    envelope = command.envelope
    assert envelope is not None
    pid, dispatch = pid_of(command), envelope.dispatch
    held = work.held(pid)
    if envelope.type == DISPATCH_REFUSED:
        if dispatch is None:
            raise ValueError("a refusal must name its dispatch in ce_dispatchid")
        returned = withdraw(dispatch, held)
    else:
        give = Give(envelope.give or "")
        ask = Release(pid, give, dispatch if give is Give.RUNNING else None, before=envelope.version)
        returned = release(ask, held)
    reason = envelope.type.removeprefix("kernel.process.").removesuffix(".v1")
    _give_back(work, command, pid, dispatch, returned, reason, now)
    return DONE


def _give_back(
    work: Work, command: Command, pid: int, dispatch: str | None, returned: Returned, reason: str, now: datetime
) -> None:
    """Ends the allocations and tells it, once for each dispatch that they belong to."""
    known = work.dispatch(dispatch) if dispatch is not None else None
    if dispatch is not None and known is None:
        work.decide(Dispatch(dispatch, command.tenant, pid, 0, "", "withdrawn", DenialReason.WITHDRAWN))
    if not returned.back and not returned.kept:
        if known is not None and known.outcome == "granted" and not known.allocations:
            _tell_released(work, command, pid, dispatch, reason, (), now)
        return
    ended = work.give_back(pid, returned)
    for own in dict.fromkeys(each.dispatch for each, _ in ended):
        part = [(each, state) for each, state in ended if each.dispatch == own and state is not None]
        _tell_released(work, command, pid, own, reason, part, now)


def _tell_released(
    work: Work,
    command: Command,
    pid: int,
    dispatch: str | None,
    reason: str,
    ended: Sequence[tuple[Allocation, State]],
    now: datetime,
) -> None:
    last = not any(each.dispatch == dispatch for each in work.held(pid))
    work.messages.append(
        wire.released(pid, dispatch, reason, ended, last=last, tenant=command.tenant, at=now, cause=command.cause)
    )
