"""What the services' databases say now, each read on one snapshot: the facts that are compared across them."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import asyncpg

Name = tuple[str, str]
"""Tenant and id."""


@dataclass(frozen=True, slots=True)
class Process:
    """One that has not ended, or that holds something."""

    pid: int
    version: int
    state: str
    dispatch: str | None
    tenant: str
    operator: str | None


@dataclass(frozen=True, slots=True)
class Allocation:
    """Units that are held now. (resource, version) names it."""

    pid: int
    resource: Name
    version: int
    dispatch: str
    demand: int
    hold: str
    units: int


@dataclass(frozen=True, slots=True)
class Resource:
    """As resource-svc, its owner, has it."""

    name: Name
    type: str
    capacity: int
    used: int
    version: int
    usable: bool
    labels: Mapping[str, str] = field(default_factory=dict)
    roles: frozenset[str] = frozenset()
    skills: Mapping[str, int] = field(default_factory=dict)

    @property
    def free(self) -> int:
        return self.capacity - self.used


@dataclass(frozen=True, slots=True)
class Copy:
    """The scheduler's copy of a resource's use."""

    version: int
    used: int
    capacity: int


@dataclass(frozen=True, slots=True)
class Item:
    """The scheduler's knowledge of a process."""

    pid: int
    tenant: str
    queue: str
    state: str
    version: int
    latest: int
    demands: tuple[Mapping[str, Any], ...]
    keeps: tuple[tuple[str, str, int], ...]
    """(resource, type, units) of what it holds until its end."""
    not_after: datetime | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """Read in this order: processes, resources, scheduler. What a later one does not know yet, a still later look will tell."""

    processes: Mapping[int, Process]
    allocations: Mapping[int, tuple[Allocation, ...]]
    granted: Mapping[str, tuple[int, int]]
    """Of each granted dispatch of something held, or of a running process: its pid and the number of its allocations."""
    resources: Mapping[Name, Resource]
    items: Mapping[int, Item]
    copies: Mapping[Name, Copy]
    closed: frozenset[Name]
    """Queues that are paused or run as many as they may."""
    now: datetime


async def read(process_dsn: str, resource_dsn: str, scheduler_dsn: str) -> Facts:
    """All of them; the processes once more, at the end, where only an allocation or an item names them."""
    processes = await _processes(process_dsn, "state <> 'TERMINATED'")
    running = [each.dispatch for each in processes.values() if each.state == "RUNNING"]
    async with snapshot(resource_dsn) as database:
        allocations, granted = await _allocations(database, running)
        resources = {each.name: each for each in await _resources(database)}
    async with snapshot(scheduler_dsn) as database:
        now = await database.fetchval("SELECT clock_timestamp()")
        items = {each.pid: each for each in await _items(database)}
        copies = {
            (row["tenant"], row["id"]): Copy(row["version"], row["used"], row["capacity"])
            for row in await database.fetch("SELECT tenant, id, version, used, capacity FROM resource_copy")
        }
        closed = await _closed(database)
    strangers = (set(allocations) | set(items)) - set(processes)
    if strangers:
        processes = {**(await _processes(process_dsn, "pid = ANY($1::bigint[])", list(strangers))), **processes}
    return Facts(processes, allocations, granted, resources, items, copies, closed, now)


@asynccontextmanager
async def snapshot(dsn: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(dsn, timeout=10, command_timeout=120)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            yield connection
    finally:
        await connection.close(timeout=5)


async def outboxes(dsns: Mapping[str, str]) -> frozenset[str]:
    """The oldest row of each outbox: one that moves on has another one at the next look."""
    found = set()
    for service, dsn in dsns.items():
        async with snapshot(dsn) as database:
            if await database.fetchval("SELECT to_regclass('outbox') IS NULL"):
                continue
            row = await database.fetchrow("SELECT id, topic, key FROM outbox ORDER BY id LIMIT 1")
            if row is not None:
                found.add(f"{service}: row {row['id']} for {row['topic']}, key {row['key']}")
    return frozenset(found)


async def _processes(dsn: str, which: str, *arguments: Any) -> dict[int, Process]:
    async with snapshot(dsn) as database:
        rows = await database.fetch(
            f"SELECT pid, version, state, dispatch_id, tenant, operator FROM process WHERE {which}", *arguments
        )
    return {row["pid"]: Process(*row) for row in rows}


async def _allocations(
    database: Any, running: list[str | None]
) -> tuple[dict[int, tuple[Allocation, ...]], dict[str, tuple[int, int]]]:
    held: dict[int, list[Allocation]] = {}
    for row in await database.fetch(
        "SELECT a.pid, r.tenant, r.id, a.version, a.dispatch_id, a.demand, a.hold, a.units"
        " FROM allocation a JOIN resource r ON r.number = a.resource WHERE a.released_at IS NULL"
    ):
        pid, tenant, id, *rest = row
        held.setdefault(pid, []).append(Allocation(pid, (tenant, id), *rest))
    rows = await database.fetch(
        "SELECT dispatch_id, pid, allocations FROM dispatch WHERE dispatch_id = ANY($1::text[]) AND outcome = 'granted'",
        [each for each in running if each is not None],
    )
    return {pid: tuple(each) for pid, each in held.items()}, {row[0]: (row[1], row[2]) for row in rows}


async def _resources(database: Any) -> list[Resource]:
    rows = await database.fetch(
        "SELECT tenant, id, type, capacity, used, version, labels, roles, skills,"
        " NOT deleted AND status = 'in_service' AND presence = 'available' AND NOT closed AS usable FROM resource"
    )
    return [
        Resource(
            (row["tenant"], row["id"]),
            row["type"],
            row["capacity"],
            row["used"],
            row["version"],
            row["usable"],
            json.loads(row["labels"]) or {},
            frozenset(json.loads(row["roles"])),
            {skill["skill"]: skill.get("level", 1) for skill in json.loads(row["skills"]) if not skill.get("expires")},
        )
        for row in rows
    ]


async def _items(database: Any) -> list[Item]:
    rows = await database.fetch(
        "SELECT pid, tenant, queue, state, version, latest, demands, held, not_after FROM ready_item"
    )
    return [
        Item(
            row["pid"],
            row["tenant"],
            row["queue"],
            row["state"],
            row["version"],
            row["latest"],
            tuple(json.loads(row["demands"])),
            tuple((id, type, units) for id, (type, units, keep) in json.loads(row["held"]).items() if keep),
            row["not_after"],
        )
        for row in rows
    ]


async def _closed(database: Any) -> frozenset[Name]:
    busy: dict[Name, int] = {}
    for tenant, queue, count in await database.fetch(
        "SELECT tenant, queue, count(*) FROM ready_item WHERE state IN ('proposed', 'running') GROUP BY tenant, queue"
    ):
        busy[tenant, queue] = count
    closed = set()
    for tenant, name, text in await database.fetch("SELECT tenant, name, definition FROM queue"):
        definition = json.loads(text)
        limit = (definition.get("limits") or {}).get("running")
        if definition.get("paused") or (limit is not None and busy.get((tenant, name), 0) >= limit):
            closed.add((tenant, name))
    return frozenset(closed)
