"""Our reading of CloudEvents against the SDK of the specification."""

from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings.kafka import to_binary_event
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st
from kernel_contracts.envelope import decode
from rules_svc import cloudevents
from rules_svc.received import event_key

text = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=("Cc", "Cs")), min_size=1, max_size=20
)
names = st.text("abc.", min_size=1, max_size=8)
data = st.none() | st.dictionaries(st.text("ab", max_size=2), st.integers(-9, 9) | st.booleans() | text, max_size=3)


@given(
    text, text, names, st.none() | text, data, st.dictionaries(st.text("xyz", min_size=1, max_size=4), text, max_size=2)
)
def test_what_the_sdk_puts_on_kafka_is_read(
    id: str, source: str, type: str, subject: Any, body: Any, more: Any
) -> None:
    attributes = {
        "id": id,
        "source": source,
        "type": type,
        "specversion": "1.0",
        "time": datetime(2026, 1, 1, tzinfo=UTC),
    }
    attributes |= {"subject": subject} if subject is not None else {}
    message = to_binary_event(CloudEvent(attributes={**attributes, **more}, data=body))
    headers = [(name, value) for name, value in message.headers.items()]
    raw = message.value if isinstance(message.value, bytes) else b""
    received = cloudevents.from_kafka(decode(headers, default_tenant="main"), headers, raw)
    view = received.view
    assert (view["id"], view["source"], view["type"], view["subject"]) == (id, source, type, subject)
    assert view["data"] == body
    assert {name: view[name] for name in more} == more
    assert received.key == event_key("main", source, id)
    assert received.cause.depth == 1


@pytest.mark.parametrize(
    ("data", "subject", "entity"),
    [
        ({"entity": {"type": "order", "id": "7", "more": 1}}, None, {"type": "order", "id": "7"}),
        ({"entity": {"type": "order", "id": 7}}, None, None),
        ({"entity": "order"}, "permit/p-1", {"type": "permit", "id": "p-1"}),
        (None, "permit/p-1", {"type": "permit", "id": "p-1"}),
        (None, "a/b/c", None),
        (None, "/b", None),
        ([], "x", None),
    ],
)
def test_the_entity_of_an_event(data: Any, subject: str | None, entity: Any) -> None:
    attributes = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": data, "subject": subject}
    received = cloudevents.received(attributes, "main", 0, None)  # type: ignore[arg-type]
    assert received.entity == entity
    assert received.event.entity_type == (entity and entity["type"])


@given(text, text, text, text)
def test_an_events_key_is_its_own(a: str, b: str, c: str, d: str) -> None:
    assert (event_key("main", a, b) == event_key("main", c, d)) is ((a, b) == (c, d))
    assert event_key("main", a, b) != event_key("other", a, b)
