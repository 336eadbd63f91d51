"""The ledger: chains, and the checkpoints that are signed of them."""

from typing import Literal

from kernel_contracts.base import Event, Time


class BrokenLink(Event):
    """Where a chain is broken.

    `gap`: there is no row of that version; `hash`: the row's bytes don't lead from the row before to its hash; `tail`: rows are
    missing at the end; `link`: the process does not go on from its newest row; `snapshot`: a snapshot's bytes or its link;
    `context`: the process' context is not its newest snapshot; `output`: its output is not what it ended with; `checkpoint`: it
    is another row than was signed.
    """

    pid: int
    version: int
    what: Literal["gap", "hash", "tail", "link", "snapshot", "context", "output", "checkpoint"]


class Verified(Event):
    """One process, recomputed from its stored bytes. `head` is the hash of its newest journal row.

    `chained_from`: rows before this version were written before the journal was chained; `checkpoint`: the newest that covers it;
    `dropped_at`: when its history was dropped, for it need not be kept longer.
    """

    pid: int
    ok: bool
    broken: BrokenLink | None = None
    head: str | None = None
    rows: int
    snapshots: int
    chained_from: int | None = None
    checkpoint: int | None = None
    dropped_at: Time | None = None


class VerifiedPart(Event):
    """A part of the tenant's processes. `broken` has the first broken link of each that has one."""

    ok: bool
    checked: int
    broken: list[BrokenLink]
    next: str | None = None


class Checkpoint(Event):
    """What was signed of the heads of all processes that changed since the checkpoint before.

    `signature` is Ed25519 over the bytes of `statement`, by `public_key`; `hash` is the SHA-256 of `statement`, and the next
    checkpoint's `previous_hash`. `digest` is the SHA-256 over pid (8 bytes, big-endian), version (4) and hash (32) of each head,
    in the order of pid. All bytes are told in hexadecimal.
    """

    tenant: str
    number: int
    at: Time
    upto: Time
    count: int
    digest: str
    previous_hash: str
    hash: str
    statement: str
    signature: str
    public_key: str


class Head(Event):
    """The newest journal row of a process, as a checkpoint covers it."""

    pid: int
    version: int
    hash: str
