"""The copy of who waits for which event, and how it follows the process.

A wait begins with the process's event `waiting` and ends when it leaves WAITING; while it is suspended the wait stays, so that
an event which comes meanwhile is not lost. `wake` is what it was woken with: kept until the process has moved on, because a wake
for a version that had passed is refused, and then sent again for the next one.
"""

from dataclasses import dataclass, replace

from kernel_contracts.vocabulary import ProcessState


@dataclass(frozen=True, slots=True)
class Wait:
    """`key` None: any event of the type. `wake` is JSON."""

    pid: int
    version: int
    tenant: str
    type: str
    key: str | None
    suspended: bool = False
    wake: str | None = None


def begun(before: Wait | None, new: Wait) -> Wait:
    """The wait that an event `waiting` tells of; an older event than what is known changes nothing."""
    if before is None:
        return new
    if new.version <= before.version:
        return before
    if (before.type, before.key) == (new.type, new.key):
        return replace(new, wake=before.wake)
    return new


def moved(wait: Wait, version: int, state: str) -> Wait | None:
    """The wait after any other event of its process; None where it is over."""
    if version <= wait.version:
        return wait
    if state not in (ProcessState.WAITING, ProcessState.SUSPENDED):
        return None
    return replace(wait, version=version, suspended=state == ProcessState.SUSPENDED)
