"""Barriers and who has arrived at them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from kernel_runtime.database import Connection

Place = tuple[str, str, str, str]
"""(tenant, entity type, entity id, name); the entity is empty where its processes have none."""
Member = tuple[int, int, int]
"""(barrier, round, pid)"""


@dataclass(slots=True)
class Barrier:
    """`members`: who has arrived in this round."""

    id: int
    parties: int
    round: int
    members: set[int] = field(default_factory=set)


async def lock(connection: Connection, places: Iterable[Place]) -> dict[Place, Barrier]:
    """Made where they are new; nobody else arrives at these until the transaction ends. After the locks on processes."""
    wanted = sorted(places)
    columns = list(zip(*wanted, strict=True))
    await connection.execute(
        "INSERT INTO barrier (tenant, entity_type, entity_id, name, parties, round)"
        " SELECT *, 0, 1 FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) ON CONFLICT DO NOTHING",
        *columns,
    )
    found = await connection.fetch(
        "SELECT barrier.* FROM barrier JOIN unnest($1::text[], $2::text[], $3::text[], $4::text[])"
        " AS wanted (tenant, entity_type, entity_id, name) USING (tenant, entity_type, entity_id, name)"
        " ORDER BY id FOR UPDATE OF barrier",
        *columns,
    )
    barriers = {row["id"]: Barrier(row["id"], row["parties"], row["round"]) for row in found}
    members = await connection.fetch(
        "SELECT barrier, pid FROM barrier_member JOIN barrier ON barrier.id = barrier AND barrier.round = barrier_member.round"
        " WHERE barrier = ANY($1::bigint[])",
        list(barriers),
    )
    for row in members:
        barriers[row["barrier"]].members.add(row["pid"])
    return {(row["tenant"], row["entity_type"], row["entity_id"], row["name"]): barriers[row["id"]] for row in found}


async def rounds(connection: Connection, ids: Iterable[int]) -> dict[int, int]:
    found = await connection.fetch("SELECT id, round FROM barrier WHERE id = ANY($1::bigint[])", list(ids))
    return {row["id"]: row["round"] for row in found}


async def save(connection: Connection, changed: Iterable[Barrier]) -> None:
    rows = [(each.id, each.parties, each.round) for each in changed]
    await connection.execute(
        "UPDATE barrier SET parties = new.parties, round = new.round"
        " FROM unnest($1::bigint[], $2::int[], $3::int[]) AS new (id, parties, round) WHERE barrier.id = new.id",
        *zip(*rows, strict=True),
    )


async def enter(connection: Connection, members: Sequence[Member], at: datetime) -> None:
    await connection.copy_records_to_table(
        "barrier_member", records=[(*each, at) for each in members], columns=("barrier", "round", "pid", "at")
    )


async def leave(connection: Connection, members: Iterable[Member]) -> None:
    await connection.execute(
        "DELETE FROM barrier_member member USING unnest($1::bigint[], $2::int[], $3::bigint[]) AS gone (barrier, round, pid)"
        " WHERE (member.barrier, member.round, member.pid) = (gone.barrier, gone.round, gone.pid)",
        *zip(*members, strict=True),
    )


async def one(connection: Connection, place: Place) -> tuple[Any, list[Any]] | None:
    """(parties and round, pid and time of who has arrived), first come first."""
    row = await connection.fetchrow(
        "SELECT id, parties, round FROM barrier WHERE (tenant, entity_type, entity_id, name) = ($1, $2, $3, $4)", *place
    )
    if row is None:
        return None
    members = await connection.fetch(
        "SELECT pid, at FROM barrier_member WHERE barrier = $1 AND round = $2 ORDER BY at, pid", row["id"], row["round"]
    )
    return row, list(members)
