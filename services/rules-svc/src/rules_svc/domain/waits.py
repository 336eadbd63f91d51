"""The copy of who waits for which event, how it follows the process, and who meets whom.

A wait begins with the process's event `waiting` and ends when it leaves WAITING; while it is suspended the wait stays, so that
an event which comes meanwhile is not lost. `wake` is what it was woken with: kept until the process has moved on, because a wake
for a version that had passed is refused, and then sent again for the next one.

Without a key a process waits for the next event of the type, counted from when it began to wait; with one, for any that is kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from kernel_contracts.vocabulary import Meets, ProcessState


@dataclass(frozen=True, slots=True)
class Wait:
    """`key` None: the next event of the type since `since`. `wake` is JSON."""

    pid: int
    version: int
    tenant: str
    type: str
    key: str | None
    since: datetime
    suspended: bool = False
    wake: str | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """An event (or a signal: `type` None) that looks for processes with a pid above `after`. `wake` is JSON."""

    tenant: str
    type: str | None
    key: str | None
    wake: str
    meets: Meets = Meets.ALL
    after: int = 0


def begun(before: Wait | None, new: Wait) -> Wait:
    """The wait that an event `waiting` tells of; an older event than what is known changes nothing."""
    if before is None:
        return new
    if new.version <= before.version:
        return before
    if (before.type, before.key) == (new.type, new.key):
        return replace(new, wake=before.wake, since=before.since)
    return new


def moved(wait: Wait, version: int, state: str, *, met: bool = False) -> Wait | None:
    """The wait after any other event of its process; None where it is over. `met`: it was, while it is suspended."""
    if version <= wait.version:
        return wait
    if met or state not in (ProcessState.WAITING, ProcessState.SUSPENDED):
        return None
    return replace(wait, version=version, suspended=state == ProcessState.SUSPENDED)


def meet(calls: Sequence[Call], waits: Sequence[Wait]) -> list[tuple[int, Wait]]:
    """(index of the call, the wait) each: in the order of the calls, nobody twice.

    `one` takes the lowest pid of those that are not suspended, else of those that are; `all` and `first` take whoever is there.
    """
    by_target: dict[tuple[str, str, str | None], list[Wait]] = {}
    by_key: dict[tuple[str, str], list[Wait]] = {}
    for wait in sorted(waits, key=lambda wait: (wait.suspended, wait.pid)):
        by_target.setdefault((wait.tenant, wait.type, wait.key), []).append(wait)
        if wait.key is not None:
            by_key.setdefault((wait.tenant, wait.key), []).append(wait)
    found: list[tuple[int, Wait]] = []
    taken: set[int] = set()
    for index, call in enumerate(calls):
        if call.type is None:
            there = [] if call.key is None else by_key.get((call.tenant, call.key), [])
        else:
            there = list(by_target.get((call.tenant, call.type, None), ()))
            if call.key is not None:
                there += by_target.get((call.tenant, call.type, call.key), ())
                there.sort(key=lambda wait: (wait.suspended, wait.pid))
        free = [wait for wait in there if wait.pid > call.after and wait.pid not in taken]
        for wait in free[:1] if call.meets is Meets.ONE else free:
            taken.add(wait.pid)
            found.append((index, wait))
    return found


@dataclass(frozen=True, slots=True)
class Kept:
    """An event that is kept, as `pid`, which begins to wait, may meet it."""

    pid: int
    event: bytes
    at: datetime
    meets: Meets


def choose(candidates: Sequence[Kept]) -> dict[int, Kept]:
    """pid -> the oldest that it can have: one of mode `all` is everybody's, any other goes to one process alone."""
    chosen: dict[int, Kept] = {}
    gone: set[bytes] = set()
    for each in sorted(candidates, key=lambda each: (each.at, each.event, each.pid)):
        if each.pid in chosen or each.event in gone:
            continue
        chosen[each.pid] = each
        if each.meets is not Meets.ALL:
            gone.add(each.event)
    return chosen
