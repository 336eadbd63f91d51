"""The journal as an event log for process mining: what each row means for the work on one process.

Transitions are those of the standard lifecycle model of XES (IEEE 1849). Dispatch is `start`, and `resume` where the same attempt
has been worked on before; leaving RUNNING other than by its end is `suspend`; a failed attempt is `ate_abort`, and the next one
another instance of the activity. What does not move the work (admission, waking, priority, context) is `unknown`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from kernel_contracts.vocabulary import CommandName, ProcessState

TRANSITIONS: Final = (
    "schedule",
    "assign",
    "reassign",
    "start",
    "suspend",
    "resume",
    "complete",
    "manualskip",
    "ate_abort",
    "withdraw",
    "unknown",
)


@dataclass(frozen=True, slots=True)
class Event:
    """One journal row. `row` has its columns, and those of its process that don't change."""

    case: str
    instance: str
    transition: str
    resource: str
    at: datetime
    row: Mapping[str, Any]

    @property
    def activity(self) -> str:
        return str(self.row["service"])


@dataclass(slots=True)
class Life:
    """What is known of a process up to a row: rows are told in the order of their versions."""

    attempt: int = 1
    begun: bool = False
    operator: str | None = None
    assigned: bool = False

    def told(self, case: str, row: Mapping[str, Any]) -> Event:
        instance = f"{row['pid']}.{self.attempt}"
        ran = row["from_state"] == ProcessState.RUNNING
        operator = row["operator"] or (self.operator if ran else None)
        transition = self._transition(row, ran)
        if row["state"] == ProcessState.RUNNING:
            self.operator = row["operator"]
        return Event(case, instance, transition, operator or row["by"], row["at"], row)

    def _transition(self, row: Mapping[str, Any], ran: bool) -> str:
        command, state = row["command"], row["state"]
        if command == CommandName.DISPATCH:
            again, self.begun = self.begun, True
            return "resume" if again else "start"
        if command == CommandName.CREATE:
            return "schedule"
        if command == CommandName.COMPLETE:
            return "complete"
        if command == CommandName.SKIP:
            return "manualskip"
        if command == CommandName.ASSIGN:
            again, self.assigned = self.assigned, True
            return "suspend" if ran and state != ProcessState.RUNNING else "reassign" if again else "assign"
        if command in (CommandName.FAIL, CommandName.TIME_OUT, CommandName.ROLLBACK) and self.begun:
            return "unknown" if command == CommandName.TIME_OUT and state == ProcessState.READY else self._aborted()
        if state == ProcessState.TERMINATED:
            return self._aborted() if self.begun else "withdraw"
        return "suspend" if ran and state != ProcessState.RUNNING else "unknown"

    def _aborted(self) -> str:
        self.attempt, self.begun = self.attempt + 1, False
        return "ate_abort"
