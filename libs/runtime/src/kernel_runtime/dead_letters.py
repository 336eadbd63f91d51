"""Messages that could not be read or carried out: kept with the reason, to be looked at, edited, replayed or discarded.

A message that broke is `dead`; later ones with its key are `parked` behind it, in order, so that nothing overtakes it. Replay
publishes the (edited) message again and then what was parked; discard publishes what was parked.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from kernel_contracts.topics import BY_NAME

from kernel_runtime.database import Connection


@dataclass(frozen=True, slots=True)
class RawMessage:
    """A record as it came from Kafka."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


_COUNT = """
INSERT INTO attempt (topic, partition, "offset", count, reason) VALUES ($1, $2, $3, 1, $4)
ON CONFLICT (topic, partition, "offset") DO UPDATE SET count = attempt.count + 1, reason = $4
RETURNING count
"""
_BURY = """
INSERT INTO dead_letter (topic, partition, "offset", key, headers, body, state, reason, attempts)
SELECT topic, partition, "offset", key, headers, body, state, reason, attempts
FROM unnest($1::text[], $2::int[], $3::bigint[], $4::bytea[], $5::bytea[], $6::bytea[], $7::text[], $8::text[], $9::int[])
    AS new (topic, partition, "offset", key, headers, body, state, reason, attempts)
ON CONFLICT (topic, partition, "offset") DO NOTHING
RETURNING topic, partition, "offset", state
"""
_PUBLISH = """
INSERT INTO outbox (topic, key, headers, body) SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[])
"""

_FORGET = """
DELETE FROM attempt USING unnest($1::text[], $2::int[], $3::bigint[]) AS gone (topic, partition, "offset")
WHERE attempt.topic = gone.topic AND attempt.partition = gone.partition AND attempt."offset" = gone."offset"
"""
MAX_TOLD = 1_000_000
"""Bytes of a body on TOPIC-dlq; the table keeps all of it."""


async def count_attempt(connection: Connection, raw: RawMessage, reason: str) -> int:
    """How often this message has been tried now, counted in the database: it outlives the process."""
    count = await connection.fetchval(_COUNT, raw.topic, raw.partition, raw.offset, _clean(reason))
    assert isinstance(count, int)
    return count


async def bury(connection: Connection, letters: Sequence[tuple[RawMessage, str, str, int]], consumer: str) -> None:
    """Keeps (message, state `dead` or `parked`, reason, attempts) each, and tells the dead ones on TOPIC-dlq. Idempotent."""
    if not letters:
        return
    columns = zip(
        *(
            (
                raw.topic,
                raw.partition,
                raw.offset,
                raw.key,
                pack(raw.headers),
                raw.value,
                state,
                _clean(reason),
                attempts,
            )
            for raw, state, reason, attempts in letters
        ),
        strict=True,
    )
    async with connection.transaction():
        rows = await connection.fetch(_BURY, *map(list, columns))
        new = {(row["topic"], row["partition"], row["offset"]) for row in rows if row["state"] == "dead"}
        told = [
            letter
            for letter in letters
            if (letter[0].topic, letter[0].partition, letter[0].offset) in new and BY_NAME[letter[0].topic].dead_letters
        ]
        await connection.execute(
            _PUBLISH,
            [BY_NAME[raw.topic].dlq for raw, *_ in told],
            [_readable(raw.key) for raw, *_ in told],
            [
                pack(
                    raw.headers,
                    **{
                        "kernel-dlq-reason": _clean(reason),
                        "kernel-dlq-consumer": consumer,
                        "kernel-dlq-position": f"{raw.partition}:{raw.offset}",
                        "kernel-dlq-attempts": str(attempts),
                        "kernel-dlq-bytes": str(len(raw.value or b"")),
                    },
                ).decode()
                for raw, _, reason, attempts in told
            ],
            [(raw.value or b"")[:MAX_TOLD] for raw, *_ in told],
        )
        await forget_attempts(connection, [raw for raw, *_ in letters])


async def forget_attempts(connection: Connection, raws: Iterable[RawMessage]) -> None:
    """They were carried out after all."""
    await connection.execute(_FORGET, *_positions(raws))


def _positions(raws: Iterable[RawMessage]) -> tuple[list[str], list[int], list[int]]:
    raws = list(raws)
    return [raw.topic for raw in raws], [raw.partition for raw in raws], [raw.offset for raw in raws]


async def dead_keys(connection: Connection) -> set[tuple[str, bytes]]:
    """(topic, key) of messages that were tried in vain and wait for somebody: what comes behind them is parked."""
    rows = await connection.fetch(
        "SELECT DISTINCT topic, key FROM dead_letter WHERE state = 'dead' AND attempts > 0 AND key IS NOT NULL"
    )
    return {(row["topic"], row["key"]) for row in rows}


def pack(headers: Sequence[tuple[str, bytes]], **more: str) -> bytes:
    """Headers as a JSON object; bytes that are not UTF-8 become replacement characters, of several alike the last stays."""
    return orjson.dumps({**{name: _readable(value) for name, value in headers}, **more})


def _clean(reason: str) -> str:
    return reason[:2000].replace("\x00", "\ufffd")


def _readable(value: bytes | None) -> str:
    """Text that Postgres can hold."""
    return (value or b"").decode("utf-8", "replace").replace("\x00", "\ufffd")


_TENANT = "coalesce(nullif(convert_from(headers, 'UTF8')::jsonb ->> 'ce_tenant', ''), {default})"
"""Whose a message is: what nobody could read belongs to the default tenant."""


@dataclass(frozen=True, slots=True)
class Tenancy:
    """For which tenant somebody asks, and which one messages without a tenant belong to."""

    tenant: str
    default: str


async def listed(
    connection: Connection, of: Tenancy, states: Sequence[str], limit: int, before: int | None
) -> list[dict[str, Any]]:
    """Newest first."""
    rows = await connection.fetch(
        'SELECT id, topic, partition, "offset", key, headers, body, state, reason, attempts, at FROM dead_letter'
        " WHERE state = ANY($1::text[]) AND ($2::bigint IS NULL OR id < $2)"
        f" AND {_TENANT.format(default='$5')} = $4 ORDER BY id DESC LIMIT $3",
        list(states),
        before,
        limit,
        of.tenant,
        of.default,
    )
    return [_told(row) for row in rows]


def _told(row: Any) -> dict[str, Any]:
    at: datetime = row["at"]
    return {
        "id": row["id"],
        "topic": row["topic"],
        "partition": row["partition"],
        "offset": row["offset"],
        "key": _readable(row["key"]),
        "headers": dict(orjson.loads(row["headers"])),
        "value": _readable(row["body"]),
        "state": row["state"],
        "reason": row["reason"],
        "attempts": row["attempts"],
        "at": at.isoformat(),
    }


async def state_of(connection: Connection, of: Tenancy, id: int) -> str | None:
    """None where the tenant has no such dead letter."""
    found: str | None = await connection.fetchval(
        f"SELECT state FROM dead_letter WHERE id = $1 AND {_TENANT.format(default='$3')} = $2",
        id,
        of.tenant,
        of.default,
    )
    return found


async def settle(connection: Connection, of: Tenancy, id: int, *, replay: bool, value: bytes | None) -> bool:
    """Replays or discards one dead letter, and lets go what was parked behind it. False where it is not `dead` any more.

    Where other dead letters of its key wait, what is parked waits for them too.
    """
    async with connection.transaction():
        row = await connection.fetchrow(
            "UPDATE dead_letter SET state = $2, settled_at = clock_timestamp() WHERE id = $1 AND state = 'dead'"
            f" AND {_TENANT.format(default='$4')} = $3 RETURNING topic, key, headers, body",
            id,
            "replayed" if replay else "discarded",
            of.tenant,
            of.default,
        )
        if row is None:
            return False
        if replay:
            await connection.execute(
                _PUBLISH,
                [row["topic"]],
                [_readable(row["key"])],
                [row["headers"].decode()],
                [(row["body"] or b"") if value is None else value],
            )
        others = await connection.fetchval(
            "SELECT count(*) FROM dead_letter WHERE topic = $1 AND key = $2 AND state = 'dead' AND attempts > 0",
            row["topic"],
            row["key"],
        )
        if not others and row["key"] is not None:
            freed = await connection.fetch(
                "WITH freed AS (UPDATE dead_letter SET state = 'replayed', settled_at = clock_timestamp()"
                " WHERE topic = $1 AND key = $2 AND state = 'parked' RETURNING id, headers, body)"
                " SELECT headers, body FROM freed ORDER BY id",
                row["topic"],
                row["key"],
            )
            await connection.execute(
                _PUBLISH,
                [row["topic"]] * len(freed),
                [_readable(row["key"])] * len(freed),
                [each["headers"].decode() for each in freed],
                [each["body"] or b"" for each in freed],
            )
        return True
