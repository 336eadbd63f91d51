"""Who is there: said by the operator itself, ended by time."""

from dataclasses import dataclass
from datetime import datetime

from kernel_contracts.vocabulary import Hold, Presence
from kernel_runtime.command import Answer, Command, Result
from kernel_runtime.problem import invalid, not_found

from resource_svc import wire
from resource_svc.domain.definition import is_back, set_presence
from resource_svc.domain.resource import OPERATOR
from resource_svc.handlers.definitions import save, shown, there
from resource_svc.handlers.roles import not_itself
from resource_svc.store import Wanted, Work


@dataclass(frozen=True, slots=True)
class PresenceChange:
    id: str
    presence: Presence = Presence.AVAILABLE
    until: datetime | None = None
    release: bool = False


def touch(command: Command, wanted: Wanted) -> None:
    name = (command.tenant, command.body.id)
    wanted.resources.add(name)
    wanted.holders.add(name)


def set_presence_of(work: Work, command: Command, now: datetime) -> Result:
    """Away or on a break: nothing new. What runs stays, or with `release` its process is asked back into the queue."""
    body: PresenceChange = command.body
    if (problem := not_itself(command, body.id)) is not None:
        return problem
    existing = there(work, command.tenant, body.id)
    if existing is None or existing.resource.type != OPERATOR:
        return not_found("operator", body.id)
    if body.until is not None and body.until <= now:
        return invalid("`until` lies in the past.", [("/until", "It lies in the past.")])
    new = set_presence(existing, body.presence, body.until)
    if new is not existing:
        save(work, command, new, "presence", now)
    if body.release and body.presence is not Presence.AVAILABLE:
        for holder in work.holders(command.tenant, body.id):
            if holder.hold is Hold.RUNNING:
                work.messages.append(
                    wire.release_process(
                        holder.pid,
                        f"{body.id} is {body.presence.value}",
                        f"{holder.dispatch}.release.{new.version}",
                        tenant=command.tenant,
                        at=now,
                        cause=command.cause,
                    )
                )
    return shown(work, command.tenant, body.id)


def end_absence(work: Work, command: Command, now: datetime) -> Result:
    """An absence with an end is over: told by the ticker, and true only by the row."""
    existing = there(work, command.tenant, command.body.id)
    if existing is not None and is_back(existing, now):
        save(work, command, set_presence(existing, Presence.AVAILABLE, None), "presence", now, "its time came")
    return Answer()
