"""The children of a process, counted: rows by service version, and what follow-ups on their way will add to them."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from kernel_runtime.database import Connection


class Kin(NamedTuple):
    """Children of one service version that `pid` has: `total`, of which `ended`. Or a difference of both."""

    pid: int
    service: str
    version: int
    total: int
    ended: int


_COUNTED = """
SELECT pid, service, version, total, ended, NULL AS data FROM family WHERE pid = ANY($1::bigint[])
UNION ALL SELECT pid, '', 0, 0, 0, data FROM follow_up WHERE kind = 'join' AND pid = ANY($1::bigint[]) AND data IS NOT NULL
"""


async def counted(connection: Connection, pids: Iterable[int]) -> tuple[list[Kin], list[tuple[int, str]]]:
    """The counts of these, and (pid, data) of each follow-up that will change them. Exact while the processes are locked."""
    found = await connection.fetch(_COUNTED, list(pids))
    kin = [Kin(*row[:5]) for row in map(tuple, found) if row[5] is None]
    return kin, [(row["pid"], row["data"]) for row in found if row["data"] is not None]


async def add(connection: Connection, differences: Sequence[Kin]) -> None:
    """The processes with these pids are locked."""
    await connection.execute(
        "INSERT INTO family AS f (pid, service, version, total, ended)"
        " SELECT * FROM unnest($1::bigint[], $2::text[], $3::int[], $4::int[], $5::int[])"
        " ON CONFLICT (pid, service, version)"
        " DO UPDATE SET total = f.total + excluded.total, ended = f.ended + excluded.ended",
        *zip(*differences, strict=True),
    )
