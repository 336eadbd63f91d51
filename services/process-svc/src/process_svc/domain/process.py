"""The process control block, and what a decision about it returns."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from kernel_contracts.vocabulary import AfterMode, AfterOn, Outcome, ProcessState


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a WAITING process waits for: exactly one of event, timer (`until`), children; and its time limit."""

    event_type: str | None = None
    event_key: str | None = None
    until: datetime | None = None
    children_mode: AfterMode | None = None
    children_count: int | None = None
    timeout: datetime | None = None
    on_timeout: str = "wake"


@dataclass(frozen=True, slots=True)
class Process:
    """One process as it is at `version`. `context` and `output` are canonical JSON text, hashed as they stand."""

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
    parent: int | None
    root: int | None
    after: tuple[int, ...]
    after_mode: AfterMode
    after_on: AfterOn
    attempt: int
    dispatch_id: str | None
    created_at: datetime
    ready_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    not_before: datetime | None
    not_after: datetime | None
    due: datetime | None
    expected_duration: float | None
    context: str
    context_version: int
    context_hash: bytes
    output: str | None
    waiting: Waiting | None
    suspended_from: ProcessState | None
    incident: int | None
    has_children: bool
    has_dependents: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """One journal row: the fact `type` that led to the process' `version`."""

    type: str
    process: Process
    from_state: ProcessState | None
    reason: str | None = None
    dispatch_id: str | None = None
    """The dispatch that is running, or that has just ended."""
    give: str | None = None
    changes: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What a decision leads to: entries with gapless versions, the last of which is the process as it is then."""

    entries: tuple[Entry, ...]
    incident: dict[str, Any] | None = None
    """A failure that needs someone: `type` and `error`."""
    resolved: str | None = None
    """The action that settled the process' open incident."""
    snapshot: bool = False
    """The last entry's process has a new context."""

    @property
    def process(self) -> Process:
        return self.entries[-1].process


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nothing was changed. `status` is that of HTTP."""

    title: str
    detail: str
    status: int = 409
    state: ProcessState | None = None
    allowed: tuple[str, ...] = ()


def step(process: Process, state: ProcessState, **changes: Any) -> Process:
    """The next version of `process`, in `state`."""
    return replace(process, version=process.version + 1, state=state, **changes)


def wake_at(process: Process) -> datetime | None:
    """When time itself will do something to this process: open its window, end its wait, or close its window."""
    match process.state:
        case ProcessState.NEW:
            return _earliest(process.not_before, process.not_after)
        case ProcessState.READY:
            return process.not_after
        case ProcessState.WAITING if process.waiting is not None:
            return _earliest(process.waiting.until, process.waiting.timeout)
        case _:
            return None


def _earliest(*times: datetime | None) -> datetime | None:
    return min((time for time in times if time is not None), default=None)
