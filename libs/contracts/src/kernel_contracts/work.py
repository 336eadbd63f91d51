"""process-svc: how programs take automatic work and answer it."""

import json
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from kernel_contracts.base import Command, Duration, JsonObject, Name, Text
from kernel_contracts.process import Failure

LONGEST_WAIT = timedelta(seconds=60)
SHORTEST_LEASE, LONGEST_LEASE = timedelta(seconds=1), timedelta(days=1)
MOST = 100
"""Processes in one claim."""
MAX_PROGRESS = 4_096
"""Bytes of a progress report."""

Token = Annotated[int, Field(ge=1, lt=2**63)]
Pid = Annotated[int, Field(ge=1, lt=2**63)]


def _wait(value: timedelta) -> timedelta:
    if value > LONGEST_WAIT:
        raise ValueError(f"at most {LONGEST_WAIT.total_seconds():g} seconds; ask again after that")
    return value


def _lease(value: timedelta) -> timedelta:
    if not SHORTEST_LEASE <= value <= LONGEST_LEASE:
        raise ValueError("a lease lasts 1 second to 1 day; heartbeats extend it")
    return value


def _progress(value: dict[str, Any]) -> dict[str, Any]:
    if len(json.dumps(value)) > MAX_PROGRESS:
        raise ValueError(f"progress may have {MAX_PROGRESS:,} bytes")
    return value


Lease = Annotated[Duration, AfterValidator(_lease)]


class ClaimWork(Command):
    """Take up to `max` running processes of these services; waits up to `wait` where there are none.

    `worker` names who asks: it is shown beside what it holds. Each process is held for `lease` (the definition says
    where it is left out) and longer by heartbeats.
    """

    services: Annotated[list[Name], Field(min_length=1, max_length=100)]
    worker: Name
    max: Annotated[int, Field(ge=1, le=MOST)] = 1
    wait: Annotated[Duration, AfterValidator(_wait)] = timedelta(0)
    lease: Lease | None = None


class Heartbeat(Command):
    """The worker lives: its lease lasts `lease` from now on, or as long as before. `progress` replaces what was told."""

    pid: Pid
    token: Token
    progress: Annotated[JsonObject, AfterValidator(_progress)] | None = None
    lease: Lease | None = None


class WorkAnswer(Command):
    """What came of one: `output`, or `error`, or `release` where somebody else is to do it."""

    pid: Pid
    token: Token
    output: JsonObject | None = None
    error: Failure | None = None
    release: bool = False
    reason: Text | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> "WorkAnswer":
        if (self.output is not None) + (self.error is not None) + self.release != 1:
            raise ValueError("an answer has exactly one of output, error and release: true")
        return self
