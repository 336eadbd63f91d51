"""Who waits, who meets what, and events that are kept for who comes later: SQL, in bulk."""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kernel_contracts.vocabulary import Meets
from kernel_runtime.database import Connection

from rules_svc.domain.waits import Call, Kept, Wait

_CLASS = 0x6D656574
"""Of our advisory locks, apart from those of others."""
_BUCKETS = 256

Target = tuple[str, str]
"""(tenant, type)"""


@dataclass(frozen=True, slots=True)
class Spread:
    """A call that goes on: `event` is the key of the event that it is of."""

    event: bytes
    call: Call


async def lock(connection: Connection, events: Iterable[Target], waits: Iterable[Target]) -> None:
    """Events of a type come in together; a wait begins alone. Otherwise an event and a wait that are told at the same time,
    to two replicas, could miss each other: neither sees what the other has not committed. All take them in the same order."""
    alone = {_bucket(target) for target in waits}
    buckets = sorted(alone | {_bucket(target) for target in events})
    await connection.execute(
        f"SELECT CASE WHEN alone THEN pg_advisory_xact_lock({_CLASS}, bucket)::text"
        f" ELSE pg_advisory_xact_lock_shared({_CLASS}, bucket)::text END"
        " FROM unnest($1::int[], $2::bool[]) AS wanted (bucket, alone)",
        buckets,
        [bucket in alone for bucket in buckets],
    )


def _bucket(target: Target) -> int:
    return zlib.crc32("\x1f".join(target).encode()) % _BUCKETS


_WAIT = ", ".join(f"wait.{name}" for name in Wait.__slots__)


def _wait(row: Mapping[str, Any]) -> Wait:
    return Wait(*(row[name] for name in Wait.__slots__))


async def waits_of(connection: Connection, pids: Sequence[int]) -> dict[int, Wait]:
    """The waits of these processes, locked."""
    rows = await connection.fetch(
        f"SELECT {_WAIT} FROM wait WHERE pid = ANY($1::bigint[]) ORDER BY pid FOR UPDATE", pids
    )
    return {row["pid"]: _wait(row) for row in rows}


_WAITS = """
INSERT INTO wait (pid, version, tenant, type, key, since, suspended, wake, at)
SELECT new.*, clock_timestamp() FROM unnest(
    $1::bigint[], $2::int[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::bool[], $8::text[]) AS new
ON CONFLICT (pid) DO UPDATE SET version = excluded.version, tenant = excluded.tenant, type = excluded.type,
    key = excluded.key, since = excluded.since, suspended = excluded.suspended, wake = excluded.wake, at = excluded.at
WHERE wait.version < excluded.version OR wait.wake IS DISTINCT FROM excluded.wake
"""


async def save_waits(connection: Connection, waits: Sequence[Wait], gone: Sequence[int]) -> None:
    if gone:
        await connection.execute("DELETE FROM wait WHERE pid = ANY($1::bigint[])", gone)
    if waits:
        waits = sorted(waits, key=lambda wait: wait.pid)
        await connection.execute(_WAITS, *([getattr(wait, field) for wait in waits] for field in Wait.__slots__))


_WAITING = f"""
WITH call AS (SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) AS c (tenant, type, key, after)),
found AS (
    SELECT wait.pid FROM call JOIN wait ON wait.tenant = call.tenant AND wait.type = call.type AND wait.key = call.key
        WHERE wait.pid > call.after AND wait.wake IS NULL
    UNION SELECT wait.pid FROM (SELECT tenant, type, min(after) AS after FROM call GROUP BY tenant, type) call
        JOIN wait ON wait.tenant = call.tenant AND wait.type = call.type AND wait.key IS NULL
        WHERE wait.pid > call.after AND wait.wake IS NULL
    UNION SELECT wait.pid FROM call JOIN wait ON wait.tenant = call.tenant AND wait.key = call.key
        WHERE call.type IS NULL AND wait.pid > call.after AND wait.wake IS NULL)
SELECT {_WAIT} FROM wait JOIN found USING (pid) WHERE wait.wake IS NULL ORDER BY wait.pid LIMIT $5 FOR UPDATE OF wait
"""


async def waiting(connection: Connection, calls: Sequence[Call], limit: int) -> list[Wait]:
    """Who waits for any of these, by pid; locked."""
    rows = await connection.fetch(
        _WAITING,
        [call.tenant for call in calls],
        [call.type for call in calls],
        [call.key for call in calls],
        [call.after for call in calls],
        limit,
    )
    return [_wait(row) for row in rows]


async def give(connection: Connection, pids: Sequence[int], wakes: Sequence[str]) -> None:
    """Each what it is woken with."""
    texts = list(dict.fromkeys(wakes))
    places = {text: place for place, text in enumerate(texts, 1)}
    await connection.execute(
        "UPDATE wait SET wake = ($3::text[])[new.place] FROM unnest($1::bigint[], $2::int[]) AS new (pid, place)"
        " WHERE wait.pid = new.pid",
        pids,
        [places[wake] for wake in wakes],
        texts,
    )


# The n-th wait for the same gets the n-th event of those that only one may have, so that many find one each at once.
_KEPT = """
WITH new AS (
    SELECT *, row_number() OVER (PARTITION BY tenant, type, key ORDER BY pid) - 1 AS place
    FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::timestamptz[]) AS w (pid, tenant, type, key, since))
SELECT new.pid, found.key, found.at, found.meets FROM new CROSS JOIN LATERAL (
    (SELECT key, at, meets FROM event WHERE {match} AND meets = 'all' AND new.pid <> ALL (correlated)
        ORDER BY at, key LIMIT 1)
    UNION ALL
    (SELECT key, at, meets FROM event WHERE {match} AND meets <> 'all' ORDER BY at, key OFFSET new.place LIMIT 1)
) found WHERE new.key IS {null} NULL
"""
_OPEN = "event.tenant = new.tenant AND event.type = new.type AND until > clock_timestamp() AND NOT taken"
_KEPT_KEYED = _KEPT.format(match=f"{_OPEN} AND event.correlation = new.key", null="NOT")
_KEPT_NEXT = _KEPT.format(match=f"{_OPEN} AND event.at >= new.since", null="")


async def kept(connection: Connection, waits: Sequence[Wait]) -> list[Kept]:
    """What these could meet: for each the oldest that is everybody's, and one that is for one alone."""
    found: list[Kept] = []
    keyed = [wait for wait in waits if wait.key is not None]
    for sql, some in ((_KEPT_KEYED, keyed), (_KEPT_NEXT, [wait for wait in waits if wait.key is None])):
        if some:
            columns = ([getattr(wait, name) for wait in some] for name in ("pid", "tenant", "type", "key", "since"))
            rows = await connection.fetch(sql, *columns)
            found += [Kept(row["pid"], row["key"], row["at"], Meets(row["meets"])) for row in rows]
    return found


_CORRELATE = """
UPDATE event SET correlated = correlated || string_to_array(new.pids, ',')::bigint[], taken = meets <> 'all'
FROM unnest($1::bytea[], $2::text[]) AS new (key, pids)
WHERE event.key = new.key AND NOT taken AND until > clock_timestamp() RETURNING event.key, event.wake
"""


async def take(connection: Connection, chosen: Mapping[bytes, Sequence[int]]) -> dict[bytes, str]:
    """Kept events meet these processes: key -> what they are woken with; one whose time has just passed is not among them."""
    rows = await connection.fetch(_CORRELATE, list(chosen), [",".join(map(str, pids)) for pids in chosen.values()])
    return {row["key"]: row["wake"] for row in rows}


async def correlate(connection: Connection, met: Mapping[bytes, Sequence[int]]) -> None:
    """Further processes that events have met, which were met by others already."""
    await connection.execute(
        "UPDATE event SET correlated = correlated || string_to_array(new.pids, ',')::bigint[], taken = meets <> 'all'"
        " FROM unnest($1::bytea[], $2::text[]) AS new (key, pids) WHERE event.key = new.key",
        list(met),
        [",".join(map(str, pids)) for pids in met.values()],
    )


_GIVE_BACK = """
UPDATE event SET correlated = array_remove(correlated, new.pid), taken = false, expired = expired OR (taken AND until IS NULL)
FROM unnest($1::bytea[], $2::bigint[]) AS new (key, pid) WHERE event.key = new.key
RETURNING event.key, tenant, type, correlation, wake, until > clock_timestamp() AND meets <> 'all' AS again
"""


async def give_back(connection: Connection, unmet: Sequence[tuple[bytes, int]]) -> list[Spread]:
    """(event, pid) of processes that went another way before they were woken; what is now free for somebody else."""
    rows = await connection.fetch(_GIVE_BACK, [key for key, _ in unmet], [pid for _, pid in unmet])
    return [
        Spread(row["key"], Call(row["tenant"], row["type"], row["correlation"], row["wake"], Meets.ONE))
        for row in rows
        if row["again"]
    ]


async def add_spreads(connection: Connection, found: Sequence[Spread]) -> None:
    calls = [each.call for each in found]
    await connection.execute(
        "INSERT INTO spread (event, tenant, type, key, wake, meets, after)"
        " SELECT * FROM unnest($1::bytea[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[])",
        [each.event for each in found],
        *([getattr(call, name) for call in calls] for name in Call.__slots__),
    )


async def take_spreads(connection: Connection, ids: Sequence[int]) -> dict[int, Spread]:
    """Deletes them: which are this batch's to go on with. An event for one alone must still be free."""
    rows = await connection.fetch("DELETE FROM spread WHERE id = ANY($1::bigint[]) RETURNING *", ids)
    found = {
        row["id"]: Spread(
            row["event"],
            Call(row["tenant"], row["type"], row["key"], row["wake"], Meets(row["meets"]), row["after"]),
        )
        for row in rows
    }
    alone = [each.event for each in found.values() if each.call.meets is Meets.ONE]
    if not alone:
        return found
    free = await connection.fetch(
        "SELECT key FROM event WHERE key = ANY($1::bytea[]) AND NOT taken AND NOT expired"
        " AND (until IS NULL OR until > clock_timestamp())",
        alone,
    )
    still = {row["key"] for row in free}
    for id in sorted(found):
        event = found[id].event
        if found[id].call.meets is Meets.ONE and event not in still:
            del found[id]
        still.discard(event)
    return found


async def spreads(connection: Connection, limit: int) -> list[tuple[int, str, str | None]]:
    """(id, tenant, type) of those that wait to go on, oldest first."""
    rows = await connection.fetch("SELECT id, tenant, type FROM spread ORDER BY id LIMIT $1", limit)
    return [(row["id"], row["tenant"], row["type"]) for row in rows]


_EXPIRE = """
UPDATE event SET until = NULL, wake = NULL, expired = correlated = '{}' WHERE key IN (
    SELECT key FROM event WHERE until <= clock_timestamp() ORDER BY until LIMIT $1 FOR UPDATE SKIP LOCKED)
"""


async def expire(connection: Connection, limit: int) -> int:
    """Marks those whose time has passed, the most overdue first; how many."""
    status = await connection.execute(_EXPIRE, limit)
    return int(status.rsplit(" ", 1)[1])
