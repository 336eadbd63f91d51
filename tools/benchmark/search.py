"""The queries of lists and task lists over a large number of processes: filling them in, and how long each query takes."""

import random
import time
from collections.abc import Sequence
from typing import Any

import httpx
from kernel_runtime.database import Connection

SERVICES, OPERATORS = 40, 200

FILL = """
INSERT INTO process (pid, root, created_at, context_version, version, service_version, attempt, priority, held, has_children,
    has_dependents, tenant, service, queue, state, after_mode, after_on, context_hash, context, outcome, operator, assigned,
    dispatch_id, entity_type, entity_id, key, ready_at, started_at, ended_at, due)
SELECT pid, pid, at, 1, 2, 1, 1, priority, false, false, false, 'main', service, queue, state, 'all', 'completed',
    sha256(repeat('00', 32)::bytea || context::bytea), context, CASE WHEN state = 'TERMINATED' THEN 'completed' END,
    CASE WHEN state IN ('RUNNING', 'TERMINATED') THEN operator END, CASE WHEN n % 50 = 7 AND state = 'READY' THEN operator END,
    CASE WHEN state IN ('RUNNING', 'TERMINATED') THEN pid || '.2.1' END, CASE WHEN n % 2 = 0 THEN 'permit' END,
    CASE WHEN n % 2 = 0 THEN 'permit-' || n % 100000 END, CASE WHEN n % 3 = 0 THEN 'order-' || n END, at, at,
    CASE WHEN state = 'TERMINATED' THEN at END, CASE WHEN n % 4 = 0 THEN at + interval '1 day' * (n % 30) END
FROM (
    SELECT n, n + 10000000 AS pid, clock_timestamp() - interval '1 s' * ($2 - n) AS at,
        'bench-' || (power(hashint4(n)::float8 / 4294967296 + 0.5, 2) * 40)::int AS service, 'queue-' || n % 5 AS queue,
        CASE WHEN n % 10 = 1 THEN 90 WHEN n % 10 = 2 THEN 20 ELSE 50 END AS priority, 'clerk-' || n % 200 AS operator,
        CASE WHEN n <= $2 * $3::float8 THEN 'TERMINATED' WHEN n % 20 < 17 THEN 'READY' WHEN n % 20 = 17 THEN 'RUNNING'
            WHEN n % 20 = 18 THEN 'WAITING' ELSE 'SUSPENDED' END AS state,
        '{"amount":' || n % 5000 || ',"district":"' || (ARRAY['north', 'south', 'east', 'west'])[n % 4 + 1] || '"}' AS context
    FROM generate_series($1::int, least($1::int + 99999, $2::int)) AS n
) made
"""
"""$1: from which number, $2: how many in all, $3: the share that has ended. Their journals are left out."""

QUERIES = {
    "newest": "/v1/processes?sort=-pid",
    "oldest": "/v1/processes",
    "state": "/v1/processes?state=SUSPENDED",
    "two states, newest": "/v1/processes?state=READY,RUNNING&sort=-pid",
    "ended, newest": "/v1/processes?state=TERMINATED&sort=-pid",
    "service": "/v1/processes?service={service}",
    "service and state": "/v1/processes?service={service}&state=READY",
    "unknown service": "/v1/processes?service=nobody-knows-it",
    "operator, newest": "/v1/processes?operator={operator}&sort=-pid",
    "operator and state": "/v1/processes?operator={operator}&state=RUNNING",
    "entity": "/v1/processes?entity_type=permit&entity_id=permit-{even}",
    "key": "/v1/processes?key=order-{third}",
    "queue": "/v1/processes?queue=queue-{small}",
    "unknown queue": "/v1/processes?queue=nowhere",
    "by created": "/v1/processes?sort=created_at",
    "by created, newest": "/v1/processes?sort=-created_at",
    "by priority": "/v1/processes?sort=-priority",
    "by due": "/v1/processes?sort=due",
    "ready, by created": "/v1/processes?state=READY&sort=created_at",
    "ready, by priority": "/v1/processes?state=READY&sort=-priority",
    "service, by due": "/v1/processes?service={service}&state=READY&sort=due",
    "created lately": "/v1/processes?created_after={lately}&sort=-pid",
    "created lately, oldest first": "/v1/processes?created_after={lately}",
    "due before": "/v1/processes?due_before={lately}&state=READY&sort=due",
    "ended lately": "/v1/processes?ended_after={lately}&sort=-ended_at",
    "ended lately, by pid": "/v1/processes?ended_after={lately}&sort=-pid",
    "cancelled": "/v1/processes?outcome=cancelled",
    "text, exact": "/v1/processes?q=order-{third}",
    "text, some": "/v1/processes?q=mit-{even}",
    "text, many": "/v1/processes?q=order",
    "text, none": "/v1/processes?q=zzqqy",
    "text, a title": "/v1/processes?q=Work%20of%20bench-7",
    "context": "/v1/processes?service={service}&context.amount={amount}",
    "context, many": "/v1/processes?service={service}&context.district=north",
    "context and state": "/v1/processes?service={service}&state=READY&context.amount={amount}",
    "count": "/v1/processes?count=true&limit=1",
    "count of a state": "/v1/processes?state=READY&count=true&limit=1",
    "count of a service": "/v1/processes?service={service}&count=true&limit=1",
    "tasks": "/v1/operators/{operator}/tasks?roles=role-{small}",
    "tasks of many roles": "/v1/operators/{operator}/tasks?roles=role-0,role-1,role-2,role-3,role-4",
    "tasks of no role": "/v1/operators/{operator}/tasks?roles=nothing",
    "incidents": "/v1/incidents?state=open",
}
"""Of the public face; each with other values every time."""


async def fill(connection: Connection, number: int, ended: float = 0.8) -> None:
    """`number` processes of SERVICES services, the older `ended` of them TERMINATED, with what searches find them by."""
    for start in range(1, number + 1, 100_000):
        await connection.execute(FILL, start, number, ended, timeout=300)
    await connection.execute(
        "INSERT INTO process_text SELECT pid, concat_ws(chr(10), key, entity_id) FROM process"
        " WHERE key IS NOT NULL OR entity_id IS NOT NULL ON CONFLICT DO NOTHING",
        timeout=300,
    )
    await connection.execute(
        "INSERT INTO process_attribute SELECT tenant, service, name, context::jsonb ->> name, pid FROM process"
        " CROSS JOIN unnest(ARRAY['amount', 'district']) AS name WHERE service LIKE 'bench-%' ON CONFLICT DO NOTHING",
        timeout=300,
    )
    await connection.execute("VACUUM ANALYZE", timeout=300)


def definition(number: int) -> dict[str, Any]:
    """Of `bench-NUMBER`."""
    return {"roles": [f"role-{number % 5}"], "title": f"Work of bench-{number}", "indexed": ["amount", "district"]}


async def asked(http: httpx.AsyncClient, rounds: int) -> dict[str, tuple[float, float]]:
    """Milliseconds of each query, as p50 and p99."""
    dice = random.Random(1)
    times: dict[str, list[float]] = {name: [] for name in QUERIES}
    for turn in range(rounds):
        for name, path in QUERIES.items():
            url = path.format(**_values(dice))
            started = time.perf_counter()
            answer = await http.get(url)
            if turn:  # the first one warms up
                times[name].append(1000 * (time.perf_counter() - started))
            assert answer.status_code == 200, (url, answer.text)
    return {name: (_at(found, 0.5), _at(found, 0.99)) for name, found in times.items()}


def _values(dice: random.Random) -> dict[str, object]:
    return {
        "service": f"bench-{dice.randrange(SERVICES)}",
        "operator": f"clerk-{dice.randrange(OPERATORS)}",
        "even": dice.randrange(0, 100_000, 2),
        "third": dice.randrange(0, 300_000, 3),
        "small": dice.randrange(5),
        "amount": dice.randrange(5_000),
        "lately": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - dice.randrange(60, 7200))),
    }


def _at(found: Sequence[float], share: float) -> float:
    return round(sorted(found)[min(len(found) - 1, int(share * len(found)))], 1)
