"""What one batch works on: processes locked and changed in memory, and the rows that come of it."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import orjson
from kernel_contracts.process import CreateProcess
from kernel_contracts.vocabulary import Outcome, Rest
from kernel_runtime.command import Cause, Command, Message
from kernel_runtime.database import Connection
from kernel_runtime.problem import Problem

from process_svc import catalog, wire
from process_svc.domain import decisions, ledger
from process_svc.domain.calls import Call, Verdict, startable, verdict
from process_svc.domain.life import Life, published
from process_svc.domain.limits import limited
from process_svc.domain.process import Change, Entry, Process, wake_at
from process_svc.domain.snapshots import GENESIS, Snapshot
from process_svc.domain.states import READY, RUNNING, TERMINATED, WAITING
from process_svc.handlers import journal, loading, searched
from process_svc.handlers.barriers import Barriers
from process_svc.handlers.calls import Calls
from process_svc.handlers.families import Families, Family
from process_svc.handlers.job_work import JobWork
from process_svc.handlers.leases import Leases
from process_svc.handlers.turns import Turns
from process_svc.handlers.undoing import Undoing
from process_svc.memory import Memory
from process_svc.store import follow_ups, holds, incidents, lives
from process_svc.store import processes as store
from process_svc.store import services as service_store
from process_svc.store.follow_ups import ADMIT, CLOSE, COMPENSATE, JOIN, OPEN, PART, REST, SPAWN, TURN, FollowUp
from process_svc.store.holds import Hold
from process_svc.store.incidents import Incident
from process_svc.store.lives import LifeChange
from process_svc.store.processes import JournalRow
from process_svc.store.services import StoredService


class Work:
    """Made for each batch."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.messages: list[Message] = []
        self.processes: dict[int, Process] = {}
        self.families = Families()
        self.calls = Calls()
        self.barriers = Barriers()
        self.outcomes: dict[int, Outcome | None] = {}
        self.keys: dict[tuple[str, str], int] = {}
        self.lives: dict[tuple[str, str], Life] = {}
        """Of services that are named or defined."""
        self.snapshots: dict[tuple[int, int], Snapshot] = {}
        self.broken: dict[int, int] = {}
        """pid -> the version of its first broken link; known for those that go back to a snapshot."""
        self.incidents: dict[int, Incident] = {}
        self.relatives: dict[int, list[int]] = {}
        self.leases = Leases()
        self.undoing = Undoing()
        self.taken: set[int] = set()
        """Ids of follow-ups that are this batch's to carry out."""
        self.definitions: dict[tuple[str, str], StoredService] = {}
        self.texts: dict[tuple[str, str, int], str] = {}
        """Definitions as they are told, of versions that are current or may become so."""
        self.jobs: JobWork | None = None
        """Where the batch has to do with bulk jobs."""
        self.holds: dict[int, Hold] = {}
        self.new_holds: list[Hold] = []
        self.released_holds: list[Hold] = []
        self._defined: list[tuple[StoredService, str, Sequence[str]]] = []
        self._relived: dict[tuple[str, str], None] = {}
        self._life_changes: list[LifeChange] = []
        self._defined_by: tuple[datetime, str] | None = None
        self._new: dict[int, None] = {}
        self._changed: dict[int, None] = {}
        self._new_context: dict[int, None] = {}
        self._new_kind: dict[int, None] = {}
        self._journal: list[JournalRow] = []
        self._snapshots: list[tuple[int, int, datetime, str, bytes, bytes]] = []
        self.retried: dict[int, Incident] = {}
        """pid -> the incident after which a process that may fail was tried again."""
        self._opened: dict[int, Incident] = {}
        self._reopened: dict[int, Incident] = {}
        self._assigned: dict[int, Incident] = {}
        self._resolved: list[tuple[int, str, datetime]] = []
        self._follow: dict[tuple[str, int, int], Cause] = {}
        self._with: dict[tuple[str, int, int], str] = {}
        """What these follow-ups carry."""
        self._told: list[FollowUp] = []
        self._time: tuple[datetime | None, str, str] = (None, "", "")
        self.turns: Turns | None = None
        """Where a service of the batch says what becomes of a further process on an entity."""
        self._now: datetime | None = None

    # Before the decisions

    async def load(self, connection: Connection, commands: Sequence[Command]) -> None:
        await loading.load(self, connection, commands)

    def candidates(self, tenant: str, body: CreateProcess) -> Sequence[int]:
        """The versions that this may start, where there are such."""
        life = self.lives.get((tenant, body.service))
        if life is None:
            return ()
        if body.service_version is None:
            return life.candidates
        return (body.service_version,) if body.service_version <= life.latest else ()

    # While it is decided

    def entry(self, process: Process) -> catalog.Entry:
        return self.memory.catalog.get(process.tenant, process.service, process.service_version)

    def definition(self, tenant: str, service: str, version: int) -> catalog.Entry:
        return self.memory.catalog.get(tenant, service, version)

    def apply(self, change: Change, command: Command, now: datetime) -> Process:
        """Takes the change over: rows to write, messages to send, and what follows for relatives."""
        after = change.process
        pid = after.pid
        before = self.processes.get(pid)
        if change.incident is not None:
            after = self._open(change, after, command, now)
        if after.state is READY and self.memory.catalog.limits and (service := self.entry(after).service).start_in:
            after = change.entries[-1].process = limited(after, service)
        head = None if before is None else before.journal_hash
        head = ledger.seed(after) if head is None else head
        new_context = after.context_version if change.snapshot else None
        for entry in change.entries:
            snapshot = after.context_hash if entry.process.version == new_context else None
            head = self._tell(entry, command, now, head, snapshot)
        after = change.entries[-1].process = after.but(journal_hash=head)
        if before is None:
            self._new[pid] = None
        else:
            self._changed[pid] = None
            if change.resolved is not None and before.incident is not None:
                self._resolve(before, change.resolved, command, now)
        if change.snapshot:
            previous = GENESIS if before is None else before.context_hash
            assert after.context is not None
            self._snapshots.append((pid, after.context_version, now, after.context, after.context_hash, previous))
            self._new_context[pid] = None
        if change.undo:
            self.undoing.add(after, change.undo, now)
            self.follow(COMPENSATE, pid, command.cause)
        if change.kind:
            self._new_kind[pid] = None
        if before is not None and (before.state is RUNNING or after.state is RUNNING):
            self.leases.follow(before, self.entry(before).service.kind, after, self.entry(after), now)
        self.processes[pid] = after
        self.outcomes[pid] = after.outcome
        if self.turns is not None:
            self._take_turn(self.turns, before, after, command.cause)
        if after.parent is not None:
            if before is None:
                self.families.born(after)
            elif self.families.changed(before, after):
                self.calls.changed(before, after)
                self.follow(JOIN, after.parent, command.cause)
        if before is not None and (before.waiting is not None or after.waiting is not None):
            self._waits(before, after, command.cause)
        if self.barriers.opened and (others := self.barriers.opened_by(pid)) is not None:
            self.follow(OPEN, pid, command.cause, data=others)
        if after.state is TERMINATED:
            self._ended(after, command.cause)
        return after

    def _tell(self, entry: Entry, command: Command, now: datetime, head: bytes, snapshot: bytes | None) -> bytes:
        """The journal row behind the one with the hash `head`, and its event; its hash."""
        process = entry.process
        kind = entry.type
        demands = None
        if kind == "ready" or (kind == "assigned" and process.state is READY):
            demands = catalog.demands(self.entry(process), process)
        if self._time[0] is not now:
            self._time = (now, now.isoformat(), journal.moment(now))
        self.messages.append(wire.event(entry, now, self._time[1], command.by, command.cause, demands))
        row = journal.row(entry, command, now, self._time[2], head, snapshot)
        self._journal.append(row)
        assert row.hash is not None
        return row.hash

    def _open(self, change: Change, after: Process, command: Command, now: datetime) -> Process:
        assert change.incident is not None
        kind, error = change.incident["type"], change.incident["error"]
        text, code = orjson.dumps(error).decode(), error.get("code")
        before = self.retried.pop(after.pid, None)
        if before is not None and (before.type, before.code) == (kind, code):
            found = self._reopened[before.id] = before.again(text, now)
        else:
            number = self.memory.incidents.next()
            found = self._opened[number] = Incident(
                number, after.tenant, after.pid, kind, text, "open", None, None, now, None, code, 1, now, 1
            )
        after = change.entries[-1].process = after.but(incident=found.id)
        self._tell_incident(found, after, error, None, command, now)
        return after

    def _tell_incident(
        self, found: Incident, process: Process, error: Any, action: str | None, command: Command, now: datetime
    ) -> None:
        self.messages.append(
            wire.incident(
                found.id,
                process,
                found.type,
                error,
                action,
                now,
                command.cause,
                count=found.count,
                assignee=found.assignee,
            )
        )

    def assign(self, incident: Incident) -> None:
        self._assigned[incident.id] = self.incidents[incident.id] = incident

    def _resolve(self, before: Process, action: str, command: Command, now: datetime) -> None:
        assert before.incident is not None
        number = before.incident
        known = self._opened.get(number) or self._reopened.get(number) or self.incidents[number]
        error = orjson.Fragment(known.error)
        self._tell_incident(known, before, error, action, command, now)
        self._resolved.append((number, action, now))

    def _ended(self, process: Process, cause: Cause) -> None:
        if process.compensates is not None and process.parent is not None:
            self.follow(COMPENSATE, process.parent, cause)
        if process.has_children:
            self.follow(CLOSE, process.pid, cause)
        if process.has_dependents:
            self.follow(ADMIT, process.pid, cause)

    def _waits(self, before: Process, after: Process, cause: Cause) -> None:
        """It has begun to wait, or ceased to: what becomes of its call, or its place at a barrier."""
        call = self.calls.left(before, after)
        if call is not None and call.rest is Rest.CANCEL and call.alive and after.state is not TERMINATED:
            self.follow(REST, after.pid, cause, call.id)
        self.barriers.leave(before, after)
        begins = after.state is WAITING and before.state is not WAITING
        if begins and (call := self.calls.waited_for(after)) is not None:
            self.go_on(call, cause)

    def go_on(self, call: Call, cause: Cause) -> None:
        """Its caller is WAITING for it: further items begin, or it goes on."""
        if verdict(call) is not Verdict.OPEN:
            self.follow(JOIN, call.pid, cause)
        elif number := startable(call):
            self.follow(SPAWN, call.pid, cause, min(number, PART))

    def _take_turn(self, turns: Turns, before: Process | None, after: Process, cause: Cause) -> None:
        service = self.entry(after).service
        if after.state is not TERMINATED:
            if (before is None or before.state is TERMINATED) and turns.enter(after, service):
                self.follow(TURN, after.pid, cause)
        elif (following := turns.leave(after, service)) is not None:
            self.follow(TURN, following, cause)

    def follow(self, kind: str, pid: int, cause: Cause, position: int = 0, *, data: str | None = None) -> None:
        """To be carried out for the relatives of `pid` after this batch; once for all that has happened in it."""
        self._follow[kind, pid, position] = cause
        if data is not None:
            self._with[kind, pid, position] = data

    def mark(self, pid: int, **flags: bool) -> None:
        """`has_children`, `has_dependents`, or only when it is due: no new version of the process."""
        self.processes[pid] = self.processes[pid].but(**flags)
        if flags.get("has_children"):
            self.families.of.setdefault(pid, Family())
        if pid not in self._new:
            self._changed[pid] = None

    def remake(self, pid: int, **members: Any) -> None:
        """What few commands change, without a new version."""
        self.processes[pid] = self.processes[pid].but(**members)
        self._new_kind[pid] = None

    def note(self, pid: int, command: Command, now: datetime, **flags: bool) -> None:
        """Marks it. Where its window has opened since anybody looked it is admitted: from now on nobody would look for it."""
        self.mark(pid, **flags)
        if (opened := decisions.admit(self.processes[pid], self.outcomes, now)) is not None:
            self.apply(opened, command, now)

    def define(
        self, new: StoredService, kind: str, roles: Sequence[str], command: Command, now: datetime, *, staged: bool
    ) -> None:
        """One more version."""
        key = (new.tenant, new.name)
        before = self.lives.get(key)
        self.definitions[key] = new
        self._defined.append((new, kind, roles))
        self._defined_by = (now, command.by)
        self.lives[key] = life = Life(new.version) if before is None else published(before, staged=staged)
        if before is not None and life.pinned != before.pinned:
            self._relived[key] = None
        self.texts[*key, new.version] = new.definition
        self._publish(key, command, now)

    def live(self, key: tuple[str, str], life: Life, change: LifeChange, command: Command, now: datetime) -> None:
        self.lives[key] = life
        self._relived[key] = None
        self._life_changes.append(change)
        self._publish(key, command, now)

    def _publish(self, key: tuple[str, str], command: Command, now: datetime) -> None:
        """Tells the service as new processes get it from now on."""
        life = self.lives[key]
        text = self.texts[*key, life.current]
        self.messages.append(wire.service_published(*key, life, text, at=now, cause=command.cause))

    def changes(self, pid: int) -> dict[str, Any]:
        """What the journal rows of this batch say of a process beyond its state: attribute -> [before, after]."""
        found: dict[str, Any] = {}
        for row in self._journal:
            if row.pid == pid and row.changes is not None:
                found |= orjson.loads(row.changes)
        return found

    def conclude(self, now: datetime) -> None:
        """The time of the batch is that of its rows."""
        self._now = now

    def refuse(self, command: Command, problem: Problem, now: datetime) -> None:
        self.messages.append(wire.command_refused(command, problem, now))

    # After the decisions

    async def save(self, connection: Connection) -> None:
        processes, new = self.processes, self._new
        assert self._now is not None
        await store.insert(connection, [processes[pid] for pid in new], self._now)
        await store.update(
            connection,
            [processes[pid] for pid in self._changed if pid not in new],
            [processes[pid] for pid in self._new_context if pid not in new],
            self._now,
        )
        if self._new_context:
            await searched.save(self.memory, connection, processes, new, self._new_context)
        if self._new_kind:
            await store.change_kind(connection, [processes[pid] for pid in self._new_kind if pid not in new])
        await store.write_journal(connection, self._journal)
        await store.write_snapshots(connection, self._snapshots)
        if self.turns is not None:
            await self.turns.save(connection)
        await self.families.save(connection)
        await self.calls.save(connection)
        await self.barriers.save(connection)
        await self.leases.save(connection, processes, self.memory.takers)
        await self.undoing.save(connection)
        if self._opened:
            await incidents.open_all(connection, list(self._opened.values()))
        if self._reopened:
            await incidents.reopen_all(connection, list(self._reopened.values()))
        if self._assigned:
            await incidents.assign_all(connection, list(self._assigned.values()))
        if self._resolved:
            await incidents.resolve_all(connection, self._resolved)
        if self._follow:
            self._told = await follow_ups.add(
                connection, [(*key, _packed(cause), self._data(*key)) for key, cause in self._follow.items()]
            )
        if self._defined:
            assert self._defined_by is not None
            await service_store.add(connection, self._defined, *self._defined_by)
            await searched.define(connection, [service for service, _, _ in self._defined])
        if self.new_holds or self.released_holds:
            await holds.save(connection, self.new_holds, self.released_holds)
        if self._relived:
            changed = [(key, self.lives[key]) for key in self._relived]
            await lives.change(connection, changed, self._life_changes)
        if self.jobs is not None:
            await self.jobs.save(connection)

    def _data(self, kind: str, pid: int, position: int) -> str | None:
        if kind != JOIN:
            return self._with.get((kind, pid, position))
        told = {"kin": self.families.told(pid), "calls": self.calls.told(pid)}
        found = {name: value for name, value in told.items() if value}
        return orjson.dumps(found).decode() if found else None

    def committed(self) -> None:
        if self._now is not None:
            self.memory.tell(self._told, self._times(self._now))
            if self.jobs is not None and self.jobs.wakes:
                self.memory.go_on()
        self.leases.committed(self.processes, self.memory.takers)

    def _times(self, now: datetime) -> Iterable[datetime]:
        for pids in (self._new, self._changed):
            for pid in pids:
                if (at := wake_at(self.processes[pid], now)) is not None:
                    yield at

    def abandoned(self) -> None:
        """Nothing of it is kept in memory."""
        self.leases.abandoned(self.memory.takers)


def _packed(cause: Cause) -> str:
    return orjson.dumps([cause.message, cause.correlation, cause.depth, cause.traceparent]).decode()


def unpacked(text: str) -> Cause:
    """The cause that a follow-up was written with."""
    return Cause(*orjson.loads(text))
