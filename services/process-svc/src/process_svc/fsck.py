"""The invariants of process-svc's own tables; each check counts its breaches and shows some."""

from typing import Any

from kernel_contracts.vocabulary import ProcessState
from kernel_runtime.database import Connection

from process_svc.domain.snapshots import Snapshot, first_broken
from process_svc.domain.states import edge

SHOWN = 5

_EDGES = ", ".join(
    f"('{'' if origin is None else origin}', '{target}')"
    for origin in (None, *ProcessState)
    for target in ProcessState
    if edge(origin, target) or (origin is target and origin is not ProcessState.TERMINATED)
)

SQL = {
    "journal_is_a_legal_path": f"""
        SELECT pid FROM (SELECT pid, version, from_state, state, lag(state) OVER path AS before,
            row_number() OVER path AS n FROM journal WINDOW path AS (PARTITION BY pid ORDER BY version)) steps
        WHERE n <> version OR coalesce(from_state, '') <> coalesce(before, '')
            OR (coalesce(from_state, ''), state) NOT IN ({_EDGES})""",
    "process_is_the_last_journal_row": """
        SELECT process.pid FROM process LEFT JOIN LATERAL (
            SELECT version, state, outcome FROM journal WHERE journal.pid = process.pid ORDER BY version DESC LIMIT 1
        ) last ON true
        WHERE (last.version = process.version AND last.state = process.state
            AND last.outcome IS NOT DISTINCT FROM process.outcome) IS NOT TRUE
        UNION ALL SELECT journal.pid FROM journal LEFT JOIN process USING (pid) WHERE process.pid IS NULL""",
    "context_is_the_last_snapshot": """
        SELECT process.pid FROM process LEFT JOIN snapshot
            ON snapshot.pid = process.pid AND snapshot.version = process.context_version
        WHERE (snapshot.hash = process.context_hash AND snapshot.context = process.context) IS NOT TRUE
            OR EXISTS (SELECT FROM snapshot later WHERE later.pid = process.pid AND later.version > process.context_version)""",
    "running_has_a_dispatch": """
        SELECT pid FROM process WHERE state = 'RUNNING' AND (dispatch_id IS NULL OR started_at IS NULL)""",
    "runs_do_not_overlap": """
        SELECT pid FROM (SELECT pid, state, from_state, lag(state) OVER path AS before FROM journal
            WINDOW path AS (PARTITION BY pid ORDER BY version)) steps
        WHERE state = 'RUNNING' AND from_state = 'READY' AND before = 'RUNNING'
        UNION ALL SELECT min(pid) FROM journal WHERE state = 'RUNNING' AND from_state = 'READY'
            GROUP BY dispatch_id HAVING count(*) > 1""",
    "waiting_will_be_woken": """
        SELECT pid FROM process WHERE state = 'WAITING' AND waiting IS NULL
        UNION ALL SELECT pid FROM process WHERE wake_at < clock_timestamp() - interval '30 s'""",
    "ended_has_an_outcome": """
        SELECT pid FROM process WHERE (state = 'TERMINATED') <> (outcome IS NOT NULL)
            OR (state = 'TERMINATED') <> (ended_at IS NOT NULL)""",
    "incidents_match_processes": """
        SELECT process.pid FROM process LEFT JOIN incident ON incident.id = process.incident
        WHERE process.incident IS NOT NULL AND (incident.state = 'open' AND process.state = 'SUSPENDED') IS NOT TRUE
        UNION ALL SELECT incident.pid FROM incident LEFT JOIN process ON process.incident = incident.id
        WHERE incident.state = 'open' AND process.pid IS NULL""",
    "nothing_is_left_behind": """
        SELECT pid FROM follow_up WHERE at < clock_timestamp() - interval '60 s'""",
}


async def run(connection: Connection) -> list[dict[str, Any]]:
    """`{name, breaches, examples}` each; examples are pids."""
    found = []
    for name, sql in SQL.items():
        rows = await connection.fetch(
            f"SELECT count(*) OVER () AS breaches, pid FROM ({sql}) breach ORDER BY pid LIMIT {SHOWN}"
        )
        found.append(
            {"name": name, "breaches": rows[0]["breaches"] if rows else 0, "examples": [row["pid"] for row in rows]}
        )
    return [*found, await _snapshots(connection)]


async def _snapshots(connection: Connection) -> dict[str, Any]:
    broken: list[int] = []
    async with connection.transaction(readonly=True):
        chain: list[Snapshot] = []
        async for row in connection.cursor("SELECT * FROM snapshot ORDER BY pid, version", prefetch=2000):
            if chain and chain[-1].pid != row["pid"]:
                broken += [chain[0].pid] if first_broken(chain) is not None else []
                chain = []
            chain.append(Snapshot(row["pid"], row["version"], row["context"], row["hash"], row["previous_hash"]))
        broken += [chain[0].pid] if chain and first_broken(chain) is not None else []
    return {"name": "snapshots_verify", "breaches": len(broken), "examples": broken[:SHOWN]}
