"""The work of one transaction: events change the model, then one plan follows from all of them, then everything is saved."""

import time
from collections.abc import Sequence
from datetime import datetime

from kernel_contracts.scheduler import QueueChanged, QueueDefinition
from kernel_runtime.command import Command, Message
from kernel_runtime.database import Connection
from kernel_runtime.lease import LeaseLostError
from kernel_runtime.problem import Problem

from scheduler_svc import metrics, wire
from scheduler_svc.domain.line import Changes
from scheduler_svc.domain.planning import plan
from scheduler_svc.domain.state import State
from scheduler_svc.memory import Memory
from scheduler_svc.store import planner as store
from scheduler_svc.store import queues
from scheduler_svc.store.queues import StoredQueue

DEFINES = ("define_queue", "apply_queues")
"""What any replica can do; the rest is for the one that holds the lease."""


class Batch:
    def __init__(self, memory: Memory) -> None:
        self.messages: list[Message] = []
        self.queues: dict[tuple[str, str], StoredQueue] = {}
        self._memory = memory
        self._state: State | None = None
        self._changes = Changes()
        self._defined: dict[tuple[str, str], StoredQueue] = {}
        self._waits_saved = False

    @property
    def state(self) -> State:
        """For the handlers of events: they run only where the lease is held."""
        assert self._state is not None
        return self._state

    async def load(self, connection: Connection, commands: Sequence[Command]) -> None:
        defining = [command for command in commands if command.name in DEFINES]
        try:
            self._state = await self._memory.open(connection)
        except LeaseLostError:
            if len(defining) < len(commands):
                raise
        if defining:
            places = sorted({(command.tenant, name) for command in defining for name in command.body.names})
            self.queues = await queues.lock(connection, places)

    def define(self, command: Command, name: str, definition: QueueDefinition, now: datetime) -> StoredQueue:
        """The next version of a queue."""
        place = (command.tenant, name)
        known = self.queues.get(place)
        stored = StoredQueue(command.tenant, name, 1 if known is None else known.version + 1, definition)
        self.queues[place] = self._defined[place] = stored
        self.messages.append(wire.queue_told(command, name, stored.version, definition, now))
        if self._state is not None:
            told = QueueChanged(tenant=command.tenant, name=name, version=stored.version, definition=definition)
            self._state.define(wire.settings_of(told))
        return stored

    def conclude(self, now: datetime) -> None:
        state = self._state
        if state is None:
            return
        started = time.perf_counter()
        placements = plan(state, now, self._memory.most)
        metrics.PLAN_SECONDS.observe(time.perf_counter() - started)
        metrics.PROPOSALS.inc(len(placements))
        metrics.ITEMS.set(len(state.items))
        for placement in placements:
            self.messages.append(wire.allocate(placement.item, now))
        for item in state.overdue(now):
            self.messages.append(wire.allocate(item, now))
        self._changes = state.take_changes()
        self._memory.waits.count(self._changes.waits, now)
        self._memory.arrivals.count(self._changes.arrivals)

    def refuse(self, command: Command, problem: Problem, now: datetime) -> None:
        """Events are not refused."""

    async def save(self, connection: Connection) -> None:
        await store.save_items(connection, self._changes)
        await store.save_resources(connection, self._changes)
        if self._changes.learnt:
            await store.save_durations(connection, self._changes)
        if self._defined:
            await queues.save(connection, list(self._defined.values()))
        if time.monotonic() - self._memory.waits_saved > 1.0:
            if self._memory.waits:
                await self._memory.waits.save(connection)
                self._waits_saved = True
            if self._memory.arrivals:
                await self._memory.arrivals.save(connection)
                self._waits_saved = True

    def committed(self) -> None:
        if self._state is None:
            return
        for item in self._changes.items.values():
            item.stored = True
        for resource in self._changes.resources.values():
            resource.stored = resource.defined
        if self._waits_saved:
            self._memory.waits.clear()
            self._memory.arrivals.clear()
            self._memory.waits_saved = time.monotonic()
        self._memory.wake()

    def abandoned(self) -> None:
        if self._state is not None:
            self._memory.drop()
