"""What the change of one process means for its relatives: written with the change, carried out after it.

The rows are durable, so nothing is lost where a replica dies in between; whoever deletes a row carries it out. A follow-up
touches at most PART relatives; where there are more, another one goes on behind `position`.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from kernel_runtime.database import Connection

PART = 200
"""Relatives in one transaction."""


class FollowUp(NamedTuple):
    """`kind`: JOIN, CLOSE, ADMIT, SUSPEND, RESUME, TURN, REPLACE, COMPENSATE, seen from `pid`. `cause` and `data` are JSON.

    SPAWN: `position` further items of its call may begin; REST: the children of its call `position` that are alive are to end.
    OPEN: it came last to a barrier, those who wait there go on.
    COMPENSATE: the next step of what is undone for it.
    TURN: its entity is free for it; REPLACE: those of its service that came before it on its entity are to end.
    """

    id: int
    kind: str
    pid: int
    position: int
    cause: str
    data: str | None = None
    """What JOIN adds to the family of `pid` and to its calls; which barrier has opened, in which round."""


JOIN, CLOSE, ADMIT, SUSPEND, RESUME = "join", "close", "admit", "suspend", "resume"
TURN, REPLACE, COMPENSATE = "turn", "replace", "compensate"
SPAWN, REST, OPEN = "spawn", "rest", "open"

# Relatives are found before they are locked: whatever may be of interest by then is among them. A successor that is
# SUSPENDED here may be on its way back to NEW, in a transaction that did not see its predecessor's end.
_ADD = """
INSERT INTO follow_up (kind, pid, position, cause, data)
SELECT kind, pid, position, cause, data
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::text[])
    WITH ORDINALITY AS new (kind, pid, position, cause, data, n)
ORDER BY n RETURNING id
"""
_CHILDREN = """
SELECT wanted.id, relative.pid FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS wanted (id, pid, position)
CROSS JOIN LATERAL (
    SELECT child.pid FROM process child
    WHERE child.parent = wanted.pid AND child.pid > wanted.position AND child.state <> 'TERMINATED'
    ORDER BY child.pid LIMIT $4) relative
"""
_DEPENDENTS = """
SELECT wanted.id, relative.pid FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS wanted (id, pid, position)
CROSS JOIN LATERAL (
    SELECT dependency.pid FROM dependency JOIN process USING (pid)
    WHERE dependency.after_pid = wanted.pid AND dependency.pid > wanted.position AND process.state IN ('NEW', 'SUSPENDED')
    ORDER BY dependency.pid LIMIT $4) relative
"""
_OF_A_CALL = """
SELECT wanted.id, relative.pid FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS wanted (id, pid, call)
CROSS JOIN LATERAL (
    SELECT child.pid FROM process child
    WHERE child.parent = wanted.pid AND child.call = wanted.call AND child.state <> 'TERMINATED'
    ORDER BY child.pid LIMIT $4) relative
"""
_MEMBERS = """
SELECT wanted.id, member.pid FROM unnest($1::bigint[], $2::text[]) AS wanted (id, data)
CROSS JOIN LATERAL (
    SELECT pid FROM barrier_member
    WHERE barrier = (data::jsonb ->> 'barrier')::bigint AND round = (data::jsonb ->> 'round')::int
    ORDER BY pid LIMIT $3) member
"""
_EARLIER = """
SELECT wanted.id, relative.pid FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS wanted (id, pid, position)
JOIN process newer ON newer.pid = wanted.pid
CROSS JOIN LATERAL (
    SELECT turn.pid FROM entity_turn turn
    WHERE (turn.tenant, turn.service, turn.entity_type, turn.entity_id)
        = (newer.tenant, newer.service, newer.entity_type, newer.entity_id)
        AND turn.pid > wanted.position AND turn.pid < wanted.pid
    ORDER BY turn.pid LIMIT $4) relative
"""


_RELATIVES = (
    (_CHILDREN, (CLOSE, SUSPEND, RESUME)),
    (_DEPENDENTS, (ADMIT,)),
    (_EARLIER, (REPLACE,)),
    (_OF_A_CALL, (REST,)),
)


async def add(connection: Connection, new: Sequence[tuple[str, int, int, str, str | None]]) -> list[FollowUp]:
    """(kind, pid, position, cause, data) each."""
    ids = await connection.fetch(_ADD, *zip(*new, strict=True))
    return [FollowUp(row["id"], *values) for row, values in zip(ids, new, strict=True)]


async def take(connection: Connection, ids: Iterable[int]) -> set[int]:
    """Deletes them; which were still there."""
    gone = await connection.fetch("DELETE FROM follow_up WHERE id = ANY($1::bigint[]) RETURNING id", list(ids))
    return {row["id"] for row in gone}


async def relatives(connection: Connection, wanted: Sequence[FollowUp]) -> dict[int, list[int]]:
    """id of the follow-up -> pids of the relatives that it is for, in their order, PART at most."""
    found: dict[int, list[int]] = {each.id: [] for each in wanted}
    for sql, kinds in _RELATIVES:
        some = [(each.id, each.pid, each.position) for each in wanted if each.kind in kinds]
        if some:
            for row in await connection.fetch(sql, *zip(*some, strict=True), PART):
                found[row["id"]].append(row["pid"])
    opened = [(each.id, each.data) for each in wanted if each.kind == OPEN]
    if opened:
        for row in await connection.fetch(_MEMBERS, *zip(*opened, strict=True), PART):
            found[row["id"]].append(row["pid"])
    return found


async def abandoned(connection: Connection, seconds: float, limit: int) -> list[FollowUp]:
    """Those that a replica which died did not get to."""
    rows: list[Any] = await connection.fetch(
        "SELECT id, kind, pid, position, cause, data FROM follow_up"
        " WHERE at < clock_timestamp() - make_interval(secs => $1) ORDER BY id LIMIT $2",
        seconds,
        limit,
    )
    return [FollowUp(*row) for row in rows]
