"""The rows that a batch adds to the journal, each chained to the one before it of its process."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
from kernel_runtime.command import Command

from process_svc.domain import ledger
from process_svc.domain.process import Entry
from process_svc.store.processes import JournalRow

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_AT: Final = JournalRow._fields.index("at")


def moment(now: datetime) -> str:
    """A row's time as it is hashed: microseconds since 1970."""
    return str((now - _EPOCH) // _MICROSECOND)


def row(entry: Entry, command: Command, now: datetime, at: str, head: bytes, snapshot: bytes | None) -> JournalRow:
    """What `entry` adds behind the row with the hash `head`. `at`: the `moment` of `now`; `snapshot`: the hash of its own."""
    process, cause, changes = entry.process, command.cause, entry.changes
    if entry.error is not None:
        changes = {**(changes or {}), "error": entry.error}
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
        None if changes is None else orjson.dumps(changes).decode(),
    ]
    texts = fields.copy()
    texts[0], texts[1], texts[_AT] = str(process.pid), str(process.version), at
    return JournalRow._make([*fields, ledger.link(head, texts, snapshot)])
