"""`GET /plan`: who is expected to run what, when. `POST /simulations`: how it would be with changes."""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from kernel_contracts.base import Duration
from kernel_contracts.scheduler import AddedResources, Simulation
from kernel_runtime.database import Database
from kernel_runtime.problem import ProblemError, invalid
from pydantic import TypeAdapter, ValidationError

from scheduler_svc import texts
from scheduler_svc.domain.ahead import Run, play
from scheduler_svc.domain.demands import Skill
from scheduler_svc.domain.facts import Definition
from scheduler_svc.domain.whatif import Changes, Outcome, apply, simulate
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


async def simulated(database: Database, tenant: str, wanted: Simulation) -> dict[str, Any]:
    """The state as it is and as it would be, both played on: nothing is changed."""
    changes = Changes(
        [each for number, added in enumerate(wanted.add) for each in _added(tenant, number, added)],
        wanted.remove,
        [texts.settings_from(tenant, name, 2**31, queue) for name, queue in wanted.queues.items()],
        wanted.priorities,
    )
    async with database.connection() as connection, connection.transaction():
        now: datetime = await connection.fetchval("SELECT clock_timestamp()")
        plain = await load_state(connection, tenant, LOADED)
        changed = await load_state(connection, tenant, LOADED)
    complete = len(plain.items) < LOADED
    if unknown := apply(changed, tenant, changes, now):
        detail = f"There is no resource {unknown[0]} that could be removed."
        raise ProblemError(invalid(detail, [("/remove", detail)]))
    until = now + wanted.horizon
    before = await asyncio.to_thread(simulate, plain, tenant, now, until, LOADED)
    after = await asyncio.to_thread(simulate, changed, tenant, now, until, LOADED)
    return {
        "from": now,
        "until": until,
        "complete": complete,
        "assumes": ASSUMED,
        "as_it_is": _outcome(before),
        "changed": _outcome(after),
    }


def _added(tenant: str, number: int, added: AddedResources) -> list[Definition]:
    skills = {each if isinstance(each, str) else each.skill: each for each in added.skills}
    known = {name: Skill() if isinstance(each, str) else Skill(each.level) for name, each in skills.items()}
    return [
        Definition(
            tenant, f"added-{number + 1}-{index + 1}", added.type, True, added.capacity, 0, 1, dict(added.labels),
            frozenset(added.roles), known,
        )
        for index in range(added.count)
    ]  # fmt: skip


def _outcome(told: Outcome) -> dict[str, Any]:
    busiest = sorted(told.by_resource.items(), key=lambda each: (-each[1], each[0]))[:100]
    return {
        "begun": told.begun,
        "waiting": told.waiting,
        "wait": {"mean": round(told.mean_wait, 1), "p50": round(told.p50_wait, 1), "p95": round(told.p95_wait, 1)},
        "with_due": told.with_due,
        "late": told.late,
        "utilisation": {type: round(share, 4) for type, share in told.used.items()},
        "busiest": [{"id": id, "utilisation": round(share, 4)} for id, share in busiest],
    }
