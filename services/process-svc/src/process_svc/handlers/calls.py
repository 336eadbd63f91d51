"""The part of a batch that is about calls: which are concerned, what can be begun, and what has come back.

A caller's lock is that of its call. Children that end tell it by the follow-up `join`, with what they change in its counts; its
items are begun by the follow-up `spawn`, some at a time.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import orjson
from kernel_contracts.process import CreateProcess
from kernel_contracts.vocabulary import CommandName
from kernel_runtime.database import Connection
from kernel_runtime.expressions.errors import ExpressionError
from kernel_runtime.problem import Problem, invalid, validation_problem
from pydantic import ValidationError

from process_svc import expr, wire
from process_svc.domain.calls import Call, Verdict, startable, verdict
from process_svc.domain.process import Process
from process_svc.domain.states import TERMINATED, WAITING
from process_svc.store import calls as store
from process_svc.store.calls import Item
from process_svc.store.follow_ups import JOIN, PART, SPAWN, FollowUp

Start = tuple[int, CreateProcess | Problem]
"""The index of an item, and what is to be made of it."""


class Calls:
    """Nothing is asked of the database where no call is concerned."""

    def __init__(self) -> None:
        self.of: dict[int, Call] = {}
        """Of locked processes that wait for one, with the counts of this batch."""
        self.results: dict[int, list[Item]] = {}
        """Of those that are over, or whose time may be."""
        self.starts: dict[int, list[Start]] = {}
        self._new: list[tuple[Call, str, datetime]] = []
        self._items: list[tuple[int, int, str]] = []
        self._counts: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
        """[started, ended, completed] to be added."""
        self._begun: list[tuple[int, int, int | None, str | None]] = []
        self._closed: set[int] = set()
        self._told: defaultdict[int, defaultdict[int, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
        """parent -> call -> [ended, completed], to be told by its follow-up."""

    async def load(
        self, connection: Connection, processes: Mapping[int, Process], taken: Iterable[FollowUp], ticks: set[int]
    ) -> list[tuple[str, CreateProcess]]:
        """After the locks. `ticks`: processes whose time may have come. What will be created: (tenant, body) each."""
        waiting = {pid: each.waiting.call for pid, each in processes.items() if each.waiting and each.waiting.call}
        spawns: dict[int, int] = {}
        for each in taken:
            if each.kind == SPAWN:
                spawns[each.pid] = max(spawns.get(each.pid, 0), each.position)
            elif each.kind == JOIN and each.data is not None:
                for id, ended, completed in orjson.loads(each.data).get("calls", ()):
                    self._count(id, 0, ended, completed)
        if waiting:
            self.of = {
                id: _counted(call, self._counts.get(id))
                for id, call in (await store.find(connection, waiting.values())).items()
            }
            over = [
                id
                for pid, id in waiting.items()
                if id in self.of and (pid in ticks or verdict(self.of[id]) is not Verdict.OPEN)
            ]
            if over:
                self.results = await store.results(connection, over)
            if spawns:
                return await self._prepare(connection, processes, spawns)
        return []

    async def _prepare(
        self, connection: Connection, processes: Mapping[int, Process], spawns: Mapping[int, int]
    ) -> list[tuple[str, CreateProcess]]:
        """Finds the items that may be begun, and computes what is to be made of them."""
        callers = [(processes[pid], most) for pid, most in spawns.items() if pid in processes]
        chosen: dict[int, tuple[Process, int]] = {}
        for caller, most in callers:
            call = self.waited_for(caller)
            if call is not None and caller.state is WAITING and (number := min(startable(call), most, PART)) > 0:
                chosen[call.id] = (caller, number)
        if not chosen:
            return []
        now = await connection.fetchval("SELECT clock_timestamp()")
        found = await store.items(connection, [(id, self.of[id].started, n) for id, (_, n) in chosen.items()])
        turns = [(id, self.of[id].started - 1) for id in chosen if self.of[id].kind is CommandName.ITERATE]
        previous = await store.outputs(connection, turns) if turns else {}
        makers = {id: _Maker(self.of[id], caller, previous.get(id), now) for id, (caller, _) in chosen.items()}
        creates = []
        for id, index, item in found:
            made = makers[id].make(index, item)
            self.starts.setdefault(id, []).append((index, made))
            if isinstance(made, CreateProcess):
                creates.append((chosen[id][0].tenant, made))
        return creates

    def waited_for(self, process: Process) -> Call | None:
        """The call that it waits for, or did when it was suspended."""
        return None if process.waiting is None or process.waiting.call is None else self.of.get(process.waiting.call)

    def begin(self, call: Call, tenant: str, items: Iterable[str], now: datetime) -> None:
        self.of[call.id] = call
        self._new.append((call, tenant, now))
        self._items += [(call.id, index, item) for index, item in enumerate(items)]

    def started(self, call: Call, index: int, child: int | None, error: dict[str, Any] | None) -> None:
        """One item more, with a child, or with why there is none."""
        text = None if error is None else orjson.dumps(error).decode()
        self._begun.append((call.id, index, child, text))
        self._count(call.id, 1, int(child is None), 0)
        self.of[call.id] = _counted(self.of[call.id], [1, int(child is None), 0])

    def changed(self, before: Process, after: Process) -> None:
        """A child of a call has ended, or come back to life: its caller is told."""
        if after.call is None or (before.state is TERMINATED) is (after.state is TERMINATED):
            return
        assert after.parent is not None
        sign, ended = (1, after) if after.state is TERMINATED else (-1, before)
        told = self._told[after.parent][after.call]
        told[0] += sign
        told[1] += sign * (ended.outcome == "completed")

    def told(self, parent: int) -> list[list[int]]:
        """What the follow-up of `parent` adds: [call, ended, completed] each."""
        return [[id, *numbers] for id, numbers in self._told[parent].items()] if parent in self._told else []

    def left(self, before: Process, after: Process) -> Call | None:
        """The call that the process waited for and does not any more: it is closed."""
        call = self.waited_for(before)
        if call is None or (after.waiting is not None and after.waiting.call == call.id):
            return None
        self._closed.add(call.id)
        return call

    def _count(self, id: int, started: int, ended: int, completed: int) -> None:
        numbers = self._counts[id]
        numbers[0] += started
        numbers[1] += ended
        numbers[2] += completed

    async def save(self, connection: Connection) -> None:
        if self._new:
            await store.add(connection, self._new, self._items)
        if self._begun:
            await store.begun(connection, self._begun)
        if self._counts:
            await store.count(connection, [(id, *numbers) for id, numbers in sorted(self._counts.items())])  # type: ignore[misc]
        if self._closed:
            await store.close(connection, sorted(self._closed))


def _counted(call: Call, more: list[int] | None) -> Call:
    if more is None:
        return call
    return replace(call, started=call.started + more[0], ended=call.ended + more[1], completed=call.completed + more[2])


class _Maker:
    """Makes of each item of one call the process that it asks for."""

    def __init__(self, call: Call, caller: Process, previous: str | None, now: datetime) -> None:
        self._call, self._caller, self._now = call, caller, now
        self._previous = None if previous is None else orjson.loads(previous)
        self._fixed = orjson.loads(call.template)
        self._compute = expr.computed({name: self._fixed[name] for name in ("context", "entity")})
        self._context, self._process = seen(caller)

    def make(self, index: int, item: str) -> CreateProcess | Problem:
        given = orjson.loads(item)
        scope = expr.LANGUAGE.scope(
            self._now,
            context=self._context,
            process=self._process,
            item=given,
            index=index,
            previous=self._previous,
        )
        try:
            made = self._compute(scope)
        except ExpressionError as error:
            return invalid(str(error), [(error.pointer, error.detail)])
        context, entity = made["context"], made["entity"]
        if context is None:
            context = {} if self._call.kind is CommandName.CALL else {"item": given, "index": index}
            if self._call.kind is CommandName.ITERATE:
                context["previous"] = self._previous
        body = {
            "service": self._call.service,
            "service_version": self._call.version,
            "parent": self._caller.pid,
            "priority": self._fixed["priority"],
            "context": context,
            "entity": entity and {name: _text(value) for name, value in entity.items()},
        }
        try:
            return CreateProcess.model_validate(body)
        except ValidationError as error:
            return validation_problem(error, body)


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def seen(process: Process) -> tuple[dict[str, Any], dict[str, Any]]:
    """`context` and `process` as expressions see them."""
    assert process.context is not None
    pcb = orjson.loads(wire.pcb_json(process.but(context=None)))
    return orjson.loads(process.context), pcb
