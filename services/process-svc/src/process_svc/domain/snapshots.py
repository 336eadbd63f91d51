"""The chain of context snapshots: each hash covers the stored bytes and the hash before it."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

GENESIS = b"\x00" * 32
"""What the first snapshot of a process follows."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    pid: int
    version: int
    context: str
    hash: bytes
    previous_hash: bytes


def link(previous: bytes, context: str) -> bytes:
    """SHA-256 over the previous hash and the canonical context."""
    return hashlib.sha256(previous + context.encode()).digest()


def intact(snapshot: Snapshot) -> bool:
    """Whether its stored bytes fit its hash."""
    return snapshot.hash == link(snapshot.previous_hash, snapshot.context)


def first_broken(chain: Iterable[Snapshot]) -> int | None:
    """The version of the first snapshot whose bytes or link don't verify, or None. `chain` is in order of version."""
    previous = GENESIS
    for snapshot in chain:
        if snapshot.previous_hash != previous or snapshot.hash != link(previous, snapshot.context):
            return snapshot.version
        previous = snapshot.hash
    return None
