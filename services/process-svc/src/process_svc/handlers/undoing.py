"""The part of a batch that is about compensation: what is to be undone, and how far that has come.

A rollback, or an end with `compensate`, plans steps: the completed processes below, the last completed first, then the process
itself where it ran. They are carried out one after the other as children, each started by a durable follow-up when the one before
has ended. A rolled back process is SUSPENDED until the last of them is done.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import orjson
from kernel_contracts.process import CreateProcess, Entity
from kernel_contracts.vocabulary import Outcome
from kernel_runtime.database import Connection

from process_svc.domain.process import Process, Undo
from process_svc.domain.service import Service
from process_svc.store import compensations as store
from process_svc.store.compensations import Open, Step


class Undoing:
    """Nothing is asked of the database where nothing is undone."""

    def __init__(self) -> None:
        self.open: dict[int, list[Open]] = {}
        """Of processes whose compensation goes on in this batch, the next steps."""
        self._below: dict[int, list[Undo]] = {}
        self._own: dict[int, tuple[bool, int]] = {}
        self._added: list[Step] = []
        self._settled: dict[tuple[int, int], Open] = {}

    async def plan(self, connection: Connection, wanted: Mapping[int, int | None]) -> set[str]:
        """After the locks. `wanted`: pid -> version that it goes back to. The services that would undo something below."""
        self._below |= await store.completed(connection, wanted)
        self._own |= await store.own(connection, wanted)
        return {each.service for found in self._below.values() for each in found}

    async def proceed(self, connection: Connection, owners: Iterable[int], processes: Mapping[int, Process]) -> None:
        """After the locks. Of who has ended once more what is to be undone: something may have been completed meanwhile."""
        self.open = await store.open_steps(connection, owners)
        late = {pid: None for pid, steps in self.open.items() if not steps and processes[pid].compensating == "ended"}
        if late:
            await self.plan(connection, late)

    def planned(self, process: Process, service: Service, *, below: bool = False) -> list[Undo]:
        """What is to be undone of it; `below`: not the process itself."""
        found = list(self._below.get(process.pid, ()))
        if not below and service.compensation is not None and self._own.get(process.pid, (False, 0))[0]:
            found.append(Undo(process.pid, process.version, service.compensation))
        return found

    def add(self, process: Process, undo: Iterable[Undo], now: datetime) -> None:
        last = self._own[process.pid][1]
        new = [Step(process.pid, last + number, *each, now) for number, each in enumerate(undo, 1)]
        self._added += new
        self._own[process.pid] = (False, last + len(new))

    def begun(self, step: Open, child: int) -> None:
        step.state, step.child = "running", child
        self._settled[step.pid, step.number] = step

    def ended(self, step: Open) -> None:
        """Its child has: completed, or somebody has decided that it should not be."""
        step.state = "done" if step.child_outcome is Outcome.COMPLETED else "skipped"
        self._settled[step.pid, step.number] = step
        self.open[step.pid].remove(step)

    async def save(self, connection: Connection) -> None:
        if self._added:
            await store.add(connection, self._added)
        if self._settled:
            await store.settle(connection, list(self._settled.values()))


def request(step: Open) -> CreateProcess:
    """What starts a step. Its context: `compensates` (what it undoes), and `context` and `output` of that."""
    told = step.told
    entity = None
    if told["entity_type"] is not None:
        entity = Entity.model_construct(type=told["entity_type"], id=told["entity_id"])
    context: dict[str, Any] = {
        "compensates": {
            "pid": step.target,
            "service": told["target_service"],
            "service_version": told["service_version"],
        },
        "context": orjson.loads(told["context"] or "{}"),
        "output": orjson.loads(told["output"] or "null"),
    }
    return CreateProcess(service=step.service, entity=entity, context=context, parent=step.pid)
