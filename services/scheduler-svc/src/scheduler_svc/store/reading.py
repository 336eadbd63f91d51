"""What any replica answers from the database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from kernel_contracts.scheduler import QueueDefinition
from kernel_contracts.vocabulary import QueuePolicy
from kernel_runtime.database import Connection

from scheduler_svc import texts
from scheduler_svc.domain.durations import PRIOR
from scheduler_svc.domain.eta import Eta, eta
from scheduler_svc.domain.explain import TURN_COMES, Explanation, Standing, explain
from scheduler_svc.domain.order import DOUBLING, Ageing, Factor, factors
from scheduler_svc.domain.queues import Item, ItemState
from scheduler_svc.domain.waits import merge, quantile
from scheduler_svc.store import queues
from scheduler_svc.store.planner import item_from, resource_from

_WANTED = f"$4::float8 * coalesce({{0}}.expected_duration, {PRIOR}) / 2.0::float8 ^ (({{0}}.priority - 50)::float8 / {DOUBLING})"
_HALF = "$5::float8 / 2"
_LENGTH = (
    f"(extract(epoch FROM {{0}}.ready_at)::float8 + CASE WHEN {_WANTED} <= {_HALF} THEN {_WANTED}"
    f" ELSE {_HALF} + {_HALF} * ({_WANTED} - {_HALF}) / ({_WANTED}) END, {{0}}.ready_at, {{0}}.pid)"
)
_ORDERS = {
    QueuePolicy.PRIORITY: "(-{0}.priority, {0}.ready_at, {0}.pid)",
    QueuePolicy.FIFO: "({0}.ready_at, {0}.pid)",
    QueuePolicy.EDF: "(coalesce(extract(epoch FROM {0}.due)::float8 - coalesce({0}.expected_duration, 0), 'infinity'),"
    " -{0}.priority, {0}.ready_at, {0}.pid)",
    QueuePolicy.SJF: _LENGTH,
    QueuePolicy.FAIR: "({0}.tag, {0}.pid)",
    QueuePolicy.WEIGHTED: "({0}.tag, {0}.pid)",
}
"""The orderings of domain/order.py, for counting; a test holds them together."""

_STANDINGS = """
SELECT queue, count(*) FILTER (WHERE state IN ('ready', 'proposed')) AS depth,
    count(*) FILTER (WHERE state = 'running') AS running,
    min(ready_at) FILTER (WHERE state IN ('ready', 'proposed')) AS oldest
FROM ready_item WHERE tenant = $1 AND queue = ANY($2::text[]) GROUP BY queue
"""


async def standings(connection: Connection, tenant: str, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """By queue: depth, running, oldest, and the waits of the last hour in seconds."""
    told: dict[str, dict[str, Any]] = {
        name: {"depth": 0, "running": 0, "oldest": None, "wait": {"p50": None, "p95": None}} for name in names
    }
    for row in await connection.fetch(_STANDINGS, tenant, list(names)):
        told[row["queue"]].update(depth=row["depth"], running=row["running"], oldest=row["oldest"])
    waits: dict[str, list[Sequence[int]]] = {}
    for row in await connection.fetch(
        "SELECT queue, counts FROM queue_wait WHERE tenant = $1 AND queue = ANY($2::text[])"
        " AND minute > clock_timestamp() - interval '1 hour'",
        tenant,
        list(names),
    ):
        waits.setdefault(row["queue"], []).append(row["counts"])
    for name, histograms in waits.items():
        total = merge(histograms)
        told[name]["wait"] = {"p50": quantile(total, 0.5), "p95": quantile(total, 0.95)}
    return told


@dataclass(frozen=True, slots=True)
class Why:
    item: Item
    position: int | None
    explanation: Explanation
    factors: tuple[Factor, ...]
    eta: Eta | None
    until: Mapping[int, datetime]
    """Of those in its way, when they are expected to end."""


async def why(connection: Connection, tenant: str, pid: int) -> Why | None:
    """Where a process stands and what is in its way; None where it is neither READY nor RUNNING here."""
    row = await connection.fetchrow("SELECT * FROM ready_item WHERE tenant = $1 AND pid = $2", tenant, pid)
    if row is None or row["state"] == ItemState.HOLDING:
        return None
    item = item_from(row)
    stored = (await queues.find(connection, tenant, [item.queue])).get(item.queue)
    definition = stored.definition if stored is not None else QueueDefinition()
    policy, ageing = definition.policy, Ageing(definition.ageing.factor, definition.ageing.bound.total_seconds())
    standing = Standing(
        paused=definition.paused,
        limit=definition.limits.running,
        busy=await _busy(connection, item),
    )
    now = await connection.fetchval("SELECT clock_timestamp()")
    resources = [
        resource_from(row)
        for row in await connection.fetch(
            "SELECT * FROM resource_copy WHERE tenant = $1"
            " AND (id = ANY($2::text[]) OR (type = ANY($3::text[]) AND type <> 'entity'))",
            tenant,
            [demand.resource for demand in item.demands.all if demand.resource is not None],
            [demand.need.type for demand in item.demands.all],
        )
    ]
    holders: dict[str, list[tuple[int, int]]] = {}
    by_id = {resource.id: resource for resource in resources}
    until: dict[int, datetime] = {}
    for pid_, demands, candidates, held, begun, expected in await connection.fetch(
        "SELECT pid, demands, CASE WHEN state = 'proposed' THEN candidates ELSE '[]' END, held,"
        " CASE WHEN state <> 'holding' THEN proposed_at END, expected_duration FROM ready_item"
        " WHERE tenant = $1 AND (state = 'proposed' OR held <> '{}')",
        tenant,
    ):
        if begun is not None and expected is not None and (end := _later(begun, expected)) > now:
            until[pid_] = end
        for id, has in texts.held_from(held).items():
            holders.setdefault(id, []).append((pid_, has.units))
        for demand, ids in zip(orjson.loads(demands), orjson.loads(candidates), strict=False):
            if ids and ids[0] in by_id:
                units = demand.get("units", 1)
                holders.setdefault(ids[0], []).append((pid_, units))
                by_id[ids[0]].outstanding += units
                by_id[ids[0]].settle()
    position = await _position(connection, item, policy, ageing) if item.state is ItemState.READY else None
    explanation = explain(item, standing, resources, holders, now)
    found = None
    if position is not None and explanation.reason in TURN_COMES:
        found = eta(position, *await _pace(connection, item), now)
    return Why(item, position, explanation, factors(item, policy, ageing, now), found, until)


def _later(at: datetime, seconds: float) -> datetime:
    return at + timedelta(seconds=min(seconds, 1e9))


async def _pace(connection: Connection, item: Item) -> tuple[int, float]:
    """How many of its queue were granted in the last hour, and in how many seconds since the first of them."""
    row = await connection.fetchrow(
        "SELECT coalesce(sum((SELECT sum(c) FROM unnest(counts) AS c)), 0)::bigint AS started,"
        " extract(epoch FROM clock_timestamp() - min(minute))::float8 AS seconds FROM queue_wait"
        " WHERE tenant = $1 AND queue = $2 AND minute > clock_timestamp() - interval '1 hour'",
        item.tenant,
        item.queue,
    )
    assert row is not None
    return row["started"], row["seconds"] or 0.0


async def _busy(connection: Connection, item: Item) -> int:
    busy = await connection.fetchval(
        "SELECT count(*) FROM ready_item WHERE tenant = $1 AND queue = $2 AND state IN ('proposed', 'running')",
        item.tenant,
        item.queue,
    )
    assert isinstance(busy, int)
    return busy


async def _position(connection: Connection, item: Item, policy: QueuePolicy, ageing: Ageing) -> int:
    order = _ORDERS[policy]
    before = await connection.fetchval(
        "SELECT count(*) FROM ready_item AS other, ready_item AS own WHERE own.pid = $3"
        " AND other.tenant = $1 AND other.queue = $2 AND other.state = 'ready'"
        f" AND {order.format('other')} < {order.format('own')}",
        item.tenant,
        item.queue,
        item.pid,
        *((ageing.factor, ageing.bound) if policy is QueuePolicy.SJF else ()),
    )
    assert isinstance(before, int)
    return before + 1
