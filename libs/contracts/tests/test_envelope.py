"""The envelope against itself, and against the CloudEvents SDK, both ways."""

import contextlib
import string
from datetime import UTC, datetime

import pytest
from cloudevents.core.bindings import kafka
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st
from kernel_contracts.envelope import MAX_TEXT, Envelope, EnvelopeError, decode, encode, event_headers

TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=("Cs",)), min_size=1, max_size=MAX_TEXT)
PLAIN = st.text(string.ascii_letters + string.digits + "-._/:", min_size=1, max_size=60)
TIMES = st.datetimes(timezones=st.just(UTC)).map(lambda at: at.isoformat())
COUNTS = st.integers(0, 10**18 - 1)


def envelopes(text: st.SearchStrategy[str]) -> st.SearchStrategy[Envelope]:
    maybe = st.none() | text
    return st.builds(
        Envelope, text, text, text, TIMES, text, maybe, maybe, maybe, COUNTS, st.none() | COUNTS, maybe, maybe, maybe
    )


def as_bytes(headers: list[tuple[str, str]]) -> list[tuple[str, bytes]]:
    return [(name, value.encode()) for name, value in headers]


@given(envelopes(TEXT))
def test_decode_gives_back_what_was_encoded(envelope: Envelope) -> None:
    assert decode(as_bytes(encode(envelope)), default_tenant="other") == envelope
    assert decode(encode(envelope), default_tenant="other") == envelope  # type: ignore[arg-type]
    assert decode(as_bytes(encode(envelope)), default_tenant="other", trusted=True) == envelope


@given(st.lists(st.tuples(st.text(max_size=20), st.none() | st.binary(max_size=40))))
def test_whatever_comes_is_an_envelope_or_an_error(headers: list[tuple[str, bytes]]) -> None:
    base = [("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_type", b"t"), ("ce_source", b"s")]
    for given_headers in (headers, [*base, *headers]):
        with contextlib.suppress(EnvelopeError):
            assert isinstance(decode(given_headers, default_tenant="main"), Envelope)


@given(envelopes(PLAIN))
def test_the_sdk_reads_what_we_write(envelope: Envelope) -> None:
    message = kafka.KafkaMessage(headers=dict(as_bytes(encode(envelope))), key=b"1", value=b'{"pid":1}')
    event = kafka.from_binary_event(message)
    assert (event.get_id(), event.get_type(), event.get_source()) == (envelope.id, envelope.type, envelope.source)
    assert event.get_specversion() == "1.0"
    assert event.get_time() == datetime.fromisoformat(envelope.time)
    assert event.get_subject() == envelope.subject
    assert event.get_datacontenttype() == "application/json"
    assert event.get_data() == {"pid": 1}
    assert event.get_extension("tenant") == envelope.tenant
    assert event.get_extension("depth") == str(envelope.depth)
    assert event.get_extension("causationid") == envelope.causation
    assert event.get_extension("aggregateversion") == (None if envelope.version is None else str(envelope.version))


@given(PLAIN, PLAIN, PLAIN, st.none() | PLAIN)
def test_we_read_what_the_sdk_writes(id: str, kind: str, source: str, subject: str | None) -> None:
    attributes = {"id": id, "type": kind, "source": source, "specversion": "1.0", "color": "blue"}
    if subject is not None:
        attributes["subject"] = subject
    message = kafka.to_binary_event(CloudEvent(attributes=attributes, data={"amount": 1}))
    headers = list(message.headers.items())
    envelope = decode(headers, default_tenant="main")
    assert (envelope.id, envelope.type, envelope.source, envelope.subject) == (id, kind, source, subject)
    assert datetime.fromisoformat(envelope.time).tzinfo is not None
    assert envelope.tenant == "main"
    names = ["ce_id", "ce_type", "ce_source", "ce_time", "ce_subject"]
    assert event_headers(names, headers) == {"color": "blue"}


def test_extension_names_are_allowed_by_cloudevents() -> None:
    """Lower-case letters and digits, twenty at most."""
    full = Envelope("1", "t", "s", "2026-11-25T08:00:00Z", "main", "s", "c", "c", 1, 1, "d", "all", "00-a-b-01")
    for name, _ in encode(full):
        if name not in ("content-type", "traceparent"):
            assert name.startswith("ce_")
            assert set(name[3:]) <= set(string.ascii_lowercase + string.digits)
            assert len(name[3:]) <= 20


@pytest.mark.parametrize(
    ("header", "value", "told"),
    [
        ("ce_specversion", b"0.3", "must be '1.0'"),
        ("ce_id", b"", "missing: ce_id"),
        ("ce_id", b"\xff", "not UTF-8"),
        ("ce_id", b"a\x00b", "no U+0000"),
        ("ce_source", b"x" * 501, "500 characters"),
        ("ce_depth", b"-1", "must be a count"),
        ("ce_depth", "٣".encode(), "must be a count"),
        ("ce_aggregateversion", b"9" * 19, "must be a count"),
        ("ce_time", b"noon", "RFC 3339"),
    ],
)
def test_what_is_wrong_is_named(header: str, value: bytes, told: str) -> None:
    good = {"ce_specversion": b"1.0", "ce_id": b"1", "ce_type": b"t", "ce_source": b"s"}
    with pytest.raises(EnvelopeError, match=told.replace("+", r"\+")):
        decode(list({**good, header: value}.items()), default_tenant="main")


def test_header_names_in_capitals_are_understood() -> None:
    headers = [("CE_SpecVersion", b"1.0"), ("CE_ID", b"1"), ("Ce_Type", b"t"), ("ce_source", b"s"), ("CE_Tenant", b"x")]
    assert decode(headers, default_tenant="main").tenant == "x"
