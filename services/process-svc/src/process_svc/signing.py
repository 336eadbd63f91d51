"""Signatures of checkpoints: Ed25519 over a statement of canonical JSON."""

import base64
import binascii
import hashlib
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from process_svc import wire
from process_svc.settings import Settings
from process_svc.store.checkpoints import Checkpoint, Due
from process_svc.store.partitions import Contents

GENESIS = bytes(32)
"""What the first checkpoint of a tenant follows."""


class Signer:
    """Signs with one key."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public_key = key.public_key().public_bytes_raw()

    def sign(self, due: Due, upto: datetime, at: datetime) -> Checkpoint:
        text = statement(due, upto, at)
        hash = hashlib.sha256(text.encode()).digest()
        signature = self._key.sign(text.encode())
        return Checkpoint(due.tenant, due.number, upto, text, hash, signature, self.public_key)

    def sign_text(self, text: str) -> tuple[str, bytes, bytes]:
        """`text`, its signature and the public key."""
        return text, self._key.sign(text.encode()), self.public_key


def dropped(lower: int, upper: int, at: datetime, found: Contents) -> str:
    """What is signed of a partition that is dropped."""
    return wire.canonical(
        {
            "at": at.isoformat(),
            "digest": found.digest.hex(),
            "dropped": [lower, upper],
            "processes": found.processes,
            "rows": found.rows,
        }
    )


def statement(due: Due, upto: datetime, at: datetime) -> str:
    """What is signed: that these many heads had this digest, and which checkpoint came before."""
    return wire.canonical(
        {
            "at": at.isoformat(),
            "count": due.heads,
            "digest": due.digest.hex(),
            "number": due.number,
            "previous": (due.previous or GENESIS).hex(),
            "tenant": due.tenant,
            "upto": upto.isoformat(),
        }
    )


def signer(settings: Settings) -> Signer | None:
    """By the configured key, None where there is none. Raises ValueError where it can't be read."""
    text = settings.checkpoint_key.get_secret_value().strip()
    if not text and settings.checkpoint_key_file is not None:
        text = Path(settings.checkpoint_key_file).read_text().strip()
    return Signer(private_key(text)) if text else None


def private_key(text: str) -> Ed25519PrivateKey:
    """PEM (PKCS 8), or the 32 bytes of the seed in base64."""
    try:
        if text.startswith("-----BEGIN"):
            key = load_pem_private_key(text.encode(), None)
            if isinstance(key, Ed25519PrivateKey):
                return key
        else:
            return Ed25519PrivateKey.from_private_bytes(base64.b64decode(text, validate=True))
    except (ValueError, TypeError, binascii.Error):
        pass
    raise ValueError("the checkpoint key must be an Ed25519 key: PEM (PKCS 8), or its 32 bytes in base64")


def signed(checkpoint: Checkpoint) -> bool:
    """Whether the signature is one of its statement by its key."""
    return valid(checkpoint.statement, checkpoint.signature, checkpoint.public_key)


def unsound(some: Iterable[Checkpoint], public_key: bytes | None) -> list[int]:
    """Numbers of those that are not signed, or by a key that can't have been the one then.

    A new key replaces an old one for good, so none comes back; the newest of each tenant is signed by `public_key`, if known.
    """
    found: list[int] = []
    by_tenant: dict[str, list[Checkpoint]] = {}
    for each in sorted(some, key=lambda checkpoint: checkpoint.number):
        by_tenant.setdefault(each.tenant, []).append(each)
    for chain in by_tenant.values():
        used: list[bytes] = []
        for each in chain:
            if not signed(each) or each.public_key in used[:-1]:
                found.append(each.number)
            elif each.public_key not in used:
                used.append(each.public_key)
        if public_key is not None and chain[-1].public_key != public_key:
            found.append(chain[-1].number)
    return found


def valid(text: str, signature: bytes, public_key: bytes) -> bool:
    """Whether the signature is one of `text`."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, text.encode())
    except (InvalidSignature, ValueError):
        return False
    return True
