"""Checkpoints verified offline: from a file alone, with nothing of the kernel."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kernel_client.errors import KernelError

FIRST = "00" * 32
"""What the first checkpoint of a tenant follows."""
_SAID = {
    "tenant": "tenant",
    "number": "number",
    "count": "count",
    "digest": "digest",
    "previous_hash": "previous",
}


def load(file: Path) -> list[dict[str, Any]]:
    """From lines of JSON, a JSON list, or an answer of GET /v1/checkpoints; raises KernelError."""
    try:
        text = file.read_text().strip()
        try:
            found = json.loads(text)
        except json.JSONDecodeError:
            found = [each for line in text.splitlines() if line.strip() and (each := _line(line)) is not None]
    except (OSError, ValueError) as error:
        raise KernelError(f"{file} can't be read: {error}") from None
    if isinstance(found, dict):
        found = found.get("items", [found])
    if not isinstance(found, list) or not found or not all(isinstance(each, dict) for each in found):
        raise KernelError(f"{file} has no checkpoints")
    return found


def _line(text: str) -> Any:
    """A checkpoint, or None for a line that was cut off: its writer died, and wrote it again."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return None


def wrong(found: Iterable[Mapping[str, Any]], key: str | None = None) -> list[str]:
    """What is wrong with them, in words: nothing where each is signed (by the public `key`) and follows the one before.

    Raises KernelError where the extra `ledger` is not installed.
    """
    said: list[str] = []
    last: dict[str, Mapping[str, Any]] = {}
    ordered = sorted(found, key=lambda each: (str(each.get("tenant")), int(each.get("number") or 0)))
    for each in ordered:
        name = f"checkpoint {each.get('number')} of {each.get('tenant')}"
        try:
            said += [f"{name}: {what}" for what in _alone(each, key)]
            before = last.get(each["tenant"])
            if before is not None and each["number"] != before["number"]:
                if each["number"] != before["number"] + 1:
                    said.append(f"{name}: {before['number'] + 1} to {each['number'] - 1} are missing before it")
                elif each["previous_hash"] != before["hash"]:
                    said.append(f"{name}: it does not follow checkpoint {before['number']}")
            elif before is not None and each["hash"] != before["hash"]:
                said.append(f"{name}: there are two different ones of this number")
            elif before is None and each["number"] == 1 and each["previous_hash"] != FIRST:
                said.append(f"{name}: it is the first and follows another")
            last[each["tenant"]] = each
        except (KeyError, TypeError, ValueError) as error:
            said.append(f"{name}: it can't be read ({type(error).__name__}: {error})")
    return said


def _alone(each: Mapping[str, Any], key: str | None) -> list[str]:
    statement = each["statement"].encode()
    content = json.loads(statement)
    said = []
    if hashlib.sha256(statement).hexdigest() != each["hash"]:
        said.append("its hash is not that of its statement")
    if any(each[name] != content[member] for name, member in _SAID.items()):
        said.append("it says something else than what was signed")
    if key is not None and each["public_key"] != key:
        said.append(f"it is signed by another key ({each['public_key'][:16]})")
    if not _signed(statement, bytes.fromhex(each["public_key"]), bytes.fromhex(each["signature"])):
        said.append("its signature is wrong")
    return said


def _signed(statement: bytes, key: bytes, signature: bytes) -> bool:
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ModuleNotFoundError:
        raise KernelError("Signatures need the extra `ledger`: pip install kernel-client[ledger]") from None
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, statement)
    except InvalidSignature:
        return False
    return True


def missing(kept: Iterable[Mapping[str, Any]], there: Iterable[Mapping[str, Any]], tenant: str) -> list[str]:
    """Which of the `kept` ones of a tenant an installation does not have, or has otherwise: it was set back."""
    known = {each["number"]: each["hash"] for each in there}
    return [
        f"checkpoint {each['number']} of {tenant}: the installation has "
        + ("none of this number" if each["number"] not in known else "another one of this number")
        for each in kept
        if each["tenant"] == tenant and known.get(each["number"]) != each["hash"]
    ]
