"""Bulk: one command to all that a filter finds, carried out as a job. Asked over HTTP alone."""

from typing import Literal

from pydantic import Field

from kernel_contracts.base import Command, Event, JsonObject, Name, Text, Time
from kernel_contracts.vocabulary import JobState


class BulkCommand(Command):
    """`filter` has the members of the query of GET /processes; `{}` are all that the command is legal for.

    Where neither `state` nor `not_state` is in it, only processes in states that the command is legal in are taken.
    """

    filter: JsonObject
    command: str
    body: JsonObject = {}
    dry_run: bool = False


class BulkResolve(Command):
    """Resolves the open incidents of the processes that `filter` finds; `incident_type` and `assignee` are its own members."""

    filter: JsonObject
    action: Literal["retry", "skip", "rollback", "terminate"]
    context: JsonObject | None = None
    output: JsonObject | None = None
    version: int | None = Field(default=None, ge=1)
    reason: Text | None = None
    dry_run: bool = False


class BulkMigrate(Command):
    """Takes processes of `service` from the version (or versions) `from` to the version `to`; all alive where `from` is none."""

    service: Name
    from_: int | list[int] | None = Field(default=None, alias="from")
    to: int = Field(ge=1)
    filter: JsonObject = {}
    context_patch: JsonObject | None = None
    reason: Text | None = None
    dry_run: bool = False


class Job(Event):
    """`total` is what the filter finds: an estimate while it is collecting, then what was fixed.

    `done` and `failed` are settled; the rest is left. Of a dry run `done` would be done, and `failed` would be refused.
    """

    id: int
    kind: Literal["processes", "incidents"]
    command: str
    filter: JsonObject
    body: JsonObject
    dry_run: bool
    state: JobState
    total: int
    done: int
    failed: int
    by: str
    created_at: Time
    started_at: Time | None = None
    ended_at: Time | None = None
    error: str | None = None


class JobChange(Event):
    """What a dry run says would become of a process."""

    from_: str = Field(alias="from")
    to: str
    outcome: str | None = None
    changes: JsonObject = {}
    """Attribute -> [before, after], as its history would tell them."""


class JobItem(Event):
    """`status`: pending, done, failed, or cancelled with its job. `problem` says why it failed."""

    pid: int
    incident: int | None = None
    status: Literal["pending", "done", "failed", "cancelled"]
    problem: JsonObject | None = None
    change: JobChange | None = None
