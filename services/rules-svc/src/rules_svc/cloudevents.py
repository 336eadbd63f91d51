"""CloudEvents 1.0 from outside, over HTTP (structured, batch, binary) and from Kafka (binary): one reader for their attributes.

What is wrong is a list of (JSON pointer, message). Attributes that the specification does not allow are refused, not dropped.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import unquote

import orjson
from kernel_contracts import message_types as types
from kernel_contracts.base import NAME_PATTERN
from kernel_contracts.envelope import MAX_TEXT, Envelope, Headers, event_headers
from kernel_runtime.command import Cause
from kernel_runtime.http import check_json
from kernel_runtime.problem import ProblemError

from rules_svc.domain.model import Event
from rules_svc.received import Received

STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
MAX_DATA: Final = 256 * 1024
"""Bytes of an event's data."""
MAX_ATTRIBUTE: Final = MAX_TEXT
RESERVED_TYPE: Final = f"types that begin with {types.PREFIX!r} are the kernel's own"
RESERVED_SOURCE: Final = "sources that begin with '/kernel/' are the kernel's own"
_ATTRIBUTE_NAME: Final = re.compile(r"[a-z0-9]{1,40}")
_TEXT: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]*")
_NAME: Final = re.compile(NAME_PATTERN)
_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
_OURS: Final = (
    "ce_id", "ce_type", "ce_source", "ce_time", "ce_tenant", "ce_subject",
    "ce_causationid", "ce_correlationid", "ce_depth", "ce_aggregateversion", "ce_dispatchid", "ce_give",
)  # fmt: skip

Errors = list[tuple[str, str]]


class InvalidEventError(ValueError):
    """Not a CloudEvent that we take; `errors` says where and why."""

    def __init__(self, errors: Errors) -> None:
        super().__init__("; ".join(f"{pointer.removeprefix('/') or 'event'}: {text}" for pointer, text in errors[:5]))
        self.errors = errors


def from_kafka(envelope: Envelope, headers: Headers, raw: bytes) -> Received:
    """A business event in binary mode; raises InvalidEventError (it becomes a dead letter)."""
    headers = [(name, value) for name, value in headers if value is not None]
    attributes: dict[str, Any] = {
        "specversion": "1.0",
        "id": envelope.id,
        "source": envelope.source,
        "type": envelope.type,
        **event_headers(_OURS, headers),
    }
    if envelope.time:
        attributes["time"] = envelope.time
    if envelope.subject is not None:
        attributes["subject"] = envelope.subject
    kind = next((value.decode("utf-8", "replace") for name, value in headers if name == "content-type" and value), None)
    _add_data(attributes, raw, kind)
    errors = find_errors(attributes)
    if errors:
        raise InvalidEventError(errors)
    cause = Cause(envelope.id, envelope.correlation or envelope.id, envelope.depth + 1, envelope.traceparent)
    return received(attributes, envelope.tenant, envelope.depth, cause)


def from_binary(headers: Iterable[tuple[str, str]], raw: bytes) -> dict[str, Any]:
    """The attributes (and data) of an HTTP request in binary mode; raises InvalidEventError."""
    attributes: dict[str, Any] = {}
    kind = None
    for name, value in headers:
        if name.startswith("ce-"):
            attributes[name[3:]] = unquote(value)
        elif name == "content-type":
            kind = value
    _add_data(attributes, raw, kind)
    return attributes


def _add_data(attributes: dict[str, Any], raw: bytes, kind: str | None) -> None:
    media = (kind or "application/json").split(";")[0].strip().lower()
    if kind is not None:
        attributes["datacontenttype"] = kind
    if not raw:
        return
    if len(raw) > MAX_DATA:
        raise InvalidEventError([("/data", f"an event's data may have {MAX_DATA:,} bytes at most")])
    if media == "application/json" or media.endswith("+json"):
        attributes["data"] = parse_json(raw)
    elif media.startswith("text/"):
        attributes["data"] = raw.decode("utf-8", "replace")
    else:
        attributes["data_base64"] = base64.b64encode(raw).decode()


def parse_json(raw: bytes) -> Any:
    """JSON that can be kept and looked at; raises InvalidEventError."""
    try:
        check_json(raw)
        return orjson.loads(raw)
    except ProblemError as error:
        raise InvalidEventError([("/data", error.problem.detail)]) from None
    except orjson.JSONDecodeError as error:
        raise InvalidEventError([("/data", f"is not JSON: {error}")]) from None


def find_errors(attributes: Mapping[str, Any]) -> Errors:
    """What the specification, and what we can keep, says against these attributes."""
    errors: Errors = []
    if attributes.get("specversion") != "1.0":
        errors.append(("/specversion", 'must be "1.0"'))
    for name in ("id", "source", "type"):
        if attributes.get(name) is None:
            errors.append((f"/{name}", "is required"))
    for name, value in attributes.items():
        if name in ("data", "data_base64", "specversion") or value is None:
            continue
        if not _ATTRIBUTE_NAME.fullmatch(name):
            errors.append((f"/{name}", "the name of an attribute has lower-case letters and digits, 40 at most"))
        elif isinstance(value, str):
            errors += _text_errors(name, value)
        elif name in ("id", "source", "type", "subject", "time", "datacontenttype", "dataschema"):
            errors.append((f"/{name}", "must be a string"))
        elif not isinstance(value, (bool, int)):
            errors.append((f"/{name}", "the value of an attribute is a string, an integer or a boolean"))
    return errors + _data_errors(attributes)


def _text_errors(name: str, value: str) -> Errors:
    if not value and name in ("id", "source", "type", "subject"):
        return [(f"/{name}", "must not be empty")]
    if len(value) > MAX_ATTRIBUTE:
        return [(f"/{name}", f"may have {MAX_ATTRIBUTE} characters at most")]
    if not _TEXT.fullmatch(value):
        return [(f"/{name}", "has control characters or is not valid Unicode")]
    if name == "type" and not (_NAME.fullmatch(value) and len(value) <= 200):
        return [("/type", "must be a name: 200 characters at most, no slash, no blank at either end")]
    if name == "time" and not _is_time(value):
        return [("/time", "must be an RFC 3339 time with a zone")]
    return []


def _is_time(value: str) -> bool:
    if not _RFC3339.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value.upper())
    except ValueError:
        return False
    return True


def _data_errors(attributes: Mapping[str, Any]) -> Errors:
    encoded = attributes.get("data_base64")
    if encoded is None:
        return []
    if "data" in attributes:
        return [("/data_base64", "an event has data or data_base64, not both")]
    try:
        base64.b64decode(encoded, validate=True) if isinstance(encoded, str) else _no_text()
    except (binascii.Error, ValueError):
        return [("/data_base64", "must be text in base64")]
    return []


def _no_text() -> None:
    raise ValueError


def reserved(attributes: Mapping[str, Any]) -> Errors:
    """What nobody outside may publish."""
    errors: Errors = []
    if str(attributes.get("type")).startswith(types.PREFIX):
        errors.append(("/type", RESERVED_TYPE))
    if str(attributes.get("source")).startswith("/kernel/"):
        errors.append(("/source", RESERVED_SOURCE))
    return errors


def from_outside(attributes: Mapping[str, Any], tenant: str, cause: Cause) -> Received:
    """An event from HTTP. The depth and correlation of a chain that it continues are kept; the tenant is the caller's."""
    depth = attributes.get("depth", 0)
    depth = int(depth) if str(depth).isascii() and str(depth).isdigit() and len(str(depth)) < 9 else 0
    correlation = attributes.get("correlationid")
    follows = Cause(
        str(attributes["id"]),
        correlation if isinstance(correlation, str) and correlation else cause.correlation,
        depth + 1,
        cause.traceparent,
    )
    return received({k: v for k, v in attributes.items() if k != "tenant"}, tenant, depth, follows)


def received(attributes: Mapping[str, Any], tenant: str, depth: int, follows: Cause) -> Received:
    """Attributes that are without error, as an event. Its entity: `data.entity`, else a subject of the form `type/id`."""
    view = {"subject": None, "time": None, "data": None, **attributes, "tenant": tenant}
    entity = _entity(view["data"], view["subject"])
    event = Event(
        tenant,
        view["source"],
        view["id"],
        view["type"],
        depth,
        entity_type=entity["type"] if entity else None,
    )
    return Received(event, view, None, entity, follows)


def _entity(data: Any, subject: str | None) -> dict[str, str] | None:
    named = data.get("entity") if isinstance(data, dict) else None
    if isinstance(named, dict):
        type, id = named.get("type"), named.get("id")
        if isinstance(type, str) and isinstance(id, str):
            return {"type": type, "id": id}
    if subject and subject.count("/") == 1:
        type, id = subject.split("/")
        if type and id:
            return {"type": type, "id": id}
    return None
