"""What is undone for a process: planned with the change that asks for it, carried out one step after the other."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from kernel_contracts.vocabulary import Outcome
from kernel_runtime.database import Connection

from process_svc.domain.process import Undo


class Step(NamedTuple):
    """One that is planned, in the order of `number`."""

    pid: int
    number: int
    target: int
    version: int
    service: str
    at: datetime


@dataclass(slots=True)
class Open:
    """One that is not done yet: `pending` or `running` by `child`; with what is to be undone."""

    pid: int
    number: int
    target: int
    service: str
    state: str
    child: int | None
    child_outcome: Outcome | None
    told: Mapping[str, Any]
    """Of the target: service, service_version, entity_type, entity_id, and its context and output as JSON or None."""


# Everything below that has ended, or ends with its parent; not below what has a compensation of its own and was completed, for
# that undoes it as a whole. Rolled back to a version: only what was completed after it.
_COMPLETED = """
WITH RECURSIVE asked AS (
    SELECT wanted.pid AS owner,
        (SELECT at FROM journal WHERE journal.pid = wanted.pid AND journal.version = wanted.version) AS since
    FROM unnest($1::bigint[], $2::int[]) AS wanted (pid, version)),
below AS (
    SELECT owner, since, owner AS pid, 0 AS version, NULL::text AS undo, NULL::timestamptz AS ended_at FROM asked
    UNION ALL
    SELECT below.owner, below.since, child.pid, child.version,
        CASE WHEN child.outcome = 'completed' AND (below.since IS NULL OR child.ended_at > below.since)
            THEN v.definition::jsonb ->> 'compensation' END, child.ended_at
    FROM below JOIN process child ON child.parent = below.pid
    JOIN service_version v ON (v.tenant, v.name, v.version) = (child.tenant, child.service, child.service_version)
    WHERE below.undo IS NULL AND child.compensates IS NULL
        AND (child.state = 'TERMINATED' OR coalesce(v.definition::jsonb ->> 'on_parent_close', 'cancel') = 'cancel'))
SELECT owner, pid, version, undo FROM below
WHERE undo IS NOT NULL AND NOT EXISTS (SELECT FROM compensation WHERE target = below.pid)
ORDER BY owner, ended_at DESC, pid DESC
"""
_OWN = """
SELECT wanted.pid, coalesce((SELECT max(number) FROM compensation WHERE compensation.pid = wanted.pid), 0) AS last, EXISTS (
    SELECT FROM journal WHERE journal.pid = wanted.pid AND command = 'dispatch' AND journal.version > greatest(
        wanted.version, coalesce((SELECT max(version) FROM compensation WHERE target = wanted.pid), 0))) AS ran
FROM unnest($1::bigint[], $2::int[]) AS wanted (pid, version)
"""
_OPEN = """
SELECT step.*, child.outcome AS child_outcome, target.service AS target_service, target.service_version, target.entity_type,
    target.entity_id, target.output, (SELECT context FROM snapshot WHERE snapshot.pid = step.target
        AND snapshot.version <= step.version ORDER BY version DESC LIMIT 1) AS context
FROM unnest($1::bigint[]) AS wanted (pid)
CROSS JOIN LATERAL (SELECT pid, number, target, version, service, state, child FROM compensation
    WHERE compensation.pid = wanted.pid AND state IN ('pending', 'running') ORDER BY number LIMIT 2) step
JOIN process target ON target.pid = step.target LEFT JOIN process child ON child.pid = step.child
ORDER BY step.pid, step.number
"""


async def completed(connection: Connection, wanted: Mapping[int, int | None]) -> dict[int, list[Undo]]:
    """Of these processes (and the versions that they go back to): what below them is to be undone, last completed first."""
    found: dict[int, list[Undo]] = {pid: [] for pid in wanted}
    versions = [None if version is None else min(version, 2**31 - 1) for version in wanted.values()]
    for row in await connection.fetch(_COMPLETED, list(wanted), versions):
        found[row["owner"]].append(Undo(row["pid"], row["version"], row["undo"]))
    return found


async def own(connection: Connection, wanted: Mapping[int, int | None]) -> dict[int, tuple[bool, int]]:
    """Whether each ran since (and was not undone since), and the number of its last step."""
    versions = [min(version or 0, 2**31 - 1) for version in wanted.values()]
    rows = await connection.fetch(_OWN, list(wanted), versions)
    return {row["pid"]: (row["ran"], row["last"]) for row in rows}


async def open_steps(connection: Connection, pids: Iterable[int]) -> dict[int, list[Open]]:
    """The next ones of these, two at most each."""
    wanted = list(pids)
    found: dict[int, list[Open]] = {pid: [] for pid in wanted}
    for row in await connection.fetch(_OPEN, wanted):
        outcome = row["child_outcome"]
        found[row["pid"]].append(
            Open(
                row["pid"],
                row["number"],
                row["target"],
                row["service"],
                row["state"],
                row["child"],
                None if outcome is None else Outcome(outcome),
                dict(row),
            )
        )
    return found


async def add(connection: Connection, steps: Sequence[Step]) -> None:
    records = [(*step, "pending") for step in steps]
    await connection.copy_records_to_table("compensation", records=records, columns=(*Step._fields, "state"))


async def settle(connection: Connection, steps: Sequence[Open]) -> None:
    await connection.execute(
        "UPDATE compensation SET state = new.state, child = new.child"
        " FROM unnest($1::bigint[], $2::int[], $3::text[], $4::bigint[]) AS new (pid, number, state, child)"
        " WHERE (compensation.pid, compensation.number) = (new.pid, new.number)",
        [step.pid for step in steps],
        [step.number for step in steps],
        [step.state for step in steps],
        [step.child for step in steps],
    )
