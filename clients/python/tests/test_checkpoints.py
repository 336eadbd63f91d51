"""Checkpoints in a file: what was changed in it, taken out of it, or is missing in the installation."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kernel_client.checkpoints import load, missing, wrong
from kernel_client.errors import KernelError
from process_svc.http.ledger import told
from process_svc.signing import Signer, private_key
from process_svc.store.checkpoints import Due

SIGNER = Signer(private_key(base64.b64encode(b"k" * 32).decode()))
AT = datetime(2026, 11, 25, tzinfo=UTC)


def made(count: int, signer: Signer = SIGNER) -> list[dict[str, Any]]:
    found = []
    previous = None
    for number in range(1, count + 1):
        checkpoint = signer.sign(Due("main", number, previous, number, bytes(32)), AT, AT)
        previous = checkpoint.hash
        found.append(told(checkpoint))
    return found


def test_what_was_signed_verifies(tmp_path: Path) -> None:
    file = tmp_path / "c.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in made(3)))
    assert wrong(load(file), SIGNER.public_key.hex()) == []
    file.write_text(json.dumps({"items": made(2), "next": None}))
    assert (len(load(file)), wrong(load(file))) == (2, [])
    first, second = (json.dumps(each) for each in made(2))
    file.write_text(f"{first}\n{second[:40]}\n{second}\n")
    assert (len(load(file)), wrong(load(file))) == (2, [])
    file.write_text("{nothing")
    with pytest.raises(KernelError):
        load(file)


def test_what_was_changed_is_told() -> None:
    other = Signer(private_key(base64.b64encode(b"x" * 32).decode()))
    first, second, third = made(3)
    assert "signed by another key" in wrong(made(1, other), SIGNER.public_key.hex())[0]
    assert "2 to 2 are missing" in wrong([first, third])[0]
    assert "says something else" in wrong([first, {**second, "count": 9}])[0]
    forged = second["statement"].replace('"count":2', '"count":3')
    assert any("signature is wrong" in each for each in wrong([{**second, "statement": forged, "count": 3}]))
    stranger = told(SIGNER.sign(Due("main", 2, bytes(32), 2, bytes(32)), AT, AT))
    assert "does not follow" in wrong([first, stranger])[0]
    assert "two different ones" in wrong([first, second, stranger])[0]
    assert "can't be read" in wrong([{"number": 1}])[0]


def test_an_installation_that_was_set_back_is_told() -> None:
    kept = made(3)
    assert missing(kept, kept, "main") == []
    assert missing(kept, kept[:2], "main") == ["checkpoint 3 of main: the installation has none of this number"]
