"""Bulk jobs: written down, locked, listed, and what their filters find collected."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import orjson
from kernel_contracts.vocabulary import JobState
from kernel_runtime.database import Connection

from process_svc.store.filters import Filter


@dataclass(slots=True)
class Job:
    """`filter` and `body` are JSON; `bound` and `reached` are pids; `expected` is what was counted when it was asked for."""

    id: int
    tenant: str
    kind: str
    command: str
    filter: str
    body: str
    dry_run: bool
    state: JobState
    collected: bool
    bound: int
    reached: int
    expected: int
    total: int
    done: int
    failed: int
    by: str
    roles: Sequence[str]
    operator: str | None
    correlation: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    error: str | None

    def as_dict(self) -> dict[str, Any]:
        """As the public face has it."""
        return {
            "id": self.id,
            "kind": self.kind,
            "command": self.command,
            "filter": orjson.Fragment(self.filter),
            "body": orjson.Fragment(self.body),
            "dry_run": self.dry_run,
            "state": self.state,
            "total": self.total if self.collected else max(self.expected, self.total),
            "done": self.done,
            "failed": self.failed,
            "by": self.by,
            "created_at": self.created_at,
            "started_at": self.started_at,
            "ended_at": self.ended_at,
            "error": self.error,
        }


_NAMES = [field.name for field in fields(Job)]
_COLUMNS = ", ".join(_NAMES)
_INSERT = f"INSERT INTO job ({_COLUMNS}) VALUES ({', '.join(f'${n}' for n in range(1, len(_NAMES) + 1))})"
_UPDATE = (
    "UPDATE job SET state = $2, collected = $3, reached = $4, total = $5, done = $6, failed = $7, started_at = $8,"
    " ended_at = $9, error = $10, moved_at = clock_timestamp() WHERE id = $1"
)


def _job(row: Any) -> Job:
    return Job(**{**row, "state": JobState(row["state"])})


async def insert(connection: Connection, job: Job) -> None:
    await connection.execute(_INSERT, *(getattr(job, name) for name in _NAMES))


async def update(connection: Connection, job: Job) -> None:
    await connection.execute(
        _UPDATE,
        job.id,
        job.state.value,
        job.collected,
        job.reached,
        job.total,
        job.done,
        job.failed,
        job.started_at,
        job.ended_at,
        job.error,
    )


async def lock(connection: Connection, ids: Iterable[int]) -> dict[int, Job]:
    """These jobs; nobody else settles their items until the transaction ends."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM job WHERE id = ANY($1::bigint[]) ORDER BY id FOR UPDATE", sorted(set(ids))
    )
    return {row["id"]: _job(row) for row in rows}


async def one(connection: Connection, tenant: str, id: int) -> Job | None:
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM job WHERE id = $1 AND tenant = $2", id, tenant)
    return None if row is None else _job(row)


async def page(connection: Connection, tenant: str, state: str | None, before: int | None, limit: int) -> list[Job]:
    """Newest first."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM job WHERE tenant = $1 AND ($2::text IS NULL OR state = $2)"
        " AND ($3::bigint IS NULL OR id < $3) ORDER BY id DESC LIMIT $4",
        tenant,
        state,
        before,
        limit,
    )
    return [_job(row) for row in rows]


async def count(connection: Connection, tenant: str, state: str | None) -> int:
    number = await connection.fetchval(
        "SELECT count(*) FROM job WHERE tenant = $1 AND ($2::text IS NULL OR state = $2)", tenant, state
    )
    assert isinstance(number, int)
    return number


async def unfinished(connection: Connection, limit: int) -> list[Job]:
    """Those that somebody has to go on with, oldest first."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM job WHERE ended_at IS NULL AND state <> 'paused' ORDER BY id LIMIT $1", limit
    )
    return [_job(row) for row in rows]


async def newest_pid(connection: Connection) -> int:
    """No process has a greater one yet."""
    return int(await connection.fetchval("SELECT coalesce(max(pid), 0) FROM process"))


async def collect(connection: Connection, job: Job, found: Filter, until: int) -> int:
    """Writes down what `found` finds behind `job.reached` up to `until`; how many."""
    item = "incident" if job.kind == "incidents" else "pid"
    n = len(found.values)
    status = await connection.execute(
        f"INSERT INTO job_item (job, item, pid) SELECT ${n + 1}::bigint, {item}, pid FROM process"
        f" WHERE {found.where} AND pid > ${n + 2}::bigint AND pid <= ${n + 3}::bigint"
        " ORDER BY pid ON CONFLICT (job, item) DO NOTHING",
        *found.values,
        job.id,
        job.reached,
        until,
        timeout=25,
    )
    return int(status.rsplit(" ", 1)[1])
