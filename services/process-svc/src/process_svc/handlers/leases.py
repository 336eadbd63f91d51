"""The part of a batch that is about leases: which are locked, and which begin and end with its changes."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from kernel_contracts.vocabulary import ServiceKind
from kernel_runtime.database import Connection

from process_svc.catalog import Entry
from process_svc.domain.lease import USUAL, Lease, first_token, open_to_workers
from process_svc.domain.process import Process
from process_svc.memory import Takers
from process_svc.store import leases as store
from process_svc.store.leases import NewLease


class Leases:
    """Nothing is asked of the database where no program is concerned."""

    def __init__(self) -> None:
        self.locked: dict[int, Lease] = {}
        self.states: dict[int, tuple[str, str]] = {}
        """pid -> (tenant, state) of processes whose lease was asked for alone, and is not there."""
        self._new: list[NewLease] = []
        self._taken: Mapping[int, Any] = {}
        self._ended: set[int] = set()
        self._begun: dict[int, tuple[Entry, datetime]] = {}
        self._priorities: dict[int, int] = {}
        self._beats: dict[int, tuple[float, datetime, str | None]] = {}

    async def load(self, connection: Connection, pids: Iterable[int], beats: Iterable[int]) -> None:
        """After the processes are locked. `beats`: where only the lease is touched."""
        self.locked |= await store.lock(connection, [pid for pid in {*pids, *beats} if pid < 2**63])
        if missing := [pid for pid in beats if pid not in self.locked and pid < 2**63]:
            self.states = await store.states(connection, missing)

    def follow(self, before: Process, kind: ServiceKind, after: Process, entry: Entry, now: datetime) -> None:
        """A lease begins with a dispatch and ends when the process leaves RUNNING. `kind`: of the service before."""
        pid = after.pid
        had, has = open_to_workers(before, kind), open_to_workers(after, entry.service.kind)
        if had and has and before.dispatch_id == after.dispatch_id:
            if before.priority != after.priority:
                self._priorities[pid] = after.priority
            return
        if had:
            self.locked.pop(pid, None)
            if self._begun.pop(pid, None) is None:
                self._ended.add(pid)
        if has:
            self._begun[pid] = (entry, now)

    def extend(self, lease: Lease, seconds: float | None, progress: str | None, now: datetime) -> datetime:
        """Until when it is held from now on."""
        lasts = seconds or lease.seconds
        until = now + timedelta(seconds=lasts)
        if progress is None and lease.pid in self._beats:
            progress = self._beats[lease.pid][2]
        self._beats[lease.pid] = (lasts, until, progress)
        return until

    async def save(self, connection: Connection, processes: Mapping[int, Process], takers: Takers | None) -> None:
        """What somebody waits for in this replica is handed out by the same row."""
        if self._beats:
            await store.extend(connection, [(pid, *beat) for pid, beat in self._beats.items()])
        if self._priorities:
            await store.prioritize(connection, list(self._priorities.items()))
        if self._ended:
            await store.drop(connection, self._ended)
        if self._begun:
            new = [_new(processes[pid], *begun) for pid, begun in self._begun.items()]
            self._taken = (
                {} if takers is None else takers.reserve([each for each in new if processes[each.pid].context])
            )
            self._new = [_claimed(lease, self._taken.get(lease.pid)) for lease in new]
            await store.add(connection, self._new)

    def committed(self, processes: Mapping[int, Process], takers: Takers | None) -> None:
        if not self._new or takers is None:
            return
        taken: dict[Any, list[Mapping[str, Any]]] = {}
        for lease in self._new:
            if (taker := self._taken.get(lease.pid)) is not None:
                taken.setdefault(taker, []).append(_row(processes[lease.pid], lease))
        if taken:
            takers.hand_over(taken)
        if len(self._taken) < len(self._new):
            takers.offer({(lease.tenant, lease.service) for lease in self._new if lease.worker is None})

    def abandoned(self, takers: Takers | None) -> None:
        if self._taken and takers is not None:
            takers.free(set(self._taken.values()))


def _claimed(lease: NewLease, taker: Any) -> NewLease:
    if taker is None:
        return lease
    seconds = taker.seconds or lease.seconds
    return lease._replace(
        token=lease.token + 1,
        seconds=seconds,
        worker=taker.worker,
        claimed_by=taker.by,
        until=lease.at + timedelta(seconds=seconds),
    )


def _row(process: Process, lease: NewLease) -> dict[str, Any]:
    """As `store.leases.claim` gives one."""
    return {**process.__dict__, "token": lease.token, "seconds": lease.seconds, "until": lease.until}


def _new(process: Process, entry: Entry, now: datetime) -> NewLease:
    assert process.dispatch_id is not None
    return NewLease(
        process.pid,
        process.tenant,
        process.dispatch_id,
        process.service,
        entry.definition.roles,
        process.operator,
        process.priority,
        now,
        first_token(process.version),
        entry.service.heartbeat or USUAL,
    )
