"""The work of one batch: loads and locks what its commands touch, holds it while they are decided, saves it in bulk.

Locks are taken on rows of `resource` alone, in the order of their numbers, and everything else that a batch reads or writes
of a process hangs on a row that is locked: an allocation is made and ended only under its resource's lock.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg
import orjson
from kernel_contracts.vocabulary import DenialReason, Hold
from kernel_runtime.command import Command
from kernel_runtime.database import Connection
from kernel_runtime.inbox import AlreadyDoneError
from kernel_runtime.problem import Problem

from resource_svc.domain.allocation import Allocation
from resource_svc.domain.resource import ENTITY, Resource, State, entity_lock
from resource_svc.store import records, sql
from resource_svc.store.batch import Batch, Name
from resource_svc.store.records import Dispatch, Holder
from resource_svc.store.wanted import Touch, Wanted

Cache = dict[int, tuple[int, Resource]]
"""Number -> revision and definition, as committed: most batches need only what changes with use."""

CACHED = 50_000
"""More than that, and the cache begins anew."""


class Work(Batch):
    """`lock=False` reads only: for a look at what would happen."""

    def __init__(self, touches: Mapping[str, Touch], cache: Cache, *, lock: bool = True) -> None:
        super().__init__()
        self._touches = touches
        self._cache = cache
        self._lock = sql.LOCK + (sql.FOR_UPDATE if lock else "")
        self._calendar_lock = sql.CALENDARS + (sql.FOR_UPDATE if lock else "")
        self._numbers: dict[Name, int] = {}
        self._names: dict[int, Name] = {}
        self._now: datetime | None = None

    async def load(self, connection: Connection, commands: Sequence[Command]) -> None:
        wanted = Wanted(requests=self.requests)
        for command in commands:
            self._touches[command.name](command, wanted)
        await self._load_resources(connection, wanted)
        if wanted.dispatches:
            for row in await connection.fetch(sql.DISPATCHES, list(wanted.dispatches)):
                self._dispatches[row["dispatch_id"]] = _dispatch(row)
        again = {each.pid for each in self._dispatches.values() if each.outcome == "granted"}
        if wanted.pids or again:
            await self._load_held(connection, wanted.pids, again)
        if wanted.holders:
            await self._load_holders(connection, wanted.holders)
        if wanted.calendars:
            tenants, ids = map(list, zip(*sorted(wanted.calendars), strict=True))
            for row in await connection.fetch(self._calendar_lock, tenants, ids):
                self._calendars[row["tenant"], row["id"]] = (row["version"], orjson.loads(row["definition"]))

    async def _load_resources(self, connection: Connection, wanted: Wanted) -> None:
        if not wanted.resources and not wanted.pids:
            return
        tenants = [tenant for tenant, _ in wanted.resources]
        ids = [id for _, id in wanted.resources]
        rows = await connection.fetch(self._lock, tenants, ids, list(wanted.pids))
        if len(self._cache) > CACHED:
            self._cache.clear()
        unknown = [
            row["number"]
            for row in rows
            if row["type"] != ENTITY and self._cache.get(row["number"], (None,))[0] != row["revision"]
        ]
        if unknown:
            await self._load_definitions(connection, unknown)
        for row in rows:
            number, tenant, id = row["number"], row["tenant"], row["id"]
            resource = entity_lock(id) if row["type"] == ENTITY else self._cache[number][1]
            self.states(tenant)[id] = State(resource, row["used"], row["version"])
            self._numbers[tenant, id] = number
            self._names[number] = (tenant, id)
            self._revisions[tenant, id] = row["revision"]
        for tenant, id in wanted.locks:
            self.states(tenant).setdefault(id, State(entity_lock(id)))

    async def _load_definitions(self, connection: Connection, numbers: Sequence[int]) -> None:
        for row in await connection.fetch(
            f"SELECT number, revision, {records.DEFINITION} FROM resource WHERE number = ANY($1::bigint[])", numbers
        ):
            self._cache[row["number"]] = (row["revision"], records.resource(row))

    async def _load_held(self, connection: Connection, pids: set[int], again: set[int]) -> None:
        for row in await connection.fetch(sql.HELD, list(pids | again)):
            name = self._names.get(row["resource"])
            if name is None:
                if row["pid"] in pids:
                    raise OvertakenError("units were taken between the look and the lock")
                continue
            self._held.setdefault(row["pid"], []).append(_allocation(row, name, self._states[name[0]][name[1]]))

    async def _load_holders(self, connection: Connection, wanted: set[Name]) -> None:
        numbers = [self._numbers[name] for name in wanted if name in self._numbers]
        for row in await connection.fetch(sql.HOLDERS, numbers):
            self._holders.setdefault(self._names[row["resource"]], []).append(
                Holder(row["pid"], row["units"], row["dispatch_id"], Hold(row["hold"]), row["granted_at"])
            )

    def conclude(self, now: datetime) -> None:
        self._now = now

    def refuse(self, command: Command, problem: Problem, now: datetime) -> None:
        """No command from the bus is refused: what can't be had is denied, what is not there is not given back."""

    async def save(self, connection: Connection) -> None:
        await self._save_resources(connection)
        if self._changes:
            await connection.execute(sql.INSERT_CHANGES, *self._change_columns(), self._now)
        if self._taken:
            await self._save_taken(connection)
        await self._save_ends(connection)
        if self._decided:
            await self._save_dispatches(connection)
        if self._new_calendars:
            await self._save_calendars(connection)
        if self._openings:
            await self._save_openings(connection)

    async def _save_resources(self, connection: Connection) -> None:
        made = [name for name in {*self._used, *self._defined} if name not in self._numbers]
        if made:
            rows = await connection.fetch(sql.INSERT_RESOURCES, self._rows(made))
            if len(rows) != len(made):
                raise OvertakenError("another transaction made one of these resources")
            for row in rows:
                self._numbers[row["tenant"], row["id"]] = row["number"]
        new = set(made)
        changed = [name for name in self._defined if name not in new]
        if changed:
            await connection.execute(sql.UPDATE_RESOURCES, self._rows(changed))
        used = [name for name in self._used if name not in new and name not in self._defined]
        if used:
            states = [self._states[tenant][id] for tenant, id in used]
            await connection.execute(
                sql.UPDATE_USE,
                [self._numbers[name] for name in used],
                [state.used for state in states],
                [state.version for state in states],
            )

    def _rows(self, names: Sequence[Name]) -> str:
        assert self._now is not None
        return orjson.dumps(
            [
                records.columns(tenant, self._states[tenant][id], self.revision(tenant, id), self._now)
                for tenant, id in names
            ]
        ).decode()

    def _change_columns(self) -> list[list[Any]]:
        rows = [
            (
                self._numbers[each.tenant, each.state.resource.id],
                each.state.version,
                each.revision,
                each.state.resource.capacity,
                each.what,
                each.by,
                each.reason,
                orjson.dumps(records.definition(each.state.resource)).decode(),
            )
            for each in self._changes
        ]
        return [list(column) for column in zip(*rows, strict=True)]

    async def _save_taken(self, connection: Connection) -> None:
        number, ended, now = self._numbers, self._ended, self._now
        rows = [
            (
                number[key[0], key[1]],
                key[2],
                own.dispatch,
                own.demand,
                own.pid,
                own.process_version,
                own.units,
                own.hold,
                own.relied_on_by,
                now,
                now if key in ended else None,
                ended.get(key),
            )
            for key, own in self._taken.items()
        ]
        await connection.copy_records_to_table("allocation", records=rows, columns=sql.ALLOCATION)

    async def _save_ends(self, connection: Connection) -> None:
        number = self._numbers
        ends = [
            (number[tenant, id], version, released)
            for (tenant, id, version), released in self._ended.items()
            if (tenant, id, version) not in self._taken
        ]
        if ends:
            await connection.execute(sql.END_ALLOCATIONS, *map(list, zip(*ends, strict=True)), self._now)
        kept = [
            (number[own.tenant, own.resource], own.version, own.dispatch, own.demand, own.relied_on_by)
            for key, own in self._kept.items()
            if key not in self._ended
        ]
        if kept:
            await connection.execute(sql.KEEP_ALLOCATIONS, *map(list, zip(*kept, strict=True)))

    async def _save_dispatches(self, connection: Connection) -> None:
        rows = [(*dispatch, self._now) for _, dispatch in sorted(self._decided.items())]
        try:
            await connection.copy_records_to_table("dispatch", records=rows, columns=sql.DISPATCH)
        except asyncpg.UniqueViolationError:
            raise OvertakenError("another transaction decided one of these dispatches") from None

    async def _save_calendars(self, connection: Connection) -> None:
        names = sorted(self._new_calendars)
        status = await connection.execute(
            sql.INSERT_CALENDARS,
            [tenant for tenant, _ in names],
            [id for _, id in names],
            [orjson.dumps(self._calendars[name][1]).decode() for name in names],
            [self._calendars[name][0] for name in names],
            self._now,
        )
        if status != f"INSERT 0 {len(names)}":
            raise OvertakenError("another transaction changed one of these calendars")
        await connection.execute(sql.LOOK_AT_ALL, [tenant for tenant, _ in names], [id for _, id in names], self._now)

    async def _save_openings(self, connection: Connection) -> None:
        """By resources whose rows are locked, in one order; a calendar's change locks no resource."""
        later = sorted((tenant, id, at) for (tenant, id), at in self._openings.items() if at is not None)
        if later:
            await connection.execute(sql.SCHEDULE, *map(list, zip(*later, strict=True)))
        never = sorted(name for name, at in self._openings.items() if at is None)
        if never:
            await connection.execute(sql.UNSCHEDULE, *map(list, zip(*never, strict=True)))

    def committed(self) -> None:
        """The cache follows by revision when a row is read next."""

    def abandoned(self) -> None:
        """Nothing is kept beyond the work itself."""


class OvertakenError(AlreadyDoneError):
    """Another transaction was faster: the same again, from the start."""


def _allocation(row: records.Row, name: Name, state: State) -> Allocation:
    return Allocation(
        name[0],
        name[1],
        row["version"],
        state.resource.type,
        row["dispatch_id"],
        row["demand"],
        row["pid"],
        row["process_version"],
        row["units"],
        Hold(row["hold"]),
        row["relied_on_by"],
    )


def _dispatch(row: records.Row) -> Dispatch:
    return Dispatch(
        row["dispatch_id"],
        row["tenant"],
        row["pid"],
        row["process_version"],
        row["queue"],
        row["outcome"],
        None if row["reason"] is None else DenialReason(row["reason"]),
        row["operator"],
        row["allocations"],
    )
