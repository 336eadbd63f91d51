"""`GET /plan`: who is expected to run what, when."""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from kernel_contracts.base import Duration
from kernel_runtime.database import Database
from kernel_runtime.problem import ProblemError, invalid
from pydantic import TypeAdapter, ValidationError

from scheduler_svc.domain.ahead import Run, play
from scheduler_svc.store.planner import load_state

_DURATION: TypeAdapter[timedelta] = TypeAdapter(Duration)
LOADED = 5_000
"""So many processes are looked at: all that run, then those in line by pid."""
ANSWERED = 1_000
ASSUMED = (
    "who is present stays and nobody else comes",
    "runs take as long as they were declared or learnt to",
    "nothing new arrives",
)


def horizon_of(query: Mapping[str, str], standard: str, least: timedelta, most: timedelta) -> timedelta:
    """Raises ProblemError(422)."""
    detail = f"horizon must be a duration from {least} to {most}, such as {standard}."
    try:
        horizon = _DURATION.validate_python(query.get("horizon", standard))
    except ValidationError:
        raise ProblemError(invalid(detail, [("/horizon", detail)])) from None
    if not least <= horizon <= most:
        raise ProblemError(invalid(detail, [("/horizon", detail)]))
    return horizon


async def expected(database: Database, tenant: str, query: Mapping[str, str]) -> dict[str, Any]:
    horizon = horizon_of(query, "PT8H", timedelta(minutes=1), timedelta(days=31))
    async with database.connection() as connection, connection.transaction():
        now: datetime = await connection.fetchval("SELECT clock_timestamp()")
        state = await load_state(connection, tenant, LOADED)
    complete = len(state.items) < LOADED
    waiting = sum(item.key is not None for item in state.items.values())
    runs = await asyncio.to_thread(play, state, now, now + horizon, LOADED)
    planned = sum(not run.runs for run in runs)
    return {
        "from": now,
        "until": now + horizon,
        "complete": complete and len(runs) <= ANSWERED,
        "assumes": ASSUMED,
        "waiting": waiting,
        "not_before_until": max(0, waiting - planned),
        "items": [_item(run) for run in runs[:ANSWERED]],
    }


def _item(run: Run) -> dict[str, Any]:
    return {
        "pid": run.pid,
        "service": run.service,
        "queue": run.queue,
        "state": "running" if run.runs else "planned",
        "begin": run.begin,
        "end": run.end,
        "resources": [{"type": type, "id": id} for type, id in run.resources],
    }
