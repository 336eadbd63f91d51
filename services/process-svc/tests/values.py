"""Processes and services as tests need them."""

from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

from kernel_contracts.vocabulary import (
    AfterMode,
    AfterOn,
    EntityAccess,
    OnExhausted,
    OnParentClose,
    ProcessState,
    ServiceKind,
    SuspendedEvents,
)
from process_svc.domain import snapshots
from process_svc.domain.process import Process
from process_svc.domain.service import Service

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def service(**changes: Any) -> Service:
    base = Service(
        name="check",
        version=1,
        kind=ServiceKind.HUMAN,
        entity_type=None,
        entity_access=EntityAccess.SHARED,
        priority=50,
        queue="default",
        expected_duration=None,
        due_in=None,
        timeout=None,
        max_attempts=1,
        backoff_initial=1.0,
        backoff_factor=2.0,
        backoff_longest=3600.0,
        on_exhausted=OnExhausted.INCIDENT,
        on_parent_close=OnParentClose.CANCEL,
        events=SuspendedEvents.CATCH_UP,
    )
    return replace(base, **changes)


def process(**changes: Any) -> Process:
    """NEW, version 1, as `create` gets it."""
    base = Process(
        pid=1,
        tenant="main",
        version=1,
        state=ProcessState.NEW,
        outcome=None,
        service="check",
        service_version=1,
        entity_type=None,
        entity_id=None,
        operator=None,
        assigned=None,
        priority=50,
        queue="default",
        key=None,
        key_hash=None,
        parent=None,
        root=1,
        after=(),
        after_mode=AfterMode.ALL,
        after_on=AfterOn.COMPLETED,
        attempt=1,
        dispatch_id=None,
        held=False,
        created_at=NOW,
        ready_at=None,
        started_at=None,
        ended_at=None,
        not_before=None,
        not_after=None,
        due=None,
        run_until=None,
        expected_duration=None,
        context="{}",
        context_version=1,
        context_hash=snapshots.link(snapshots.GENESIS, "{}"),
        output=None,
        waiting=None,
        suspended_from=None,
        suspended_at=None,
        incident=None,
        has_children=False,
        has_dependents=False,
        ended_by=None,
    )
    return sound(base.but(**changes))


MEMBERS = {field.name for field in fields(Process)}


def sound(made: Process) -> Process:
    """`but` takes any name: a wrong one shows here."""
    assert set(made.__dict__) == MEMBERS
    return made
