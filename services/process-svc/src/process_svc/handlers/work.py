"""What one batch works on: processes locked and changed in memory, and the rows that come of it."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import orjson
from kernel_contracts import message_types as types
from kernel_contracts.process import CreateProcess
from kernel_contracts.topics import PROCESS_EVENTS
from kernel_contracts.vocabulary import Outcome
from kernel_runtime.command import Cause, Command, Message, message
from kernel_runtime.database import Connection
from kernel_runtime.problem import Problem

from process_svc import catalog, wire
from process_svc.catalog import Catalog
from process_svc.domain.process import Change, Process
from process_svc.domain.snapshots import GENESIS, Snapshot
from process_svc.domain.states import TERMINATED
from process_svc.handlers.bodies import FollowUp
from process_svc.handlers.touch import touched
from process_svc.store import processes as store
from process_svc.store import services as service_store
from process_svc.store.processes import JournalRow
from process_svc.store.services import StoredService


class Work:
    """Made for each batch. `after_commit` gets the follow-ups that the batch has left, once they are durable."""

    def __init__(self, services: Catalog, after_commit: Callable[[list[tuple[FollowUp, Cause]]], None]) -> None:
        self.catalog = services
        self.messages: list[Message] = []
        self.processes: dict[int, Process] = {}
        self.keys: dict[tuple[str, str], int] = {}
        self.latest: dict[tuple[str, str], int] = {}
        self.outcomes: dict[int, Outcome | None] = {}
        self.snapshots: dict[tuple[int, int], Snapshot] = {}
        self.children: dict[int, list[int]] = {}
        self.children_counts: dict[int, tuple[int, int]] = {}
        self.dependents: dict[int, list[int]] = {}
        self.incidents: dict[int, Any] = {}
        self.definitions: dict[tuple[str, str], StoredService] = {}
        self.new_definitions: list[StoredService] = []
        self.defined_by = ""
        self.defined_at: datetime | None = None
        self._after_commit = after_commit
        self._pids: list[int] = []
        self._incident_ids: list[int] = []
        self._new: dict[int, None] = {}
        self._changed: dict[int, None] = {}
        self._new_context: dict[int, None] = {}
        self._journal: list[JournalRow] = []
        self._snapshots: list[tuple[Snapshot, datetime]] = []
        self._opened: list[tuple[int, str, int, str, str, datetime]] = []
        self._resolved: list[tuple[int, str, datetime]] = []
        self._follow_ups: list[tuple[str, int, int, Cause]] = []
        self._told: list[tuple[FollowUp, Cause]] = []
        self._taking: list[int] = []
        self.pending_follow_ups: set[int] = set()

    async def load(self, connection: Connection, commands: Sequence[Command]) -> None:
        found = touched(commands)
        if found.follow_ups:
            self.pending_follow_ups = await store.take_follow_ups(connection, [each.id for each in found.follow_ups])
            await self._load_relatives(connection, found.follow_ups, found.pids)
        if found.incidents:
            self.incidents = await store.incidents(connection, found.incidents)
            found.pids.update(row["pid"] for row in self.incidents.values())
            for row in self.incidents.values():
                found.snapshots.append((row["pid"], 2**31 - 1))
            for command in commands:
                version = getattr(command.body, "version", None)
                row = self.incidents.get(getattr(command.body, "id", 0))
                if row is not None and version is not None:
                    found.snapshots.append((row["pid"], version))
        if found.creates:
            await self._load_for_creates(connection, found.creates, found.pids)
        if found.parents:
            self.children = await store.children(connection, found.parents)
            self.children_counts = await store.children_counts(connection, found.parents)
            for pids in self.children.values():
                found.pids.update(pids)
        self.processes = await store.lock(connection, found.pids)
        if found.snapshots:
            self.snapshots = await store.snapshots_at(connection, found.snapshots)
        before = {pid for process in self.processes.values() for pid in process.after}
        if before:
            self.outcomes.update(await store.outcomes(connection, before))
        self.outcomes.update({pid: process.outcome for pid, process in self.processes.items()})
        if found.definitions:
            self.definitions = await service_store.lock_latest(connection, found.definitions)
        if found.may_fail:
            self._incident_ids = await store.next_incident_ids(connection, found.may_fail)
        wanted = [(each.tenant, each.service, each.service_version) for each in self.processes.values()]
        wanted += [(tenant, name, version) for (tenant, name), version in self.latest.items()]
        wanted += [
            (tenant, body.service, body.service_version)
            for tenant, body in found.creates
            if body.service_version is not None
        ]
        if missing := self.catalog.missing(wanted):
            self.catalog.keep(await service_store.versions(connection, missing))

    async def _load_for_creates(
        self, connection: Connection, creates: list[tuple[str, CreateProcess]], pids: set[int]
    ) -> None:
        self._pids = await store.next_pids(connection, len(creates))
        self._pids.reverse()
        self.latest = await service_store.latest(connection, ((tenant, body.service) for tenant, body in creates))
        keyed = [(tenant, body.key) for tenant, body in creates if body.key is not None]
        if keyed:
            self.keys = await store.by_keys(connection, [tenant for tenant, _ in keyed], [key for _, key in keyed])
            pids.update(self.keys.values())

    async def _load_relatives(self, connection: Connection, found: list[FollowUp], pids: set[int]) -> None:
        parents = [each.pid for each in found if each.kind != "admit_dependents"]
        if parents:
            self.children = await store.children(connection, parents)
            self.children_counts = await store.children_counts(connection, parents)
            for each in self.children.values():
                pids.update(each)
        before = [each.pid for each in found if each.kind == "admit_dependents"]
        if before:
            self.dependents = await store.dependents(connection, before)
            for each in self.dependents.values():
                pids.update(each)

    def next_pid(self) -> int:
        return self._pids.pop()

    def entry(self, process: Process) -> catalog.Entry:
        return self.catalog.get(process.tenant, process.service, process.service_version)

    def apply(self, change: Change, command: Command, now: datetime) -> Process:
        """Takes the change over: rows to write, messages to send, and what follows for relatives."""
        after = change.process
        before = self.processes.get(after.pid)
        entries = change.entries
        incident = before.incident if before is not None else None
        if change.resolved is not None and incident is not None:
            self._resolved.append((incident, change.resolved, now))
        if change.incident is not None:
            number = self._incident_ids.pop()
            error = orjson.dumps(change.incident["error"]).decode()
            self._opened.append((number, after.tenant, after.pid, change.incident["type"], error, now))
            after = replace(after, incident=number)
            entries = (*entries[:-1], replace(entries[-1], process=after))
            self._tell_incident(number, after, change.incident, command, now)
        for entry in entries:
            process = entry.process
            demands = catalog.demands(self.entry(process), process) if entry.type == "ready" else None
            self.messages.append(wire.event(entry, now, command.by, command.cause, demands))
            self._journal.append(
                JournalRow(
                    process.pid,
                    process.version,
                    entry.type,
                    entry.from_state,
                    process.state,
                    process.outcome,
                    now,
                    command.by,
                    entry.reason,
                    command.cause.message,
                    command.cause.correlation,
                    process.operator if before is None else process.operator or before.operator,
                    entry.dispatch_id,
                    None if entry.changes is None else orjson.dumps(entry.changes).decode(),
                )
            )
        if change.snapshot:
            previous = GENESIS if before is None else before.context_hash
            snapshot = Snapshot(after.pid, after.context_version, after.context, after.context_hash, previous)
            self._snapshots.append((snapshot, now))
            self._new_context[after.pid] = None
        if before is None:
            self._new[after.pid] = None
        else:
            self._changed[after.pid] = None
        self.processes[after.pid] = after
        self.outcomes[after.pid] = after.outcome
        if after.state is TERMINATED:
            self._follow(after, command.cause)
        return after

    def mark(self, process: Process, *, children: bool = False, dependents: bool = False) -> None:
        """Remembers that a process has children or dependents; no new version of it."""
        self.processes[process.pid] = replace(
            process,
            has_children=process.has_children or children,
            has_dependents=process.has_dependents or dependents,
        )
        if process.pid not in self._new:
            self._changed[process.pid] = None

    def detach(self, process: Process) -> None:
        """A child without a parent from now on; no new version of it."""
        self.processes[process.pid] = replace(process, parent=None)
        self._changed[process.pid] = None

    def cascade(self, kind: str, process: Process, cause: Cause) -> None:
        """The same for the children of `process`, in a transaction of its own."""
        self._follow_ups.append((kind, process.pid, process.pid, cause))

    def _follow(self, process: Process, cause: Cause) -> None:
        if process.parent is not None:
            self._follow_ups.append(("child_ended", process.parent, process.pid, cause))
        if process.has_children:
            self._follow_ups.append(("close_children", process.pid, process.pid, cause))
        if process.has_dependents:
            self._follow_ups.append(("admit_dependents", process.pid, process.pid, cause))

    def _tell_incident(
        self, number: int, process: Process, incident: dict[str, Any], command: Command, now: datetime
    ) -> None:
        body = {
            "id": number,
            "pid": process.pid,
            "tenant": process.tenant,
            "type": incident["type"],
            "state": "open",
            "error": incident["error"],
        }
        self.messages.append(
            message(
                PROCESS_EVENTS,
                str(process.pid),
                orjson.dumps(body),
                id=f"incident-{number}.opened",
                type=types.INCIDENT_OPENED,
                source=wire.SOURCE,
                at=now,
                tenant=process.tenant,
                cause=command.cause,
            )
        )

    def conclude(self, now: datetime) -> None:
        """Nothing follows from the batch as a whole."""

    def refuse(self, command: Command, problem: Problem, now: datetime) -> None:
        pid = getattr(command.body, "pid", None)
        body = {
            "command_id": command.id.rsplit("|", 1)[-1],
            "command": command.name,
            "pid": pid,
            "title": problem.title,
            "detail": problem.detail,
            "status": problem.status,
        }
        self.messages.append(
            message(
                PROCESS_EVENTS,
                str(pid or command.id),
                orjson.dumps(body),
                id=f"refused-{command.id}",
                type=types.COMMAND_REFUSED,
                source=wire.SOURCE,
                at=now,
                tenant=command.tenant,
                cause=command.cause,
            )
        )

    async def save(self, connection: Connection) -> None:
        await store.insert(connection, [self.processes[pid] for pid in self._new])
        changed = [self.processes[pid] for pid in self._changed if pid not in self._new]
        context = [self.processes[pid] for pid in self._new_context if pid not in self._new]
        await store.update(connection, changed, context)
        await store.write_journal(connection, self._journal)
        await store.write_snapshots(connection, self._snapshots)
        if self._opened:
            await store.open_incidents(connection, self._opened)
        if self._resolved:
            await store.resolve_incidents(connection, self._resolved)
        if self._follow_ups:
            ids = await store.add_follow_ups(
                connection,
                [(kind, pid, source, _packed(cause)) for kind, pid, source, cause in self._follow_ups],
            )
            self._told = [
                (FollowUp(id, kind, pid, source), cause)
                for id, (kind, pid, source, cause) in zip(ids, self._follow_ups, strict=True)
            ]
        if self.new_definitions:
            assert self.defined_at is not None
            await service_store.add(connection, self.new_definitions, self.defined_at, self.defined_by)

    def committed(self) -> None:
        if self._told:
            asyncio.get_running_loop().call_soon(self._after_commit, self._told)

    def abandoned(self) -> None:
        """Nothing of it is kept in memory."""


def _packed(cause: Cause) -> str:
    return orjson.dumps([cause.message, cause.correlation, cause.depth, cause.traceparent]).decode()


def unpacked(text: str) -> Cause:
    """The cause that a follow-up was written with."""
    return Cause(*orjson.loads(text))
