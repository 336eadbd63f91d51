"""What the service reads and writes is what contracts and README say; its messages are what the contracts describe."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_contracts.process import ProcessEvent, WaitingFor
from kernel_contracts.topics import TOPICS
from kernel_contracts.vocabulary import AfterMode, CommandName, Give, OnTimeout, Outcome, ProcessState
from kernel_runtime.command import Cause
from process_svc import wire
from process_svc.consumer import ROUTES
from process_svc.consumer import TOPICS as READ
from process_svc.domain.process import Entry, Waiting

from .values import NOW, process

README = (Path(__file__).parents[1] / "README.md").read_text()
NAME = "process-svc"
TIMES = st.none() | st.timedeltas(timedelta(0), timedelta(days=900)).map(lambda delta: NOW + delta)
NAMES = st.sampled_from(["a", "b c", "\u00e9t\u00e9", "x-1", "\U0001f600"])
TEXTS = st.none() | NAMES
WAITS = (
    st.builds(
        Waiting,
        event_type=NAMES,
        event_key=TEXTS,
        timeout=TIMES,
        on_timeout=st.sampled_from(OnTimeout),
    )
    | st.builds(Waiting, until=TIMES.filter(bool))
    | st.builds(Waiting, children_mode=st.sampled_from(AfterMode))
)
PROCESSES = st.builds(
    process,
    state=st.sampled_from(ProcessState),
    outcome=st.none() | st.sampled_from(Outcome),
    entity_type=TEXTS,
    entity_id=NAMES,
    operator=TEXTS,
    key=TEXTS,
    parent=st.none() | st.integers(1, 9),
    after=st.lists(st.integers(1, 9)).map(tuple),
    ready_at=TIMES,
    ended_at=TIMES,
    not_before=TIMES,
    due=TIMES,
    expected_duration=st.none() | st.floats(0, 1e6),
    context=st.none() | st.sampled_from(['{"a":{"b":[1,null]}}', '{"x":"' + "y" * 20_000 + '"}']),
    output=st.none() | st.just('{"ok":true}'),
    waiting=st.none() | WAITS,
    incident=st.none() | st.integers(1, 9),
)
ENTRIES = st.builds(
    Entry,
    st.sampled_from(CommandName),
    st.sampled_from(["created", "ready", "running", "waiting", "suspended", "terminated", "prioritized", "assigned"]),
    PROCESSES,
    st.none() | st.sampled_from(ProcessState),
    reason=TEXTS,
    dispatch_id=TEXTS,
    give=st.none() | st.sampled_from(Give),
    error=st.none() | st.just({"class": "transient", "code": "down", "message": ""}),
)


@settings(deadline=None)
@given(ENTRIES)
def test_events_are_what_their_model_says(entry: Entry) -> None:
    now, cause = entry.process, Cause("c", "chain", 3, None)
    told = wire.event(entry, NOW, NOW.isoformat(), "me", cause, b'[{"type":"operator","roles":["a"]}]')
    body = orjson.loads(told.body)
    assert set(body) <= set(ProcessEvent.model_fields)
    event = ProcessEvent.model_validate_json(told.body)
    same = ("pid", "version", "state", "outcome", "operator", "key", "parent", "priority", "queue", "root", "attempt")
    for name in (*same, "ready_at", "ended_at", "not_before", "due", "incident"):
        assert getattr(event, name) == getattr(now, name), name
    assert event.after == list(now.after)
    assert (event.entity is None) == (now.entity_type is None)
    large = now.context is None or len(now.context) > 16_384
    assert (event.context is None, event.context_hash is None) == (large, not large)
    assert (event.waiting_for is None) == (now.waiting is None)
    envelope = told.envelope
    assert (envelope.id, envelope.version, envelope.subject) == (f"{now.pid}.{now.version}", now.version, None)
    assert (envelope.dispatch, envelope.give) == (entry.dispatch_id, entry.give)
    assert (envelope.causation, envelope.correlation, envelope.depth) == ("c", "chain", 3)
    assert told.key == str(now.pid)


@settings(deadline=None)
@given(WAITS)
def test_what_is_waited_for_reads_back(waiting: Waiting) -> None:
    told: Any = WaitingFor.model_validate_json(orjson.dumps(wire.waiting_for(waiting)))
    assert told.timer == waiting.until
    assert told.timeout == waiting.timeout
    assert (told.event and (told.event.type, told.event.key)) == (
        waiting.event_type and (waiting.event_type, waiting.event_key)
    )
    assert (told.children and told.children.mode) == waiting.children_mode


def _section(name: str) -> str:
    return README.split(f"**{name}**")[1].split("\n**")[0]


def _rows(section: str) -> set[str]:
    return set(re.findall(r"^\| ([a-z-]+) \| ", _section(section), re.MULTILINE)) - {"topic"}


def test_topics_are_what_the_readme_says() -> None:
    assert _rows("Consumes") == set(READ) == {topic.name for topic in TOPICS if NAME in topic.consumers}
    assert _rows("Emits") == {topic.name for topic in TOPICS if NAME in topic.producers}
    carried = {kind for topic in TOPICS if topic.name in READ for kind in topic.messages}
    assert set(ROUTES) <= carried
    assert {kind for topic in TOPICS if topic.name == "process-commands" for kind in topic.messages} <= set(ROUTES)


def test_the_readme_names_each_table() -> None:
    migrations = Path(__file__).parents[1] / "src" / "process_svc" / "migrations" / "versions"
    made = {table for page in migrations.glob("*.py") for table in re.findall(r"CREATE TABLE (\w+)", page.read_text())}
    assert made <= set(re.findall(r"`(\w+)`", README.split("**Tables**")[1]))
