"""Whether a process may start: its predecessors and its window."""

from collections.abc import Mapping
from datetime import datetime
from enum import Enum

from kernel_contracts.vocabulary import AfterMode, AfterOn, Outcome

from process_svc.domain.process import Process


class Gate(Enum):
    OPEN = "open"
    CLOSED = "closed"
    NEVER = "never"
    """No future can open it."""


_WANTED = {
    AfterOn.COMPLETED: frozenset({Outcome.COMPLETED}),
    AfterOn.FAILED: frozenset({Outcome.FAILED}),
    AfterOn.ALWAYS: frozenset(Outcome),
}


def predecessors(process: Process, outcomes: Mapping[int, Outcome | None]) -> Gate:
    """`outcomes`: pid -> outcome, None while it has not ended; a pid that is missing never existed.

    Asked of the first attempt only: what a further one comes after was done before the first.
    """
    if not process.after or process.attempt > 1:
        return Gate.OPEN
    wanted = _WANTED[process.after_on]
    met = [outcomes.get(pid) in wanted for pid in process.after]
    failed = [
        pid not in outcomes or (outcomes[pid] is not None and outcomes[pid] not in wanted) for pid in process.after
    ]
    if process.after_mode is AfterMode.ALL:
        return Gate.NEVER if any(failed) else Gate.OPEN if all(met) else Gate.CLOSED
    return Gate.OPEN if any(met) else Gate.NEVER if all(failed) else Gate.CLOSED


def unmet(process: Process, outcomes: Mapping[int, Outcome | None]) -> str:
    """The predecessors that ended otherwise than it needs, in words; some of them where there are many."""
    wanted = _WANTED[process.after_on]
    wrong = [pid for pid in process.after if outcomes.get(pid) is not None and outcomes.get(pid) not in wanted]
    some = ", ".join(f"{pid} has ended {outcomes[pid]}" for pid in wrong[:5])
    more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
    return f"it comes after what has {process.after_on}, but {some}{more}"


def window(process: Process, now: datetime) -> Gate:
    """`not_before` <= now <= `not_after`; each end may be open."""
    if process.not_after is not None and now > process.not_after:
        return Gate.NEVER
    if process.not_before is not None and now < process.not_before:
        return Gate.CLOSED
    return Gate.OPEN
