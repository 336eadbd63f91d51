"""Barriers: processes wait for each other until all parties have arrived; then all go on, and its next round begins."""

from datetime import datetime

from kernel_contracts.vocabulary import CommandName

from process_svc.domain.process import Change, Decision, Entry, Process, Waiting
from process_svc.domain.states import RUNNING, WAITING
from process_svc.domain.steps import followed, illegal, left, ready


def arrive(
    process: Process, command: CommandName, waiting: Waiting, now: datetime, reason: str | None, *, last: bool
) -> Decision:
    """RUNNING -> WAITING, for the last one at once -> READY: all parties queue anew, whoever came last."""
    if process.state is not RUNNING:
        return illegal(process, command)
    change = Change([left(process, command, WAITING, "waiting", reason, waiting=waiting)])
    return followed(change, opened(change.process, now)) if last else change


def opened(process: Process, now: datetime) -> Change:
    """WAITING -> READY."""
    assert process.waiting is not None
    name = (process.waiting.told or {}).get("name")
    back = ready(process, now, waiting=None)
    return Change([Entry(CommandName.WAKE, "ready", back, WAITING, f"all have arrived at the barrier {name}")])
