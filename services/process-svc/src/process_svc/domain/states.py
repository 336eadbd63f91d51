"""The state machine of a process: one table; what is not in it does not happen.

A process is created NEW and admitted to READY once its definition and entity are valid, its predecessors are done and its window
is open. The scheduler's grant dispatches it (RUNNING). It leaves RUNNING by ending (TERMINATED, with an outcome), by waiting for
something (WAITING), by giving its place back (READY), or by being suspended. SUSPENDED keeps where it came from, and resume leads
back there where what it waited for is still missing. `fail` retries by way of NEW while attempts are left; `time_out` is the same
for a limit of time that has passed, `return` for children that were called and failed. `skip` ends a failed process as if it
had been completed.

Commands that change attributes only (`prioritize`, `assign`, `set_context`) lead to the state they came from; a RUNNING process
that is assigned to another operator goes back to the queue.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from kernel_contracts.vocabulary import CommandName, Outcome, ProcessState

NEW, READY, RUNNING = ProcessState.NEW, ProcessState.READY, ProcessState.RUNNING
WAITING, SUSPENDED, TERMINATED = ProcessState.WAITING, ProcessState.SUSPENDED, ProcessState.TERMINATED

ALIVE: Final = (NEW, READY, RUNNING, WAITING, SUSPENDED)
_PARKED: Final = (NEW, READY, WAITING, SUSPENDED)


@dataclass(frozen=True, slots=True)
class Move:
    """`command` leads from any of `sources` to one of `targets`; no targets: the state stays."""

    command: CommandName
    sources: tuple[ProcessState, ...]
    targets: tuple[ProcessState, ...]
    note: str = ""


TABLE: Final = (
    Move(CommandName.CREATE, (), (NEW,)),
    Move(CommandName.ADMIT, (NEW,), (READY,), "predecessors done, window open"),
    Move(CommandName.DISPATCH, (READY,), (RUNNING,), "granted"),
    Move(CommandName.WAIT, (RUNNING,), (WAITING,)),
    Move(CommandName.CALL, (RUNNING,), (WAITING,), "for a child"),
    Move(CommandName.MAP, (RUNNING,), (WAITING,), "for a child an item"),
    Move(CommandName.ITERATE, (RUNNING,), (WAITING,), "for one child after the other"),
    Move(CommandName.ARRIVE, (RUNNING,), (WAITING,), "at a barrier"),
    Move(CommandName.WAKE, (WAITING,), (READY,)),
    Move(CommandName.WAKE, (SUSPENDED,), (SUSPENDED,), "where it waited: kept until it is resumed"),
    Move(
        CommandName.RETURN,
        (WAITING,),
        (READY, NEW, SUSPENDED, TERMINATED),
        "children have ended; as their failure says",
    ),
    Move(CommandName.PREEMPT, (RUNNING,), (READY,)),
    Move(CommandName.RELEASE, (RUNNING,), (READY,)),
    Move(CommandName.SUSPEND, (NEW, READY, RUNNING, WAITING), (SUSPENDED,)),
    Move(CommandName.RESUME, (SUSPENDED,), (READY, NEW, WAITING), "where what it waited for is still missing"),
    Move(CommandName.COMPLETE, (RUNNING,), (TERMINATED,), "completed: output fits the form"),
    Move(CommandName.FAIL, (RUNNING,), (NEW, SUSPENDED, TERMINATED), "retry, incident or failed"),
    Move(CommandName.TIME_OUT, (RUNNING,), (NEW, SUSPENDED, TERMINATED), "retry, incident or failed"),
    Move(CommandName.TIME_OUT, (READY,), (SUSPENDED, TERMINATED), "nobody began in time"),
    Move(CommandName.TIME_OUT, (WAITING,), (READY, NEW, SUSPENDED, TERMINATED), "as `on_timeout` says"),
    Move(CommandName.CANCEL, ALIVE, (TERMINATED,), "cancelled"),
    Move(CommandName.ROLLBACK, (*ALIVE, TERMINATED), (READY, SUSPENDED), "not from completed"),
    Move(CommandName.RETRY, (SUSPENDED,), (READY, NEW), "of a failure"),
    Move(CommandName.SKIP, (SUSPENDED,), (TERMINATED,), "of a failure: completed"),
    Move(CommandName.PRIORITIZE, ALIVE, ()),
    Move(CommandName.ASSIGN, _PARKED, ()),
    Move(CommandName.ASSIGN, (RUNNING,), (RUNNING, READY), "given back where another runs it"),
    Move(CommandName.SET_CONTEXT, ALIVE, ()),
    Move(CommandName.MIGRATE, ALIVE, (), "to another version of its service"),
)

_OURS: Final = frozenset(
    {
        CommandName.CREATE,
        CommandName.ADMIT,
        CommandName.DISPATCH,
        CommandName.PREEMPT,
        CommandName.TIME_OUT,
        CommandName.SKIP,
        CommandName.RETURN,
    }
)
"""Given by the kernel itself, or by way of something else."""

_LEGAL: Final[Mapping[ProcessState, frozenset[CommandName]]] = {
    state: frozenset(move.command for move in TABLE if state in move.sources) for state in ProcessState
}
_CAN: Final[Mapping[ProcessState, tuple[str, ...]]] = {
    state: tuple(
        command.value
        for command in dict.fromkeys(move.command for move in TABLE)
        if command in _LEGAL[state] and command not in _OURS
    )
    for state in ProcessState
}


def legal(command: CommandName, state: ProcessState, outcome: Outcome | None = None) -> bool:
    """Whether `command` may be given to a process in `state`."""
    return command in _LEGAL[state] and not (command is CommandName.ROLLBACK and outcome is Outcome.COMPLETED)


def sources(command: CommandName) -> list[ProcessState]:
    """The states that `command` is legal in."""
    return [state for state in ProcessState if command in _LEGAL[state]]


def leads(command: CommandName, state: ProcessState | None, target: ProcessState) -> bool:
    """Whether the table has this move; `state` None is before creation."""
    for move in TABLE:
        if move.command is not command:
            continue
        if state is None:
            if not move.sources and target in move.targets:
                return True
        elif state in move.sources and (target in move.targets or (not move.targets and target is state)):
            return True
    return False


def edge(state: ProcessState | None, target: ProcessState) -> bool:
    """Whether any command leads from `state` to `target`: what a journal may show."""
    return any(leads(move.command, state, target) for move in TABLE)


def allowed(
    state: ProcessState, outcome: Outcome | None = None, incident: int | None = None, *, waits: bool = False
) -> list[str]:
    """The commands that a caller may give in `state`, in the order of the table. `waits`: SUSPENDED from WAITING."""
    if state is TERMINATED:
        return [] if outcome is Outcome.COMPLETED else [CommandName.ROLLBACK.value]
    if state is SUSPENDED:
        wrong = CommandName.RETRY if incident is None else CommandName.RESUME
        return [command for command in _CAN[state] if command != wrong and (waits or command != CommandName.WAKE.value)]
    return list(_CAN[state])
