"""What travels through the pipeline: commands in, answers or problems and messages out."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from kernel_contracts.envelope import CONTENT_TYPE, SPEC_VERSION, Envelope, decode

from kernel_runtime.problem import Problem


class Cause(NamedTuple):
    """Where something comes from: the id of the message or request before it, and of the chain as a whole."""

    message: str | None
    correlation: str
    depth: int = 0
    traceparent: str | None = None


@dataclass(slots=True, eq=False)
class Command:
    """One thing to do. `name` finds its handler, `body` is what that handler expects.

    Nobody changes it; it is not frozen because that makes each cost four times as much.
    `fingerprint` is the digest of the body where the command is to be remembered under its id (the inbox), else None:
    then the aggregate itself must know that it was done, by version or dispatch id. `weight` counts against a batch's size.
    """

    id: str
    name: str
    tenant: str
    body: Any
    by: str
    cause: Cause
    fingerprint: bytes | None = None
    envelope: Envelope | None = None
    """Set where it came from Kafka."""
    roles: frozenset[str] = frozenset()
    operator: str | None = None
    weight: int = 1
    key: tuple[str, bytes] | None = None
    """Topic and key where it came from Kafka: it is never carried out after an earlier one of the same key has broken."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the caller gets; remembered with the command where that is."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


Result = Answer | Problem


def json_answer(value: Any, status: int = 200, **headers: str) -> Answer:
    """`value` as JSON; header names with `_` for `-`."""
    return Answer(status, orjson.dumps(value), {name.replace("_", "-"): text for name, text in headers.items()})


class Message(NamedTuple):
    """One record to publish, written to the outbox in the transaction of what it tells. `headers` is a JSON object."""

    topic: str
    key: str
    body: bytes
    headers: str

    @property
    def envelope(self) -> Envelope:
        """What `headers` say; for tests."""
        return decode([(name, value.encode()) for name, value in orjson.loads(self.headers).items()], default_tenant="")


def message(
    topic: str,
    key: str,
    body: bytes,
    *,
    id: str,
    type: str,
    source: str,
    at: datetime,
    tenant: str,
    cause: Cause,
    subject: str | None = None,
    version: int | None = None,
    dispatch: str | None = None,
    give: str | None = None,
) -> Message:
    """A message that follows from `cause`: one deeper in the same chain."""
    headers = {
        "ce_specversion": SPEC_VERSION,
        "ce_id": id,
        "ce_type": type,
        "ce_source": source,
        "ce_time": at.isoformat(),
        "ce_tenant": tenant,
        "ce_depth": str(cause.depth),
        "content-type": CONTENT_TYPE,
        "ce_correlationid": cause.correlation,
    }
    if subject is not None:
        headers["ce_subject"] = subject
    if cause.message is not None:
        headers["ce_causationid"] = cause.message
    if version is not None:
        headers["ce_aggregateversion"] = str(version)
    if dispatch is not None:
        headers["ce_dispatchid"] = dispatch
    if give is not None:
        headers["ce_give"] = give
    if cause.traceparent is not None:
        headers["traceparent"] = cause.traceparent
    return Message(topic, key, body, orjson.dumps(headers).decode())


def fingerprint(name: str, raw: bytes) -> bytes:
    """Tells whether the same id came with the same content. 16 bytes."""
    return hashlib.blake2b(raw, digest_size=16, person=name.encode()[-16:]).digest()
