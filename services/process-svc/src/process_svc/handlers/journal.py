"""The rows that a batch adds to the journal, each chained to the one before it of its process."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
from kernel_contracts.vocabulary import Outcome, ProcessState
from kernel_runtime.command import Command

from process_svc import wire
from process_svc.domain import ledger
from process_svc.domain.process import Entry
from process_svc.store.processes import JournalRow

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_AT: Final = JournalRow._fields.index("at")


def moment(now: datetime) -> str:
    """A row's time as it is hashed: microseconds since 1970."""
    return str((now - _EPOCH) // _MICROSECOND)


def _told(entry: Entry) -> dict[str, Any]:
    """What the history says besides what has changed."""
    process = entry.process
    found: dict[str, Any] = {}
    if entry.error is not None:
        found["error"] = entry.error
    if process.waiting is not None and process.state is ProcessState.WAITING:
        found["waiting_for"] = wire.waiting_for(process.waiting)
    if process.held:
        found["held"] = True
    if process.outcome is Outcome.COMPLETED and process.output is not None:
        found["output_hash"] = hashlib.sha256(process.output.encode()).hexdigest()
    return found


def row(entry: Entry, command: Command, now: datetime, at: str, head: bytes, snapshot: bytes | None) -> JournalRow:
    """What `entry` adds behind the row with the hash `head`. `at`: the `moment` of `now`; `snapshot`: the hash of its own."""
    process, cause, changes = entry.process, command.cause, entry.changes
    if entry.error is not None or process.waiting is not None or process.held or process.outcome is Outcome.COMPLETED:
        changes = {**(changes or {}), **_told(entry)}
    fields: list[Any] = [
        process.pid,
        process.version,
        entry.command,
        entry.type,
        entry.from_state,
        process.state,
        process.outcome,
        now,
        command.by,
        entry.reason,
        cause.message,
        cause.correlation,
        process.operator,
        entry.dispatch_id,
        orjson.dumps(changes, option=wire.UTC_Z).decode() if changes else None,
    ]
    texts = fields.copy()
    texts[0], texts[1], texts[_AT] = str(process.pid), str(process.version), at
    return JournalRow._make([*fields, ledger.link(head, texts, snapshot)])
