"""Ids, and what processes and events look like from inside a rule."""

import uuid
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_contracts import message_types as types
from kernel_contracts.envelope import Envelope
from kernel_contracts.process import ProcessEvent
from rules_svc import wire

from .pcb import pcb

NOW = datetime(2026, 11, 25, tzinfo=UTC)


@given(st.lists(st.text() | st.integers(), max_size=5))
def test_ids_are_uuids_of_version_5(parts: list[Any]) -> None:
    id = wire._id(*parts)
    assert id == str(uuid.uuid5(wire._NAMESPACE, "\x1f".join(map(str, parts))))
    assert wire.is_ours(id)
    assert wire.is_ours(id.encode())


@pytest.mark.parametrize(
    "id", [None, "", "5.3", "0f8fad5bd9cb469fa16570867728950e", "7c9e6679-7425-40de-944b-e07fc1f90ae7", "x" * 36]
)
def test_other_ids_are_not_ours(id: str | None) -> None:
    assert not wire.is_ours(id)


def test_the_source_of_a_rule_fits_into_a_header() -> None:
    assert wire.rule_source("a b/ü") == "/kernel/rules-svc/a%20b%2F%C3%BC"
    assert len(wire.rule_source("\U0001f600" * 200)) < 100
    assert wire.rule_source("\U0001f600" * 200) != wire.rule_source("\U0001f601" * 200)


def news(body: Any, type: str = types.PROCESS_READY, **more: bool) -> wire.ProcessNews:
    envelope = Envelope("7.2", type, "/kernel/process-svc", "", "main", version=2, depth=3)
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return wire.process_news(envelope, raw, **{"wanted": True, "body_needed": True, **more})


def test_every_member_of_the_pcb_is_there() -> None:
    received = news({"pid": 7, "service": "s", "state": "READY", "version": 2}).received
    assert received is not None
    assert received.process is not None
    assert set(ProcessEvent.model_fields) <= set(received.process)
    assert (received.process["due"], received.process["after"], received.process["priority"]) == (None, [], 50)
    assert (received.event.pid, received.event.depth, received.cause.depth) == (7, 3, 4)
    assert received.view["subject"] == "7"


def test_what_is_not_about_a_process_state_knows_its_pid() -> None:
    received = news({"id": 1, "pid": 7, "state": "open"}, types.INCIDENT_OPENED).received
    assert received is not None
    assert received.process == {"pid": 7}
    assert received.entity is None


def test_without_need_the_body_is_not_read() -> None:
    told = news(b"not json", wanted=False, body_needed=False)
    assert (told.pid, told.version, told.body, told.received) == (7, 2, None, None)


@pytest.mark.parametrize("raw", [b"", b"not json", b"[]", b"7", b"null"])
def test_rubbish_is_a_value_error(raw: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - orjson's own message is good enough
        news(raw)


@pytest.mark.parametrize(
    "body", [{}, {"pid": "7"}, {"pid": True, "entity": 3}, {**pcb(7, 2, "READY"), "entity": {"id": 1}}]
)
def test_odd_bodies_are_borne(body: Any) -> None:
    assert news(body).received is not None
