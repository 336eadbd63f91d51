"""The chain of journal rows: each hash covers the row's bytes and the hash of the row before it of the same process.

A process' first row follows its `seed`, which covers what it was created as; a row that comes with a snapshot covers that too. So
the hash of the newest row stands for all that is known of a process' past. SQL that recomputes it: `store.histories`.
"""

import hashlib
from collections.abc import Iterable, Sequence

from process_svc.domain.process import Process

_NONE = "\udcff"
"""Becomes the byte 0xFF, which UTF-8 does not have; fields are parted by 0x00, which no text in Postgres has."""


def packed(fields: Iterable[str | None]) -> bytes:
    """The canonical bytes of `fields`: other fields have other bytes."""
    return "\x00".join([_NONE if field is None else field for field in fields]).encode("utf-8", "surrogateescape")


def seed(process: Process) -> bytes:
    """What the chain of a process begins with."""
    parent = None if process.parent is None else str(process.parent)
    told = (str(process.pid), process.tenant, process.service, process.entity_type, process.entity_id)
    return hashlib.sha256(packed((*told, process.key, parent))).digest()


def link(previous: bytes, fields: Sequence[str | None], snapshot: bytes | None) -> bytes:
    """SHA-256 over the previous hash, the row's fields as text, and the hash of the snapshot written with it, if any."""
    return hashlib.sha256(previous + packed((*fields, None if snapshot is None else snapshot.hex()))).digest()
