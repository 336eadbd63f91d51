"""Calls: a process waits for children that the kernel makes for it, one (call), or one an item of a list (map, iterate).

A call is over when enough children have ended as it needs them, or as soon as no future can bring that. Only counts decide, and
they are kept as children start and end: what is asked here never looks at the children themselves.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from kernel_contracts.vocabulary import CommandName, ErrorClass, OnChildFailure, Outcome, Rest

from process_svc.domain.process import Change, Decision, Entry, Process, Waiting
from process_svc.domain.service import Service
from process_svc.domain.states import RUNNING, WAITING
from process_svc.domain.steps import Error, failed, illegal, left, ready, with_context


@dataclass(frozen=True, slots=True)
class Call:
    """`started` of `total` items have been begun, with or without a child; `ended` of them are over, `completed` well.

    `need`: how many have to be completed (on_child_failure `wake`: ended) for the caller to go on; `limit`: how many may live.
    """

    id: int
    pid: int
    kind: CommandName
    service: str
    version: int
    into: str
    total: int
    need: int
    limit: int
    on_child_failure: OnChildFailure
    rest: Rest
    template: str
    """JSON: what `context` and `entity` of a child are computed from."""
    started: int = 0
    ended: int = 0
    completed: int = 0

    @property
    def alive(self) -> int:
        return self.started - self.ended


class Verdict(Enum):
    OPEN = "open"
    MET = "met"
    NEVER = "never"
    """No future can meet it."""


def verdict(call: Call) -> Verdict:
    if call.on_child_failure is OnChildFailure.WAKE:
        return Verdict.MET if call.ended >= call.need else Verdict.OPEN
    if call.completed >= call.need:
        return Verdict.MET
    lost = call.ended - call.completed
    return Verdict.NEVER if call.total - lost < call.need else Verdict.OPEN


def startable(call: Call) -> int:
    """How many further items may be begun now."""
    if verdict(call) is not Verdict.OPEN:
        return 0
    return max(0, min(call.total - call.started, call.limit - call.alive))


def called(process: Process, kind: CommandName, waiting: Waiting, reason: str | None) -> Decision:
    """RUNNING -> WAITING; what it runs with is given back."""
    if process.state is not RUNNING:
        return illegal(process, kind)
    return Change([left(process, kind, WAITING, "waiting", reason, waiting=waiting)])


def returned(process: Process, context: str, now: datetime, reason: str, *, late: bool = False) -> Change:
    """WAITING -> READY with what the children have brought. `late`: its time limit has passed, it goes on with what there is."""
    command = CommandName.TIME_OUT if late else CommandName.RETURN
    back = ready(process, now, waiting=None)
    return with_context(Change([Entry(command, "ready", back, WAITING, reason)]), process, context)


def lost(process: Process, service: Service, error: dict[str, Any], now: datetime, *, late: bool = False) -> Change:
    """What a child failed with becomes a failure of its caller, dealt with as its own service says."""
    kind = ErrorClass.BUSINESS if error.get("class") is None else ErrorClass(error["class"])
    told = Error(kind, str(error.get("code") or "child_failed"), str(error.get("message") or ""))
    command = CommandName.TIME_OUT if late else CommandName.RETURN
    change = failed(process, command, service, told, now, None)
    entry = change.entries[-1]
    entry.process = entry.process.but(waiting=None)
    return change


def result(outcome: Outcome | None, output: Any, pid: int | None, error: Any, *, settled: bool) -> Any:
    """What lands for one item: its output, null where it has not completed; `settled`: how it ended, whatever that was."""
    done = outcome is Outcome.COMPLETED
    if not settled:
        return output if done else None
    return {
        "pid": pid,
        "outcome": None if outcome is None else outcome.value,
        "output": output if done else None,
        "error": None if done else error,
    }
