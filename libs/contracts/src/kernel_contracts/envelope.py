"""CloudEvents 1.0 in Kafka's binary content mode: attributes in `ce_*` headers, the body as the record's value.

Extensions: `tenant`, `causationid` (id of the message that this one follows from), `correlationid` (the same along a whole
chain), `depth` (length of that chain), `aggregateversion` (of the process or resource that the body describes),
`dispatchid` and `give` (what the process gives back; resource-svc releases without reading the body).
The W3C trace context travels as the plain header `traceparent`.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, NamedTuple

Headers = Sequence[tuple[str, bytes]]

SPEC_VERSION: Final = "1.0"
CONTENT_TYPE: Final = "application/json"
MAX_DEPTH: Final = 64
"""A chain of causes longer than this is stopped."""


MAX_TEXT: Final = 500
"""Characters of any attribute."""


class EnvelopeError(ValueError):
    """The headers are not those of a CloudEvent of ours."""


class Envelope(NamedTuple):
    """The attributes of one message. `time` is RFC 3339 text: it is passed on far more often than it is computed with."""

    id: str
    type: str
    source: str
    time: str
    tenant: str
    subject: str | None = None
    causation: str | None = None
    correlation: str | None = None
    depth: int = 0
    version: int | None = None
    dispatch: str | None = None
    give: str | None = None
    traceparent: str | None = None


_OPTIONAL: Final = (
    ("ce_subject", "subject"),
    ("ce_causationid", "causation"),
    ("ce_correlationid", "correlation"),
    ("ce_aggregateversion", "version"),
    ("ce_dispatchid", "dispatch"),
    ("ce_give", "give"),
    ("traceparent", "traceparent"),
)


def encode(envelope: Envelope) -> list[tuple[str, str]]:
    """The record headers of `envelope`, as text; Kafka clients take text or its UTF-8 bytes."""
    headers = [
        ("ce_specversion", SPEC_VERSION),
        ("ce_id", envelope.id),
        ("ce_type", envelope.type),
        ("ce_source", envelope.source),
        ("ce_time", envelope.time),
        ("ce_tenant", envelope.tenant),
        ("ce_depth", str(envelope.depth)),
        ("content-type", CONTENT_TYPE),
    ]
    for header, field in _OPTIONAL:
        value = getattr(envelope, field)
        if value is not None:
            headers.append((header, str(value)))
    return headers


def header(headers: Headers | None, name: str) -> str | None:
    """The first value of `name`, or None; raises EnvelopeError where it is not UTF-8."""
    for key, value in headers or ():
        if key == name:
            return _text(name, value)
    return None


def decode(headers: Headers | None, *, default_tenant: str, trusted: bool = False) -> Envelope:
    """The envelope that `headers` carry; raises EnvelopeError naming what is missing or malformed.

    `trusted`: written by one of our services, whose texts need no looking at.

    Publishers outside need only the attributes that CloudEvents requires: `ce_time` defaults to empty, the tenant to
    `default_tenant`.
    """
    found = _read(headers)
    if found.get("ce_specversion") != SPEC_VERSION:
        raise EnvelopeError(
            f"header ce_specversion must be {SPEC_VERSION!r}, got {found.get('ce_specversion')!r}: "
            "publish a CloudEvent in Kafka's binary content mode"
        )
    id, type, source = found.get("ce_id"), found.get("ce_type"), found.get("ce_source")
    if not id or not type or not source:
        missing = [name for name in ("ce_id", "ce_type", "ce_source") if not found.get(name)]
        raise EnvelopeError(f"required CloudEvents headers are missing: {', '.join(missing)}")
    if not trusted:
        for name, value in found.items():
            _check_text(name, value)
    get = found.get
    depth, version = get("ce_depth"), get("ce_aggregateversion")
    return Envelope(
        id,
        type,
        source,
        _time(get("ce_time", "")),
        get("ce_tenant") or default_tenant,
        get("ce_subject"),
        get("ce_causationid"),
        get("ce_correlationid"),
        0 if depth is None else _count("ce_depth", depth),
        None if version is None else _count("ce_aggregateversion", version),
        get("ce_dispatchid"),
        get("ce_give"),
        get("traceparent"),
    )


def _read(headers: Headers | None) -> dict[str, str]:
    """Header names as the binding has them; in lower case where a publisher wrote them otherwise."""
    try:
        found = {key: str(value, "utf-8") for key, value in headers or ()}
    except (UnicodeDecodeError, TypeError):
        found = {key: _text(key, value) for key, value in headers or () if value is not None}
    if "ce_specversion" not in found:
        found = {key.lower(): value for key, value in found.items()}
    return found


def _check_text(name: str, value: str) -> None:
    if name.startswith("ce_") and (len(value) > MAX_TEXT or "\x00" in value):
        raise EnvelopeError(f"header {name} must have {MAX_TEXT} characters at most and no U+0000")


def event_headers(names: Iterable[str], headers: Headers) -> dict[str, str]:
    """The `ce_` attributes that are none of ours: a publisher's own CloudEvents extensions."""
    known = {"ce_specversion", *names}
    return {key[3:]: _text(key, value) for key, value in headers if key.startswith("ce_") and key not in known}


def _text(name: str, value: bytes | str) -> str:
    if isinstance(value, str):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise EnvelopeError(f"header {name} is not UTF-8 text") from None


def _count(name: str, value: str) -> int:
    if not value.isascii() or not value.isdigit() or len(value) > 18:
        raise EnvelopeError(f"header {name} must be a count, got {value[:40]!r}")
    return int(value)


def _time(value: str) -> str:
    if value:
        try:
            datetime.fromisoformat(value)
        except ValueError:
            raise EnvelopeError(f"header ce_time must be an RFC 3339 time, got {value[:40]!r}") from None
    return value
