"""Carries bulk jobs out: one replica at a time, by lease, one part after the other, all jobs in turn.

First what a job's filter finds is written down, in ranges of pids. Then its items go through the pipeline as commands of
who asked, some hundreds at a time and only one part at once; where others have something to do, parts become smaller and the
runner rests as long as it worked. A dry run decides on a work of its own and saves nothing of it but what it found out.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Any

import asyncpg
import orjson
import structlog
from kernel_contracts.vocabulary import CommandName, JobState
from kernel_runtime.command import Cause, Command
from kernel_runtime.database import AGAIN, Database, is_away
from kernel_runtime.pipeline import Pipeline
from kernel_runtime.problem import Problem
from pydantic import BaseModel

from process_svc.domain.jobs import progressed
from process_svc.domain.process import Process
from process_svc.handlers.bodies import JobItem, ResolveIncident, Settle
from process_svc.handlers.commands import NAMED
from process_svc.handlers.job_work import refused
from process_svc.handlers.jobs import RESOLVE, handler
from process_svc.handlers.work import Work
from process_svc.memory import Memory
from process_svc.store import attributes, filters, job_items, jobs, search
from process_svc.store.job_items import Settled
from process_svc.store.jobs import Job
from process_svc.wire import SOURCE

log = structlog.get_logger()

PART, SMALLEST = 200, 25
"""Items in one transaction, at rest and where others have something to do."""
FILLED = 5_000
"""Pids that are looked at in one transaction."""
LOOK = 1.0
"""Seconds between two looks: another replica may have made a job."""
TURN = 1_000
"""Jobs that are gone on with in turn."""
_PASSING = frozenset((429, 503))


class Runner:
    """`settling`: seconds after which every replica knows what a service has declared to be indexed."""

    def __init__(self, database: Database, pipeline: Pipeline, *, settling: float = attributes.SETTLING) -> None:
        self._settling = settling
        self._database = database
        self._pipeline = pipeline
        self._woken = asyncio.Event()
        self._memory = Memory()
        """Of dry runs: numbers and definitions of their own, for the pipeline's lane uses its own at the same time."""
        self._part = PART
        self._width: dict[int, int] = {}
        self._behind: dict[int, int] = {}

    def wake(self) -> None:
        """There is something to go on with."""
        self._woken.set()

    async def run(self, _: int) -> None:
        """Forever, while the lease is held."""
        self._behind.clear()
        while True:
            self._woken.clear()
            async with self._database.connection() as connection:
                found = await jobs.unfinished(connection, TURN)
            for job in found:
                await self._step(job)
            if not found and not await self._fill():
                self._behind.clear()
                self._width.clear()
                try:
                    async with asyncio.timeout(LOOK):
                        await self._woken.wait()
                except TimeoutError:
                    pass

    async def _fill(self) -> bool:
        """A part of the older processes of a service that declares a path to be indexed."""
        async with self._database.transaction() as connection:
            return await attributes.fill(connection, FILLED, self._settling)

    async def _step(self, job: Job) -> None:
        """One part of one job; then others get their turn. A job that can't be gone on with fails, and says why."""
        if self._pipeline.blocked is not None:
            await asyncio.sleep(LOOK)
            return
        started = time.perf_counter()
        try:
            await (self._carry_out(job) if job.collected else self._collect(job))
        except AGAIN:
            return
        except Exception as error:
            if is_away(error):
                raise
            await self._fail(job, error)
        if self._pipeline.busy:
            self._part = max(SMALLEST, self._part // 2)
            await asyncio.sleep(time.perf_counter() - started)
        else:
            self._part = min(PART, self._part + SMALLEST)
            await asyncio.sleep(0)

    async def _fail(self, job: Job, error: Exception) -> None:
        log.error("job.failed", job=job.id, exc_info=error)
        async with self._database.transaction() as connection:
            locked = (await jobs.lock(connection, [job.id]))[job.id]
            if locked.ended_at is None:
                locked.state, locked.error = JobState.FAILED, str(error) or type(error).__name__
                locked.ended_at = await connection.fetchval("SELECT clock_timestamp()")
                await jobs.update(connection, locked)

    # What it is for

    async def _collect(self, job: Job) -> None:
        """The next range of pids: as wide as a tenth of a second allows."""
        width = self._width.setdefault(job.id, 20_000)
        started = time.perf_counter()
        try:
            async with self._database.transaction() as connection:
                await connection.execute("SET LOCAL plan_cache_mode = force_custom_plan")
                locked = (await jobs.lock(connection, [job.id])).get(job.id)
                if locked is None or locked.state is not JobState.COLLECTING:
                    return
                found = filters.parsed(filters.pairs(orjson.loads(locked.filter)), locked.tenant, "/filter")
                await search.resolve(connection, found, thorough=True)
                if locked.kind == "incidents":
                    found.clauses.append("incident IS NOT NULL")
                until = min(locked.reached + width, locked.bound)
                locked.total += await jobs.collect(connection, locked, found, until)
                locked.reached, locked.collected = until, until >= locked.bound
                now = await connection.fetchval("SELECT clock_timestamp()")
                locked.state = progressed(locked.state, collected=locked.collected, total=locked.total, settled=0)
                if locked.collected:
                    locked.started_at = now
                if locked.state is JobState.COMPLETED:
                    locked.ended_at = now
                await jobs.update(connection, locked)
        except (TimeoutError, asyncpg.QueryCanceledError):
            if width == 1:
                raise
            self._width[job.id] = max(1, width // 10)
            return
        spent = time.perf_counter() - started
        self._width[job.id] = min(5_000_000, width * 2) if spent < 0.1 else max(1_000, width // 2)

    # Its items

    async def _carry_out(self, job: Job) -> None:
        async with self._database.connection() as connection:
            left = await job_items.left(connection, job.id, self._behind.get(job.id, 0), self._part)
        if not left:
            self._behind.pop(job.id, None)  # once more from the start: one may have been left behind
            return
        inner = [_command(job, item, pid) for item, pid in left]
        settled = await (self._decided if job.dry_run else self._done)(job, left, inner)
        if settled is None:
            await asyncio.sleep(LOOK)
            return
        if settled:
            body = Settle(job.id, settled)
            id = f"job-{job.id}"
            result = await self._pipeline.submit(Command(id, "job_settle", job.tenant, body, SOURCE, Cause(None, id)))
            if isinstance(result, Problem):
                await asyncio.sleep(LOOK)
                return
        self._behind[job.id] = left[-1][0]

    async def _done(self, job: Job, left: Sequence[tuple[int, int]], inner: Sequence[Command]) -> list[Settled] | None:
        """Carries them out; those that broke. None: the database is away, the same again later."""
        results = await self._pipeline.submit_all(
            [
                Command(each.id, "job_item", each.tenant, JobItem(job.id, item, each), each.by, each.cause)
                for (item, _), each in zip(left, inner, strict=True)
            ]
        )
        broken = []
        for (item, _), result in zip(left, results, strict=True):
            if isinstance(result, Exception) or (isinstance(result, Problem) and result.status in _PASSING):
                return None
            if isinstance(result, Problem):
                broken.append(refused(job.id, item, result))
        return broken

    async def _decided(
        self, job: Job, left: Sequence[tuple[int, int]], inner: Sequence[Command]
    ) -> list[Settled] | None:
        """What would become of each, in their order; relatives apart. None: the same again later."""
        try:
            return await self._scratch(job, left, inner)
        except AGAIN:
            return None
        except Exception as error:
            if is_away(error):
                raise
            if len(left) > 1:  # one of them breaks the others
                singly = [
                    await self._decided(job, [each], [command]) for each, command in zip(left, inner, strict=True)
                ]
                return [settled for found in singly if found is not None for settled in found]
            log.error("job.item_broken", job=job.id, item=left[0][0], exc_info=error)
            return [
                refused(job.id, left[0][0], Problem(500, "Internal error", "This is a defect of ours; it was logged."))
            ]

    async def _scratch(self, job: Job, left: Sequence[tuple[int, int]], inner: Sequence[Command]) -> list[Settled]:
        """Decides on a work that is not saved."""
        settled: list[Settled] = []
        with contextlib.suppress(_NothingIsSaved):
            async with self._database.transaction() as connection:
                work = Work(self._memory)
                await work.load(connection, inner)
                now = await connection.fetchval("SELECT clock_timestamp()")
                for (item, pid), command in zip(left, inner, strict=True):
                    before = work.processes.get(pid)
                    result = handler(command.name)(work, command, now)
                    if isinstance(result, Problem) or before is None:
                        problem = result if isinstance(result, Problem) else Problem(404, "Not found", "It is gone.")
                        settled.append(refused(job.id, item, problem))
                    else:
                        change = orjson.dumps(_change(before, work.processes[pid], work.changes(pid))).decode()
                        settled.append(Settled(job.id, item, "done", None, change))
                raise _NothingIsSaved
        return settled


def _change(before: Process, after: Process, changes: dict[str, Any]) -> dict[str, Any]:
    found = {"from": before.state, "to": after.state, "outcome": after.outcome}
    return {**found, "changes": changes} if changes else found


class _NothingIsSaved(Exception):
    """Rolls a dry run back."""


def _command(job: Job, item: int, pid: int) -> Command:
    """As who asked for the job would give it; caused by the job."""
    id = f"job-{job.id}"
    given = orjson.loads(job.body)
    model: type[BaseModel]
    if job.kind == "incidents":
        name, model, given = RESOLVE, ResolveIncident, {**given, "id": item}
    else:
        name, model, given = job.command, NAMED[CommandName(job.command)], {**given, "pid": pid}
    return Command(
        f"{id}-{item}",
        name,
        job.tenant,
        model.model_validate(given),
        job.by,
        Cause(id, job.correlation),
        roles=frozenset(job.roles),
        operator=job.operator,
    )
