"""The planner's rows: written through in bulk, read back whole when it starts or is in doubt."""

from collections.abc import Sequence
from typing import Any

import asyncpg
import orjson
from kernel_runtime.database import Connection

from scheduler_svc import texts
from scheduler_svc.domain.demands import Skill
from scheduler_svc.domain.durations import Known, Step
from scheduler_svc.domain.line import Changes
from scheduler_svc.domain.queues import Item, ItemState
from scheduler_svc.domain.resources import Resource
from scheduler_svc.domain.state import State
from scheduler_svc.store.queues import definition_from

_ITEM_COLUMNS = (
    "pid, tenant, queue, service, version, latest, priority, ready_at, not_after, due, expected_duration, demands, cause,"
    " state, attempt, dispatch_id, proposed_at, candidates, held, denials, reason, retry_at, tries, previous, tag"
)
_SAVE_ITEMS = f"""
INSERT INTO ready_item ({_ITEM_COLUMNS})
SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::smallint[],
    $8::timestamptz[], $9::timestamptz[], $10::timestamptz[], $11::float8[], $12::text[], $13::text[], $14::text[],
    $15::int[], $16::text[], $17::timestamptz[], $18::text[], $19::text[], $20::int[], $21::text[], $22::timestamptz[],
    $23::smallint[], $24::text[], $25::float8[])
ON CONFLICT (pid) DO UPDATE SET ({_ITEM_COLUMNS}) = ROW (EXCLUDED.*)
"""
_PROPOSE = """
UPDATE ready_item SET state = 'proposed', attempt = told.attempt, dispatch_id = told.dispatch_id,
    proposed_at = told.proposed_at, candidates = told.candidates, retry_at = NULL
FROM unnest($1::bigint[], $2::int[], $3::text[], $4::timestamptz[], $5::text[])
    AS told (pid, attempt, dispatch_id, proposed_at, candidates) WHERE ready_item.pid = told.pid
"""
_RUN = """
UPDATE ready_item SET state = 'running', held = told.held, denials = 0, reason = NULL
FROM unnest($1::bigint[], $2::text[]) AS told (pid, held) WHERE ready_item.pid = told.pid
"""
_REMOVE_ITEMS = "DELETE FROM ready_item WHERE pid = ANY($1::bigint[])"

_SAVE_DURATIONS = """
INSERT INTO service_time (tenant, service, tries, previous, count, mean)
SELECT * FROM unnest($1::text[], $2::text[], $3::smallint[], $4::text[], $5::bigint[], $6::float8[])
ON CONFLICT (tenant, service, tries, previous) DO UPDATE SET count = EXCLUDED.count, mean = EXCLUDED.mean
"""
_SAVE_RESOURCES = """
INSERT INTO resource_copy (tenant, id, type, version, defined, capacity, used, idle_since, open, body)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::int[], $7::int[],
    $8::timestamptz[], $9::boolean[], $10::text[])
ON CONFLICT (tenant, id) DO UPDATE SET type = EXCLUDED.type, version = EXCLUDED.version, defined = EXCLUDED.defined,
    capacity = EXCLUDED.capacity, used = EXCLUDED.used, idle_since = EXCLUDED.idle_since, open = EXCLUDED.open,
    body = EXCLUDED.body
"""
_USE = """
UPDATE resource_copy SET version = told.version, capacity = told.capacity, used = told.used, idle_since = told.idle_since
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::int[], $5::int[], $6::timestamptz[])
    AS told (tenant, id, version, capacity, used, idle_since)
WHERE resource_copy.tenant = told.tenant AND resource_copy.id = told.id
"""
_FORGET_RESOURCES = """
DELETE FROM resource_copy USING unnest($1::text[], $2::text[]) AS told (tenant, id)
WHERE resource_copy.tenant = told.tenant AND resource_copy.id = told.id
"""


async def save_items(connection: Connection, changes: Changes) -> None:
    """Removed, new, placed, granted, changed otherwise: at most one statement each. What is new goes by COPY, the fastest."""
    new: list[tuple[Any, ...]] = []
    full: list[tuple[Any, ...]] = []
    proposed: list[tuple[Any, ...]] = []
    running: list[tuple[int, str]] = []
    for item in changes.items.values():
        if not item.stored:
            new.append(_row(item))
        elif item.slight and item.state is ItemState.RUNNING:
            running.append((item.pid, texts.held_text(item)))
        elif item.slight and item.state is ItemState.PROPOSED:
            ids = orjson.dumps(item.candidates).decode()
            proposed.append((item.pid, item.attempt, item.dispatch_id, item.proposed_at, ids))
        else:
            full.append(_row(item))
    if changes.removed:
        await connection.execute(_REMOVE_ITEMS, list(changes.removed))
    if new:
        await connection.copy_records_to_table("ready_item", records=new, columns=_ITEM_COLUMNS.split(", "))
    if full:
        await connection.execute(_SAVE_ITEMS, *_columns(full))
    if proposed:
        await connection.execute(_PROPOSE, *_columns(proposed))
    if running:
        await connection.execute(_RUN, *_columns(running))


async def save_durations(connection: Connection, changes: Changes) -> None:
    """What was learnt in this batch of how long steps take."""
    rows = [(tenant, s.service, s.tries, s.previous, k.count, k.mean) for (tenant, s), k in changes.learnt.items()]
    await connection.execute(_SAVE_DURATIONS, *_columns(rows))


async def save_resources(connection: Connection, changes: Changes) -> None:
    """Definitions that changed with all they say, the others by their usage alone."""
    full: list[tuple[Any, ...]] = []
    used: list[tuple[Any, ...]] = []
    for r in changes.resources.values():
        if r.stored == r.defined:
            used.append((r.tenant, r.id, r.version, r.capacity, r.used, r.idle_since))
        elif r.version:
            body = _body(r)
            full.append((r.tenant, r.id, r.type, r.version, r.defined, r.capacity, r.used, r.idle_since, r.open, body))
    if changes.forgotten:
        await connection.execute(_FORGET_RESOURCES, *_columns(list(changes.forgotten)))
    if full:
        await connection.execute(_SAVE_RESOURCES, *_columns(full))
    if used:
        await connection.execute(_USE, *_columns(used))


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _row(item: Item) -> tuple[Any, ...]:
    return (
        item.pid,
        item.tenant,
        item.queue,
        item.service,
        item.version,
        item.latest,
        item.priority,
        item.ready_at,
        item.not_after,
        item.due,
        item.expected,
        texts.demands_text(item),
        item.cause,
        item.state,
        item.attempt,
        item.dispatch_id,
        item.proposed_at,
        orjson.dumps(item.candidates).decode() if item.candidates else "[]",
        texts.held_text(item),
        item.denials,
        item.reason,
        item.retry_at,
        item.tries,
        item.previous,
        item.tag,
    )


def _body(resource: Resource) -> str:
    skills = {name: (skill.level, skill.expires) for name, skill in resource.skills.items()}
    return orjson.dumps({"labels": resource.labels, "roles": sorted(resource.roles), "skills": skills}).decode()


async def load_state(connection: Connection, tenant: str | None = None, most: int | None = None) -> State:
    """All that the planner works on, as it was at the last commit; or that of a tenant, with `most` of those in line."""
    state = State()
    query = "SELECT tenant, name, version, definition FROM queue WHERE $1::text IS NULL OR tenant = $1"
    for row in await connection.fetch(query + " ORDER BY tenant, name", tenant):
        definition = definition_from(row["definition"])
        state.define(texts.settings_from(row["tenant"], row["name"], row["version"], definition))
    query = "SELECT * FROM service_time WHERE $1::text IS NULL OR tenant = $1 ORDER BY tenant, service, tries, previous"
    for row in await connection.fetch(query, tenant):
        step = Step(row["service"], row["tries"], row["previous"])
        state.restore_duration(row["tenant"], step, Known(row["count"], row["mean"]))
    query = "SELECT * FROM resource_copy WHERE $1::text IS NULL OR tenant = $1 ORDER BY tenant, id"
    async for row in connection.cursor(query, tenant, prefetch=1000):
        state.restore_resource(resource_from(row))
    query = f"SELECT {_ITEM_COLUMNS} FROM ready_item WHERE $1::text IS NULL OR tenant = $1 ORDER BY proposed_at, pid LIMIT $2"
    async for row in connection.cursor(query, tenant, most, prefetch=1000):
        item = item_from(row)
        item.stored = True
        state.restore_item(item)
    state.take_changes()
    return state


def resource_from(row: asyncpg.Record) -> Resource:
    resource = Resource(row["tenant"], row["id"], row["type"])
    body = orjson.loads(row["body"])
    resource.version, resource.defined, resource.stored = row["version"], row["defined"], row["defined"]
    resource.capacity, resource.used, resource.open = row["capacity"], row["used"], row["open"]
    resource.idle_since = row["idle_since"]
    resource.labels = body["labels"]
    resource.roles = frozenset(body["roles"])
    resource.skills = {
        name: Skill(level, texts.time_from(expires)) for name, (level, expires) in body["skills"].items()
    }
    resource.flexibility = len(resource.roles) + len(resource.skills)
    resource.settle()
    return resource


def item_from(row: asyncpg.Record) -> Item:
    return Item(
        pid=row["pid"],
        tenant=row["tenant"],
        queue=row["queue"],
        service=row["service"],
        version=row["version"],
        latest=row["latest"],
        priority=row["priority"],
        ready_at=row["ready_at"],
        not_after=row["not_after"],
        due=row["due"],
        expected=row["expected_duration"],
        demands=texts.demands_of(orjson.loads(row["demands"])),
        cause=row["cause"],
        state=ItemState(row["state"]),
        attempt=row["attempt"],
        dispatch_id=row["dispatch_id"],
        proposed_at=row["proposed_at"],
        candidates=tuple(tuple(ids) for ids in orjson.loads(row["candidates"])),
        held=texts.held_from(row["held"]),
        denials=row["denials"],
        reason=row["reason"],
        retry_at=row["retry_at"],
        chain=(orjson.loads(row["cause"])[1] or "") if row["cause"] else "",
        tries=row["tries"],
        previous=row["previous"],
        tag=row["tag"],
    )
