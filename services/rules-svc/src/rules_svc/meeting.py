"""Who meets whom in one batch: events look for processes, processes look for events; and what did not reach its process."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

import orjson
from kernel_contracts.vocabulary import Meets
from kernel_runtime.command import Message
from kernel_runtime.database import Connection

from rules_svc import wire
from rules_svc.domain import waits as domain
from rules_svc.domain.waits import Call, Wait
from rules_svc.store import meetings as store
from rules_svc.store.meetings import Spread, Target

MOST = 500
"""Processes that are woken in one transaction; the others in further ones."""
BYTES = 8 * 1024 * 1024
"""Of what they are woken with, together."""


class Meetings:
    """Part of a batch's work; `waits` are those at hand, by pid."""

    def __init__(self) -> None:
        self.waits: dict[int, Wait] = {}
        self.messages: list[Message] = []
        self.left = False
        """Whether something is left to be spread further."""
        self._touched: set[int] = set()
        self._gone: set[int] = set()
        self._begun: set[int] = set()
        self._unmet: list[tuple[bytes, int]] = []
        self._calls: list[tuple[Call, list[int], bytes]] = []
        """With whom each has met, and the key of its event."""
        self._further: set[int] = set()
        """Places in `_calls` of those that go on from an earlier batch."""
        self._spreads: dict[int, Spread] = {}
        self._left: list[Spread] = []

    async def load(
        self,
        connection: Connection,
        events: set[Target],
        waits: set[Target],
        pids: Sequence[int],
        spreads: Sequence[int],
    ) -> None:
        """`events`, `waits`: of which types some come in, begin. `spreads`: ids of calls that go on."""
        if events or waits:
            await store.lock(connection, events, waits)
        if spreads:
            self._spreads = await store.take_spreads(connection, spreads)
        if pids:
            self.waits = await store.waits_of(connection, pids)

    # While it is decided

    def call(self, call: Call, met: list[int], event: bytes) -> None:
        """It looks for processes; `met` is filled with whom it finds."""
        self._calls.append((call, met, event))

    def go_on(self, id: int) -> None:
        spread = self._spreads.get(id)
        if spread is not None:
            self._further.add(len(self._calls))
            self._calls.append((spread.call, [], spread.event))

    def put(self, wait: Wait, now: datetime, *, begins: bool) -> None:
        """The process waits (or still does); what it was woken with before is sent again for this version.

        `begins`: as the process says. Where it does not, and a wake is gone, the process can't take what that brought.
        """
        before = self.waits.get(wait.pid)
        if begins and before is not None and before.wake is not None and wait.wake is None:
            self._unmet.append((_event(before), wait.pid))
        self.waits[wait.pid] = wait
        self._touched.add(wait.pid)
        self._gone.discard(wait.pid)
        if wait.wake is not None:
            self.messages.append(wire.wake_process(wait, now))
        elif begins:
            self._begun.add(wait.pid)

    def end(self, pid: int, *, taken: bool) -> None:
        """`taken`: what it was woken with has woken it; otherwise that may be for somebody else."""
        before = self.waits.pop(pid, None)
        if before is not None and before.wake is not None and not taken:
            self._unmet.append((_event(before), pid))
        self._touched.discard(pid)
        self._begun.discard(pid)
        self._gone.add(pid)

    # After the decisions

    async def meet(self, connection: Connection, now: datetime) -> None:
        """Saves the waits; then events find who waits for them."""
        if self._touched or self._gone:
            await store.save_waits(connection, [self.waits[pid] for pid in self._touched], sorted(self._gone))
        if self._calls:
            await self._find_waits(connection, now)

    async def _find_waits(self, connection: Connection, now: datetime) -> None:
        calls = [call for call, _, _ in self._calls]
        most = max(10, min(MOST, BYTES // max(len(call.wake) for call in calls)))
        there = await store.waiting(connection, calls, most + 1)
        if not there:
            return
        found = domain.meet(calls, there[:most])
        for index, wait in found:
            self._calls[index][1].append(wait.pid)
        self._wake([(wait, calls[index].wake) for index, wait in found], now)
        await store.give(connection, [wait.pid for _, wait in found], [calls[index].wake for index, _ in found])
        further: dict[bytes, list[int]] = {}
        for place in self._further:
            _, met, event = self._calls[place]
            if met:
                further.setdefault(event, []).extend(met)
        if further:
            await store.correlate(connection, further)
        if len(there) > most:
            last = there[most - 1].pid
            self._left += [
                Spread(event, replace(call, after=max(last, call.after)))
                for call, met, event in self._calls
                if not (met and call.meets is Meets.ONE)
            ]

    async def find_kept(self, connection: Connection, now: datetime) -> None:
        """Who has begun to wait finds what was kept; after the events of this batch were saved."""
        looking = [wait for pid in sorted(self._begun) if (wait := self.waits[pid]).wake is None]
        while looking:
            chosen = domain.choose(await store.kept(connection, looking))
            by_event: dict[bytes, list[int]] = {}
            for pid, each in chosen.items():
                by_event.setdefault(each.event, []).append(pid)
            wakes = await store.take(connection, by_event) if by_event else {}
            met = [(self.waits[pid], wakes[each.event]) for pid, each in chosen.items() if each.event in wakes]
            if not met:
                return
            self._wake(met, now)
            await store.give(connection, [wait.pid for wait, _ in met], [wake for _, wake in met])
            looking = [wait for wait in looking if self.waits[wait.pid].wake is None]

    def _wake(self, met: Iterable[tuple[Wait, str]], now: datetime) -> None:
        for wait, wake in met:
            woken = replace(wait, wake=wake)
            if wait.pid in self.waits:
                self.waits[wait.pid] = woken
            self.messages.append(wire.wake_process(woken, now))

    async def leave(self, connection: Connection) -> None:
        """What is free again, and what has not reached everybody, goes on in a further batch."""
        if self._unmet:
            self._left += await store.give_back(connection, self._unmet)
        if self._left:
            await store.add_spreads(connection, self._left)
            self.left = True

    @property
    def touched(self) -> set[int]:
        return self._touched

    @property
    def gone(self) -> set[int]:
        return self._gone


def _event(wait: Wait) -> bytes:
    assert wait.wake is not None
    return bytes.fromhex(orjson.loads(wait.wake)["event"])
