"""The state machine of a process: one table; what is not in it does not happen.

A process is created NEW and admitted to READY once its definition and entity are valid, its predecessors are done and its window
is open. The scheduler's grant dispatches it (RUNNING). It leaves RUNNING by ending (TERMINATED, with an outcome), by waiting for
something (WAITING), by giving its place back (READY), or by being suspended. SUSPENDED keeps where it came from, and resume leads
back there where what it waited for is still missing. `fail` retries by way of NEW while attempts are left.

Commands that change attributes only (`prioritize`, `assign`, `set_context`) lead to the state they came from.
"""

from dataclasses import dataclass
from typing import Final

from kernel_contracts.vocabulary import CommandName, Outcome, ProcessState

NEW, READY, RUNNING = ProcessState.NEW, ProcessState.READY, ProcessState.RUNNING
WAITING, SUSPENDED, TERMINATED = ProcessState.WAITING, ProcessState.SUSPENDED, ProcessState.TERMINATED

ALIVE: Final = (NEW, READY, RUNNING, WAITING, SUSPENDED)


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
    Move(CommandName.WAKE, (WAITING,), (READY,)),
    Move(CommandName.PREEMPT, (RUNNING,), (READY,)),
    Move(CommandName.RELEASE, (RUNNING,), (READY,)),
    Move(CommandName.SUSPEND, (NEW, READY, RUNNING, WAITING), (SUSPENDED,)),
    Move(CommandName.RESUME, (SUSPENDED,), (READY, NEW, WAITING)),
    Move(CommandName.COMPLETE, (RUNNING,), (TERMINATED,), "completed"),
    Move(CommandName.FAIL, (RUNNING, WAITING), (NEW, SUSPENDED, TERMINATED), "retry, incident or failed"),
    Move(CommandName.CANCEL, ALIVE, (TERMINATED,), "cancelled"),
    Move(CommandName.ROLLBACK, (*ALIVE, TERMINATED), (READY, SUSPENDED), "not from completed"),
    Move(CommandName.RETRY, (SUSPENDED,), (READY, NEW), "of a failure"),
    Move(CommandName.PRIORITIZE, ALIVE, ()),
    Move(CommandName.ASSIGN, ALIVE, ()),
    Move(CommandName.SET_CONTEXT, ALIVE, ()),
)

_MOVES: Final = {move.command: move for move in TABLE}
_BY_HAND: Final = tuple(
    move.command for move in TABLE if move.command not in (CommandName.CREATE, CommandName.ADMIT, CommandName.DISPATCH)
)


def legal(command: CommandName, state: ProcessState, outcome: Outcome | None = None) -> bool:
    """Whether `command` may be given to a process in `state`."""
    if command is CommandName.ROLLBACK and outcome is Outcome.COMPLETED:
        return False
    return state in _MOVES[command].sources


def leads(command: CommandName, state: ProcessState | None, target: ProcessState) -> bool:
    """Whether the table has this move; `state` None is before creation."""
    move = _MOVES[command]
    if state is None:
        return not move.sources and target in move.targets
    return state in move.sources and (target in move.targets or (not move.targets and target is state))


def edge(state: ProcessState | None, target: ProcessState) -> bool:
    """Whether any command leads from `state` to `target`: what a journal may show."""
    return any(leads(move.command, state, target) for move in TABLE)


def allowed(state: ProcessState, outcome: Outcome | None = None) -> list[str]:
    """The commands that a caller may give in `state`, in the order of the table."""
    return [command.value for command in _BY_HAND if legal(command, state, outcome)]
