"""Whose turn it is on an entity, where a service says what becomes of a further process of it on the same one.

All alive processes of such services stand in a line for each service and entity, in the order of their pids: for them a fresh pid
is drawn while the line is locked, so that who comes later has the higher one. Who is not the first is NEW, and told by `ahead`.
"""

from collections.abc import Callable, Iterable

from kernel_contracts.process import Entity
from kernel_contracts.vocabulary import PerEntity
from kernel_runtime.database import Connection

from process_svc.domain.process import Process
from process_svc.domain.service import Service
from process_svc.store import entities
from process_svc.store.entities import Scope
from process_svc.store.processes import next_numbers


class Turns:
    """The lines that a batch touches, as they are after what was decided so far; `processes` are those of the batch."""

    def __init__(self, processes: dict[int, Process]) -> None:
        self._processes = processes
        self._lines: dict[Scope, list[int]] = {}
        """Of a long line both ends, and around each process at hand; in order."""
        self._fresh: list[int] = []
        self._ended: dict[Scope, list[int]] = {}
        """Processes at hand that have left their line, or had before."""
        self._new: dict[int, Scope] = {}
        self._gone: dict[int, Scope] = {}

    @staticmethod
    async def taken(
        connection: Connection,
        processes: dict[int, Process],
        service_of: Callable[[Process], Service],
        creates: Iterable[tuple[str, Service, Entity | None]],
    ) -> "Turns | None":
        """The lines of `processes`, locked already, and of what is to be created; None where no service cares.

        Sets `ahead` of the processes.
        """
        standing = {
            process.pid: scope
            for process in processes.values()
            if (scope := _scope(process.tenant, service_of(process), _subject(process))) is not None
        }
        new = [
            scope
            for tenant, service, entity in creates
            if (scope := _scope(tenant, service, None if entity is None else (entity.type, entity.id))) is not None
        ]
        if not standing and not new:
            return None
        made = Turns(processes)
        made._lines = await entities.lock(connection, {*standing.values(), *new}, standing)
        if new:
            made._fresh = await next_numbers(connection, "pid", len(new))
        for pid, scope in standing.items():
            line = made._lines[scope]
            if pid not in line:
                made._ended.setdefault(scope, []).append(pid)
                made._is_behind(pid, line[-1] if line else None)
            elif place := line.index(pid):
                made._is_behind(pid, line[place - 1])
        return made

    def line(self, tenant: str, service: Service, entity: Entity | None) -> list[int] | None:
        """Who stands there; None where the service does not care."""
        scope = None if entity is None else _scope(tenant, service, (entity.type, entity.id))
        return None if scope is None else self._lines[scope]

    def pid(self) -> int:
        """For a process that is to enter a line."""
        return self._fresh.pop()

    def enter(self, process: Process, service: Service) -> bool:
        """A new process, or one that was brought back from its end. Whether it is the first, but was told that it is not."""
        scope = _scope(process.tenant, service, _subject(process))
        if scope is None:
            return False
        pid = process.pid
        self._lines[scope].append(pid)
        if self._gone.pop(pid, None) is None:
            self._new[pid] = scope
        others = [each for each in self._ended.get(scope, ()) if each != pid]
        self._ended[scope] = others
        for each in others:
            self._is_behind(each, pid)
        return process.ahead is not None and self._lines[scope] == [pid]

    def leave(self, process: Process, service: Service) -> int | None:
        """Who is first then, where another one was before."""
        scope, pid = _scope(process.tenant, service, _subject(process)), process.pid
        if scope is None or pid not in self._lines[scope]:
            return None
        line = self._lines[scope]
        place = line.index(pid)
        del line[place]
        if self._new.pop(pid, None) is None:
            self._gone[pid] = scope
        self._ended.setdefault(scope, []).append(pid)
        for each in self._ended[scope]:
            self._is_behind(each, line[-1] if line else None)
        if place < len(line):
            self._is_behind(line[place], line[place - 1] if place else None)
        return line[0] if line and not place else None

    def _is_behind(self, pid: int, other: int | None) -> None:
        process = self._processes.get(pid)
        if process is not None:
            self._processes[pid] = process.but(ahead=other)

    async def save(self, connection: Connection) -> None:
        if self._gone:
            await entities.leave(connection, [(scope, pid) for pid, scope in self._gone.items()])
        if self._new:
            await entities.enter(connection, [(scope, pid) for pid, scope in self._new.items()])


def _subject(process: Process) -> tuple[str, str] | None:
    return None if process.entity_type is None else (process.entity_type, process.entity_id or "")


def _scope(tenant: str, service: Service, entity: tuple[str, str] | None) -> Scope | None:
    if entity is None or service.per_entity is PerEntity.PARALLEL:
        return None
    return (tenant, service.name, *entity)
