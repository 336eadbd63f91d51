"""Texts and declared context members of processes, kept apart so that searches find them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from kernel_runtime.database import Connection

from process_svc.domain.process import Process

LONGEST: Final = 200
"""Characters of a value that are kept."""

_MEMBER = "process.context::jsonb #> string_to_array(path.name, '.')"
_VALUE = f"left(process.context::jsonb #>> string_to_array(path.name, '.'), {LONGEST})"
_SCALAR = f"jsonb_typeof({_MEMBER}) IN ('string', 'number', 'boolean')"

VALUES: Final = f"SELECT process.tenant, process.service, path.name, {_VALUE} AS value, process.pid FROM process"
"""To be joined with `path (name)`; ends before that."""
SCALAR: Final = _SCALAR

_PUT = f"""
INSERT INTO process_attribute (tenant, service, name, value, pid)
{VALUES} JOIN unnest($1::bigint[], $2::text[]) AS path (pid, name) ON process.pid = path.pid WHERE {_SCALAR}
"""
_FILL = f"""
INSERT INTO process_attribute (tenant, service, name, value, pid)
{VALUES} CROSS JOIN (SELECT $3::text AS name) path
WHERE process.tenant = $1 AND process.service = $2 AND process.pid > $4 AND process.pid <= $5 AND {_SCALAR}
ON CONFLICT (pid, name) DO NOTHING
"""


async def add_texts(connection: Connection, processes: Iterable[Process]) -> None:
    """Of new processes."""
    records = [
        (each.pid, "\n".join(filter(None, (each.key, each.entity_id, *(other.id for other in each.entities)))))
        for each in processes
        if each.key is not None or each.entity_id is not None or each.entities
    ]
    if records:
        await connection.copy_records_to_table("process_text", records=records, columns=("pid", "text"))


async def put(connection: Connection, wanted: Mapping[int, Sequence[str]], known: Iterable[int]) -> None:
    """pid -> paths whose values are to be as the stored context has them; `known`: those that may have had others."""
    if before := list(known):
        await connection.execute("DELETE FROM process_attribute WHERE pid = ANY($1::bigint[])", before)
    pids = [pid for pid, names in wanted.items() for _ in names]
    await connection.execute(_PUT, pids, [name for names in wanted.values() for name in names])


Paths = dict[tuple[str, str], frozenset[str]]
"""(tenant, service) -> paths."""


async def paths(connection: Connection) -> Paths:
    """All that any version of a service declares."""
    found: dict[tuple[str, str], set[str]] = {}
    for row in await connection.fetch("SELECT tenant, service, name FROM indexed_path"):
        found.setdefault((row["tenant"], row["service"]), set()).add(row["name"])
    return {key: frozenset(names) for key, names in found.items()}


async def declare(connection: Connection, new: Sequence[tuple[str, str, str, bool]]) -> None:
    """(tenant, service, path, complete) each; what is declared already stays as it is."""
    await connection.execute(
        "INSERT INTO indexed_path (tenant, service, name, reached, complete, at)"
        " SELECT tenant, service, name, 0, complete, clock_timestamp()"
        " FROM unnest($1::text[], $2::text[], $3::text[], $4::boolean[]) AS new (tenant, service, name, complete)"
        " ON CONFLICT DO NOTHING",
        *zip(*new, strict=True),
    )


async def complete(connection: Connection, tenant: str, services: Sequence[str], name: str) -> bool:
    """Whether all these services have all their processes at `name` in the table."""
    number = await connection.fetchval(
        "SELECT count(*) FROM indexed_path WHERE tenant = $1 AND service = ANY($2::text[]) AND name = $3 AND complete",
        tenant,
        list(services),
        name,
    )
    return bool(number == len(set(services)))


SETTLING = 10.0
"""Seconds after which every replica knows of a declaration and has ended the batches that it did not know of it in."""


async def fill(connection: Connection, width: int, settling: float = SETTLING) -> bool:
    """Brings the older processes of one declared path in, `width` pids of them; whether there was anything to do."""
    row = await connection.fetchrow(
        "SELECT tenant, service, name, reached, (SELECT coalesce(max(pid), 0) FROM process) AS newest FROM indexed_path"
        " WHERE NOT complete AND at < clock_timestamp() - make_interval(secs => $1) LIMIT 1 FOR UPDATE SKIP LOCKED",
        settling,
    )
    if row is None:
        return False
    until = row["reached"] + width
    key = (row["tenant"], row["service"], row["name"])
    await connection.execute("SET LOCAL plan_cache_mode = force_custom_plan")
    await connection.execute(
        "SELECT FROM process WHERE tenant = $1 AND service = $2 AND pid > $3 AND pid <= $4 ORDER BY pid FOR UPDATE",
        key[0],
        key[1],
        row["reached"],
        until,
    )
    await connection.execute(_FILL, *key, row["reached"], until)
    await connection.execute(
        "UPDATE indexed_path SET reached = $4, complete = $5 WHERE tenant = $1 AND service = $2 AND name = $3",
        *key,
        until,
        until >= row["newest"],
    )
    return True
