"""The states of a bulk job, and what may be done with it.

collecting -> running -> completed; paused from either and back; cancelled from any that has not ended; failed where its filter
can't be evaluated. Cancelling undoes nothing: what is settled stays so.
"""

from collections.abc import Mapping
from typing import Final

from kernel_contracts.vocabulary import JobState

COLLECTING, RUNNING, PAUSED = JobState.COLLECTING, JobState.RUNNING, JobState.PAUSED

ENDED: Final = frozenset({JobState.CANCELLED, JobState.COMPLETED, JobState.FAILED})

_TABLE: Final[Mapping[str, tuple[JobState, ...]]] = {
    "pause": (COLLECTING, RUNNING),
    "resume": (PAUSED,),
    "cancel": (COLLECTING, RUNNING, PAUSED),
}
ACTIONS: Final = tuple(_TABLE)


def controlled(state: JobState, action: str, *, collected: bool) -> JobState | None:
    """The state after `action` (of ACTIONS), or None where it is not allowed in `state`."""
    if state not in _TABLE[action]:
        return None
    if action == "resume":
        return RUNNING if collected else COLLECTING
    return PAUSED if action == "pause" else JobState.CANCELLED


def allowed(state: JobState) -> list[str]:
    return [action for action, sources in _TABLE.items() if state in sources]


def progressed(state: JobState, *, collected: bool, total: int, settled: int) -> JobState:
    """Where a job that goes on by itself has come to. `settled` of `total` items are."""
    if state in ENDED or state is PAUSED or not collected:
        return state
    return JobState.COMPLETED if settled >= total else RUNNING
