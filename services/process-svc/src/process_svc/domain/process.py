"""The process control block, and what a decision about it returns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from kernel_contracts.vocabulary import (
    AfterMode,
    AfterOn,
    CommandName,
    EntityAccess,
    Give,
    OnTimeout,
    Outcome,
    ProcessState,
)

INLINE: Final = 16 * 1024
"""A context up to this size is read with its process in any case, and travels with its events."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a WAITING process waits for: exactly one of event, timer (`until`), children, call, barrier; and its time limit."""

    event_type: str | None = None
    event_key: str | None = None
    until: datetime | None = None
    children_mode: AfterMode | None = None
    children_count: int | None = None
    timeout: datetime | None = None
    on_timeout: OnTimeout = OnTimeout.WAKE
    met: bool = False
    """It came while the process was suspended: over as soon as that is resumed."""
    call: int | None = None
    """The id of the call; what it is, is in `told`."""
    barrier: int | None = None
    """The id of the barrier, and in `round` which of its rounds it takes part in."""
    round: int = 0
    told: Mapping[str, Any] | None = None
    """Of the call or the barrier, as it is shown."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A further entity that a process is about."""

    type: str
    id: str
    role: str
    access: EntityAccess


@dataclass(frozen=True)
class Process:
    """One process as it is at `version`. `context` and `output` are canonical JSON text, hashed as they stand.

    `context` is None where it is large and nobody in the batch needs it; `context_hash` is its hash all the same.
    `operator` is who runs it, or ran it last where it is suspended or has ended; `assigned` the only one who may.
    `dispatch_id` is the latest one; `held`: its units stay with the suspended process.
    """

    pid: int
    tenant: str
    version: int
    state: ProcessState
    outcome: Outcome | None
    service: str
    service_version: int
    entity_type: str | None
    entity_id: str | None
    operator: str | None
    assigned: str | None
    priority: int
    queue: str
    key: str | None
    key_hash: bytes | None
    parent: int | None
    root: int
    after: tuple[int, ...]
    after_mode: AfterMode
    after_on: AfterOn
    attempt: int
    dispatch_id: str | None
    held: bool
    created_at: datetime
    ready_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    not_before: datetime | None
    not_after: datetime | None
    due: datetime | None
    run_until: datetime | None
    expected_duration: float | None
    context: str | None
    context_version: int
    context_hash: bytes
    output: str | None
    waiting: Waiting | None
    suspended_from: ProcessState | None
    suspended_at: datetime | None
    incident: int | None
    has_children: bool
    has_dependents: bool
    ended_by: str | None
    """The id of the command that ended it: by it the same one again is known."""
    journal_hash: bytes | None = None
    """Of its newest journal row (see `ledger`); None where that was written before rows were chained."""
    call: int | None = None
    """The call of its parent that made it."""
    entities: tuple[Reference, ...] = ()
    """Beyond that of `entity_type` and `entity_id`."""
    tried_at: datetime | None = None
    """When its first attempt began, where the service has a budget for all of them."""
    compensates: int | None = None
    """The process that it undoes."""
    compensating: str | None = None
    """Set while what it did is being undone: `resume` or `stay` (suspended afterwards), or `ended`."""
    ahead: int | None = None
    """Who is in its way on its entity, where the service lets one at a time work on it; found when it is loaded."""

    @property
    def still_waits(self) -> bool:
        """Suspended while it waited, for what has not come yet."""
        return (
            self.state is ProcessState.SUSPENDED
            and self.suspended_from is ProcessState.WAITING
            and self.waiting is not None
            and not self.waiting.met
        )

    def but(self, **changes: Any) -> "Process":
        """A copy with these members changed; `dataclasses.replace` takes many times as long."""
        made = object.__new__(Process)
        members = made.__dict__
        members.update(self.__dict__)
        members.update(changes)
        return made


@dataclass(slots=True)
class Entry:
    """One journal row: `command` led to the process' `version`, of which the fact `type` is told."""

    command: CommandName
    type: str
    process: Process
    from_state: ProcessState | None
    reason: str | None = None
    dispatch_id: str | None = None
    """The dispatch that is running, or that has just ended."""
    give: Give | None = None
    changes: Mapping[str, Any] | None = None
    """Attribute -> [before, after], beyond what the state tells."""
    error: Mapping[str, Any] | None = None


class Undo(NamedTuple):
    """A process `target`, as it was at `version`, is to be undone by `service`."""

    target: int
    version: int
    service: str


@dataclass(slots=True)
class Change:
    """What a decision leads to: entries with gapless versions, the last of which is the process as it is then."""

    entries: list[Entry]
    incident: Mapping[str, Any] | None = None
    """A failure that needs someone: `type` and `error`."""
    resolved: str | None = None
    """The action that settled the process' open incident."""
    snapshot: bool = False
    """The last entry's process has a new context."""
    kind: bool = False
    """It changes what few commands do: the version of the service, and what comes with it."""
    undo: Sequence[Undo] = ()
    """What is undone from now on, in this order."""

    @property
    def process(self) -> Process:
        return self.entries[-1].process


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nothing was changed. `status` is that of HTTP; `pointer` says where in the request."""

    title: str
    detail: str
    status: int = 409
    state: ProcessState | None = None
    allowed: tuple[str, ...] = ()
    pointer: str | None = None


Decision = Change | Refusal


def wake_at(process: Process, now: datetime) -> datetime | None:
    """When time itself will do something to this process: open its window, end its wait or run, or close its window.

    A window that is open already does nothing more: who is NEW then waits for its predecessors.
    """
    state = process.state
    if state is ProcessState.NEW:
        opens = process.not_before
        return _earliest(opens if opens is not None and opens >= now else None, process.not_after)
    if state is ProcessState.READY:
        return _earliest(process.not_after, process.run_until)
    if state is ProcessState.RUNNING:
        return process.run_until
    if state is ProcessState.WAITING and process.waiting is not None:
        return _earliest(process.waiting.until, process.waiting.timeout)
    return None


def _earliest(*times: datetime | None) -> datetime | None:
    return min((time for time in times if time is not None), default=None)
