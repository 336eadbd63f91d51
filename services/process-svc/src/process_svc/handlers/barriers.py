"""The part of a batch that is about barriers: who arrives, who leaves, which open.

Who arrives holds the barrier's lock, so one of them is the last, and opens it. The others are told by the follow-up `open`. Who
leaves (ended, woken, rolled back, out of time) needs no lock: it has either left before the last came, or been let through.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import orjson
from kernel_contracts.vocabulary import CommandName, OnTimeout
from kernel_runtime.database import Connection
from kernel_runtime.problem import Problem, conflict

from process_svc.domain import barriers as decisions
from process_svc.domain.process import Decision, Process, Waiting
from process_svc.domain.states import RUNNING, SUSPENDED
from process_svc.domain.steps import illegal
from process_svc.store import barriers as store
from process_svc.store.barriers import Barrier, Member, Place
from process_svc.store.follow_ups import FollowUp


class Barriers:
    """Nothing is asked of the database where no barrier is concerned."""

    def __init__(self) -> None:
        self._at: dict[Place, Barrier] = {}
        self._rounds: dict[int, int] = {}
        self._changed: dict[int, Barrier] = {}
        self._entered: dict[Member, None] = {}
        self._left: dict[Member, None] = {}
        self.opened: dict[int, tuple[int, int]] = {}
        """Who came last -> (barrier, round)."""
        self._now: datetime | None = None

    async def load(
        self,
        connection: Connection,
        processes: Mapping[int, Process],
        arrivals: Iterable[tuple[int, str]],
        ticks: set[int],
    ) -> None:
        """After the locks. `arrivals`: (pid, name) each; `ticks`: processes whose time may have come."""
        places = {
            place(processes[pid], name)
            for pid, name in arrivals
            if pid in processes and processes[pid].state is RUNNING
        }
        if places:
            self._at = await store.lock(connection, places)
        ids = [
            each.waiting.barrier
            for each in processes.values()
            if each.waiting is not None
            and each.waiting.barrier is not None
            and (each.state is SUSPENDED or each.pid in ticks)
        ]
        if ids:
            self._rounds = await store.rounds(connection, ids)

    def passed(self, waiting: Waiting | None) -> bool:
        """Whether the barrier that a suspended process, or one whose time is up, has arrived at has opened meanwhile."""
        if waiting is None or waiting.barrier is None:
            return False
        return self._rounds.get(waiting.barrier, 0) > waiting.round

    def arrive(
        self,
        process: Process,
        command: CommandName,
        name: str,
        parties: int,
        limit: tuple[datetime | None, OnTimeout],
        now: datetime,
        reason: str | None,
    ) -> Decision | Problem:
        """`limit`: until when it waits, and what happens then."""
        if process.state is not RUNNING:
            return illegal(process, command)
        barrier = self._at[place(process, name)]
        if barrier.members and barrier.parties != parties:
            return conflict(
                "Parties differ",
                f"{len(barrier.members)} of {barrier.parties} parties have arrived at the barrier {name!r};"
                f" process {process.pid} expects {parties}.",
                parties=barrier.parties,
                arrived=len(barrier.members),
            )
        told = {"name": name, "parties": parties, "round": barrier.round}
        waiting = Waiting(timeout=limit[0], on_timeout=limit[1], barrier=barrier.id, round=barrier.round, told=told)
        last = len(barrier.members) + 1 >= parties
        barrier.parties = parties
        self._changed[barrier.id] = barrier
        self._now = now
        if not last:
            barrier.members.add(process.pid)
            self._entered[barrier.id, barrier.round, process.pid] = None
        else:
            if barrier.members:
                self.opened[process.pid] = (barrier.id, barrier.round)
            barrier.round += 1
            barrier.members = set()
        return decisions.arrive(process, command, waiting, now, reason, last=last)

    def opened_by(self, pid: int) -> str | None:
        """What the follow-up `open` of this process says, where it came last to others."""
        found = self.opened.pop(pid, None)
        return None if found is None else orjson.dumps({"barrier": found[0], "round": found[1]}).decode()

    def leave(self, before: Process, after: Process) -> None:
        """It waits there no more: for whatever reason."""
        waiting, now = before.waiting, after.waiting
        if waiting is None or waiting.barrier is None or (now is not None and now.barrier is not None):
            return
        self._forget(waiting.barrier, waiting.round, before.pid)
        for barrier in self._at.values():
            if (barrier.id, barrier.round) == (waiting.barrier, waiting.round):
                barrier.members.discard(before.pid)

    def told(self, follow_up: FollowUp, pids: Iterable[int]) -> None:
        """These know that it has opened."""
        barrier, number = opened_at(follow_up)
        for pid in pids:
            self._forget(barrier, number, pid)

    def _forget(self, barrier: int, number: int, pid: int) -> None:
        member = (barrier, number, pid)
        if member in self._entered:
            del self._entered[member]
        else:
            self._left[member] = None

    async def save(self, connection: Connection) -> None:
        if self._changed:
            await store.save(connection, self._changed.values())
        if self._left:
            await store.leave(connection, self._left)
        if self._entered:
            assert self._now is not None
            await store.enter(connection, list(self._entered), self._now)


def place(process: Process, name: str) -> Place:
    """A barrier is known within the entity of its processes; among those without one, within the tenant."""
    return process.tenant, process.entity_type or "", process.entity_id or "", name


def opened_at(follow_up: FollowUp) -> tuple[int, int]:
    """(barrier, round) of a follow-up `open`."""
    assert follow_up.data is not None
    said: dict[str, Any] = orjson.loads(follow_up.data)
    return said["barrier"], said["round"]
