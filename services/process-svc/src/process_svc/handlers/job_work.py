"""The bulk jobs that a batch touches: locked, their items settled in the transaction of their effect."""

from collections.abc import Iterable
from datetime import datetime

import orjson
from kernel_contracts.vocabulary import JobState
from kernel_runtime.database import Connection
from kernel_runtime.problem import Problem

from process_svc.domain.jobs import ENDED, progressed
from process_svc.handlers.touch import Touched
from process_svc.memory import Memory
from process_svc.store import job_items, jobs
from process_svc.store.job_items import Settled
from process_svc.store.jobs import Job


class JobWork:
    """Part of a Work that has to do with jobs. Jobs are locked before processes."""

    def __init__(self, memory: Memory) -> None:
        self.ids = memory.jobs
        self.jobs: dict[int, Job] = {}
        self.newest_pid = 0
        self.wakes = False
        """There is something to go on with."""
        self._unsettled: set[tuple[int, int]] = set()
        self._settled: list[Settled] = []
        self._made: list[Job] = []
        self._changed: dict[int, None] = {}

    async def load(self, connection: Connection, found: Touched) -> None:
        if found.new_jobs:
            await self.ids.have(connection, found.new_jobs)
            self.newest_pid = await jobs.newest_pid(connection)
        if found.jobs:
            self.jobs = await jobs.lock(connection, found.jobs)
        if found.job_items:
            self._unsettled = await job_items.unsettled(connection, found.job_items)

    def make(self, job: Job) -> None:
        self.jobs[job.id] = job
        self._made.append(job)
        self.wakes = True

    def change(self, job: Job, state: JobState, now: datetime) -> None:
        """To `state`, with the times that go with it."""
        job.state = state
        if state in ENDED:
            job.ended_at = now
        self.wakes = self.wakes or state in (JobState.RUNNING, JobState.COLLECTING)
        self._changed[job.id] = None

    def takes(self, job: int, item: int) -> bool:
        """Whether an item is to be carried out: once, and only while its job runs."""
        found = self.jobs.get(job)
        return found is not None and found.state is JobState.RUNNING and (job, item) in self._unsettled

    def settle(self, items: Iterable[Settled], now: datetime) -> None:
        """Those that are not settled yet, of a job that has not ended."""
        for each in items:
            job = self.jobs.get(each.job)
            if job is None or job.state in ENDED or (each.job, each.item) not in self._unsettled:
                continue
            self._unsettled.discard((each.job, each.item))
            self._settled.append(each)
            if each.status == "done":
                job.done += 1
            else:
                job.failed += 1
            self._changed[job.id] = None
            state = progressed(job.state, collected=job.collected, total=job.total, settled=job.done + job.failed)
            if state is not job.state:
                self.change(job, state, now)

    async def save(self, connection: Connection) -> None:
        for job in self._made:
            await jobs.insert(connection, job)
        for id in self._changed:
            await jobs.update(connection, self.jobs[id])
        if self._settled:
            await job_items.settle(connection, self._settled)


def refused(job: int, item: int, problem: Problem) -> Settled:
    return Settled(job, item, "failed", orjson.dumps(problem.as_dict()).decode())
