"""The invariants of process-svc's own tables; each check counts its breaches and shows some."""

from typing import Any

import orjson
from kernel_contracts.vocabulary import CommandName, ProcessState
from kernel_runtime.database import Connection

from process_svc.domain.lease import KINDS
from process_svc.domain.states import leads
from process_svc.signing import GENESIS, unsound, valid
from process_svc.store import checkpoints, partitions
from process_svc.store.attributes import SCALAR, VALUES
from process_svc.store.chains import DROPPED, SNAPSHOT_VERIFIED, UNHASHED, steps
from process_svc.store.partitions import AHEAD, DIGESTED, SIZE, TABLES

SHOWN = 5
NEWEST = 10_000
"""Checkpoints whose signatures are verified."""
GRACE = "30 s"
"""What is due, or was left to do, has been done by then."""

IN_FLIGHT = "5 s"
"""A process that was being created when its service was retired has been by then; one of a call counts when that began."""

_MOVES = ", ".join(
    f"('{command}', '{origin or ''}', '{target}')"
    for command in CommandName
    for origin in (None, *ProcessState)
    for target in ProcessState
    if leads(command, origin, target)
)

_KINDS = ", ".join(f"'{kind}'" for kind in sorted(KINDS))

CHECKS = {
    "journal_is_a_legal_path": f"""
        SELECT pid FROM (SELECT pid, version, command, from_state, state, lag(state) OVER path AS before,
            row_number() OVER path AS n FROM journal WINDOW path AS (PARTITION BY pid ORDER BY version)) steps
        WHERE n <> version OR coalesce(from_state, '') <> coalesce(before, '')
            OR (command, coalesce(from_state, ''), state) NOT IN ({_MOVES})""",
    "process_is_the_last_journal_row": f"""
        SELECT process.pid FROM process LEFT JOIN LATERAL (
            SELECT version, state, outcome FROM journal WHERE journal.pid = process.pid ORDER BY version DESC LIMIT 1
        ) last ON true
        WHERE (last.version = process.version AND last.state = process.state
            AND last.outcome IS NOT DISTINCT FROM process.outcome) IS NOT TRUE AND NOT {DROPPED}
        UNION ALL SELECT journal.pid FROM journal LEFT JOIN process USING (pid) WHERE process.pid IS NULL""",
    "context_is_the_last_snapshot": f"""
        SELECT process.pid FROM process LEFT JOIN snapshot
            ON snapshot.pid = process.pid AND snapshot.version = process.context_version
        WHERE (snapshot.hash = process.context_hash AND snapshot.context = process.context) IS NOT TRUE AND NOT {DROPPED}
            OR EXISTS (SELECT FROM snapshot later WHERE later.pid = process.pid AND later.version > process.context_version)""",
    "snapshots_verify": f"""
        SELECT DISTINCT pid FROM (SELECT pid, {SNAPSHOT_VERIFIED} AS verified FROM snapshot) chain WHERE NOT verified""",
    "journal_verifies": f"""
        SELECT DISTINCT pid FROM ({steps()}) steps WHERE hash <> expected OR {UNHASHED}""",
    "process_has_the_head_of_its_journal": """
        SELECT process.pid FROM process JOIN journal ON journal.pid = process.pid AND journal.version = process.version
        WHERE journal.hash IS DISTINCT FROM process.journal_hash""",
    "output_is_what_it_ended_with": """
        SELECT process.pid FROM process JOIN journal ON journal.pid = process.pid AND journal.version = process.version
        WHERE process.outcome = 'completed' AND journal.changes::jsonb ->> 'output_hash'
            <> coalesce(encode(sha256(convert_to(process.output, 'UTF8')), 'hex'), '')""",
    "what_was_signed_is_there": f"""
        SELECT DISTINCT head.pid FROM checkpoint_head head
        LEFT JOIN journal ON journal.pid = head.pid AND journal.version = head.version
        LEFT JOIN process ON process.pid = head.pid
        WHERE journal.hash IS DISTINCT FROM head.hash AND (NOT {DROPPED}
            OR process.version = head.version AND process.journal_hash IS DISTINCT FROM head.hash)""",
    "partitions_are_made_ahead": f"""
        SELECT max(upper) FROM journal_part, pid GROUP BY last_value HAVING max(upper) < last_value + {(AHEAD - 1) * SIZE}""",
    "partitions_are_as_recorded": f"""
        SELECT lower FROM journal_part CROSS JOIN unnest(ARRAY{list(TABLES)}) AS name
        WHERE (to_regclass(name || '_' || lower) IS NULL) <> (dropped_at IS NOT NULL)
        UNION ALL SELECT lower FROM journal_part WHERE dropped_at IS NOT NULL AND (digest IS DISTINCT FROM {DIGESTED}
            OR processes <> (SELECT count(*) FROM process WHERE pid >= lower AND pid < upper))""",
    "checkpoints_are_chained": f"""
        SELECT number FROM (
            SELECT tenant, number, hash, statement, statement::jsonb AS said,
                lag(hash, 1, decode('{GENESIS.hex()}', 'hex')) OVER path AS previous, row_number() OVER path AS n
            FROM checkpoint WINDOW path AS (PARTITION BY tenant ORDER BY number)) one
        WHERE n <> number OR hash <> sha256(convert_to(statement, 'UTF8')) OR said ->> 'previous' <> encode(previous, 'hex')
            OR said ->> 'tenant' <> tenant OR said ->> 'number' <> number::text OR said ->> 'digest' <> (
                SELECT encode({checkpoints.DIGEST}, 'hex') FROM checkpoint_head head
                WHERE head.tenant = one.tenant AND head.number = one.number)""",
    "running_has_a_dispatch": """
        SELECT pid FROM process WHERE state = 'RUNNING' AND (dispatch_id IS NULL OR started_at IS NULL OR held)
        UNION ALL SELECT pid FROM process WHERE held AND (state <> 'SUSPENDED' OR dispatch_id IS NULL)""",
    "a_dispatch_runs_once": """
        SELECT min(pid) AS pid FROM journal WHERE command = 'dispatch' GROUP BY dispatch_id HAVING count(*) > 1""",
    "new_will_be_admitted": """
        SELECT pid FROM process WHERE state = 'NEW' AND wake_at IS NULL AND NOT EXISTS (
            SELECT FROM dependency JOIN process before ON before.pid = dependency.after_pid
            WHERE dependency.pid = process.pid AND before.has_dependents AND (before.state <> 'TERMINATED'
                OR EXISTS (SELECT FROM follow_up WHERE kind = 'admit' AND follow_up.pid = before.pid)))
            AND NOT EXISTS (SELECT FROM follow_up WHERE kind = 'turn' AND follow_up.pid = process.pid)
            AND NOT EXISTS (SELECT FROM entity_turn ahead JOIN entity_turn own USING (tenant, service, entity_type, entity_id)
                WHERE own.pid = process.pid AND ahead.pid < own.pid)""",
    "waiting_will_be_woken": """
        SELECT pid FROM process WHERE state = 'WAITING' AND (waiting IS NULL
            OR (waiting::jsonb ? 'until' OR waiting::jsonb ? 'timeout') AND wake_at IS NULL
            OR waiting::jsonb ? 'children_mode' AND wake_at IS NULL AND NOT EXISTS (
                SELECT FROM process child WHERE child.parent = process.pid AND child.state <> 'TERMINATED')
                AND NOT EXISTS (SELECT FROM follow_up WHERE kind = 'join' AND follow_up.pid = process.pid))""",
    "nothing_is_overdue": f"""
        SELECT pid FROM process WHERE wake_at < clock_timestamp() - interval '{GRACE}'
        UNION ALL SELECT pid FROM follow_up WHERE at < clock_timestamp() - interval '{GRACE}'""",
    "leases_belong_to_runs": f"""
        SELECT work_lease.pid FROM work_lease LEFT JOIN process USING (pid) LEFT JOIN service_version v
            ON (v.tenant, v.name, v.version) = (process.tenant, process.service, process.service_version)
        WHERE (process.state = 'RUNNING' AND v.kind IN ({_KINDS}) AND work_lease.dispatch_id = process.dispatch_id
            AND work_lease.tenant = process.tenant AND work_lease.service = process.service) IS NOT TRUE""",
    "work_can_be_claimed": f"""
        SELECT process.pid FROM process JOIN service_version v
            ON (v.tenant, v.name, v.version) = (process.tenant, process.service, process.service_version)
        WHERE process.state = 'RUNNING' AND v.kind IN ({_KINDS})
            AND NOT EXISTS (SELECT FROM work_lease WHERE work_lease.pid = process.pid)""",
    "lapsed_leases_end": f"""
        SELECT pid FROM work_lease WHERE until < clock_timestamp() - interval '{GRACE}'""",
    "ended_has_an_outcome": """
        SELECT pid FROM process WHERE (state = 'TERMINATED') <> (outcome IS NOT NULL)
            OR (state = 'TERMINATED') <> (ended_at IS NOT NULL) OR (state = 'TERMINATED' AND wake_at IS NOT NULL)""",
    "incidents_match_processes": """
        SELECT process.pid FROM process LEFT JOIN incident ON incident.id = process.incident
        WHERE process.incident IS NOT NULL AND (incident.state = 'open' AND process.state = 'SUSPENDED') IS NOT TRUE
        UNION ALL SELECT incident.pid FROM incident LEFT JOIN process ON process.incident = incident.id
        WHERE incident.state = 'open' AND process.pid IS NULL""",
    "one_open_incident_each": """
        SELECT pid FROM incident WHERE state = 'open' GROUP BY pid HAVING count(*) > 1
        UNION ALL SELECT pid FROM incident WHERE (state = 'resolved') <> (resolved_at IS NOT NULL) OR last_at < opened_at
            OR count < 1""",
    "jobs_count_their_items": """
        SELECT id FROM job LEFT JOIN LATERAL (
            SELECT count(*) AS total, count(*) FILTER (WHERE status = 'done') AS done,
                count(*) FILTER (WHERE status = 'failed') AS failed FROM job_item WHERE job = id
        ) items ON true
        WHERE (items.total, items.done, items.failed) <> (job.total, job.done, job.failed)
            OR state = 'completed' AND items.total <> items.done + items.failed""",
    "jobs_go_on": f"""
        SELECT id FROM job WHERE (state IN ('cancelled', 'completed', 'failed')) <> (ended_at IS NOT NULL)
            OR state = 'running' AND (NOT collected OR done + failed >= total)
            OR ended_at IS NULL AND state <> 'paused' AND moved_at < clock_timestamp() - interval '{GRACE}'""",
    "attributes_match_contexts": f"""
        SELECT coalesce(found.pid, wanted.pid) FROM process_attribute found FULL JOIN (
            {VALUES} JOIN indexed_path path ON path.tenant = process.tenant AND path.service = process.service AND path.complete
            WHERE {SCALAR}
        ) wanted ON wanted.pid = found.pid AND wanted.name = found.name
        LEFT JOIN LATERAL (
            {VALUES} CROSS JOIN (SELECT found.name) path WHERE process.pid = found.pid AND {SCALAR}
        ) now ON true
        WHERE found.pid IS NULL
            OR (found.tenant, found.service, found.value) IS DISTINCT FROM (now.tenant, now.service, now.value)""",
    "texts_can_be_found": """
        SELECT process.pid FROM process LEFT JOIN process_text USING (pid)
        WHERE (key IS NOT NULL OR entity_id IS NOT NULL) AND (process_text.pid IS NULL
            OR strpos(text, coalesce(key, '')) = 0 OR strpos(text, coalesce(entity_id, '')) = 0)""",
    "retired_services_take_none": f"""
        SELECT process.pid FROM process JOIN service ON (service.tenant, service.name) = (process.tenant, process.service)
        LEFT JOIN call ON call.id = process.call
        WHERE coalesce(call.at, created_at) > retired_at + interval '{IN_FLIGHT}' AND compensates IS NULL""",
    "service_versions_are_whole": """
        SELECT 0 FROM service LEFT JOIN LATERAL (SELECT count(*) AS versions, max(version) AS newest FROM service_version v
            WHERE (v.tenant, v.name) = (service.tenant, service.name)) v ON true
        WHERE latest <> versions OR latest <> newest OR coalesce(pinned, 1) NOT BETWEEN 1 AND latest
            OR coalesce(canary, 1) NOT BETWEEN 1 AND latest OR (canary IS NULL) <> (canary_share IS NULL)
        UNION ALL SELECT 0 FROM service_version WHERE hash <> sha256(convert_to(definition, 'UTF8'))""",
    "compensations_go_on": """
        SELECT pid FROM process WHERE compensating IS NOT NULL
            AND NOT EXISTS (SELECT FROM follow_up WHERE kind = 'compensate' AND follow_up.pid = process.pid)
            AND NOT EXISTS (SELECT FROM compensation step JOIN process child ON child.pid = step.child
                WHERE step.pid = process.pid AND step.state = 'running' AND child.state <> 'TERMINATED')
        UNION ALL SELECT pid FROM compensation JOIN process USING (pid)
            WHERE compensation.state IN ('pending', 'running') AND compensating IS NULL
        UNION ALL SELECT pid FROM compensation WHERE state = 'running' GROUP BY pid HAVING count(*) > 1
        UNION ALL SELECT pid FROM process WHERE compensates IS NOT NULL AND NOT EXISTS (
            SELECT FROM compensation step WHERE step.pid = process.parent AND step.child = process.pid
                AND step.target = process.compensates)""",
    "relatives_are_known": """
        SELECT child.parent FROM process child JOIN process ON process.pid = child.parent WHERE NOT process.has_children
        UNION ALL SELECT process.pid FROM process CROSS JOIN unnest(after) AS before
            LEFT JOIN dependency ON dependency.pid = process.pid AND dependency.after_pid = before
            WHERE dependency.pid IS NULL""",
    "families_are_counted": """
        SELECT coalesce(told.pid, kept.pid) FROM (
            SELECT parent AS pid, service, service_version AS version, count(*) AS total,
                count(*) FILTER (WHERE state = 'TERMINATED') AS ended
            FROM process WHERE parent IS NOT NULL GROUP BY 1, 2, 3
        ) told FULL JOIN (
            SELECT pid, service, version, sum(total) AS total, sum(ended) AS ended FROM (
                SELECT pid, service, version, total, ended FROM family
                UNION ALL SELECT pid, each ->> 0, (each ->> 1)::int, (each ->> 2)::int, (each ->> 3)::int
                FROM follow_up CROSS JOIN jsonb_array_elements(data::jsonb -> 'kin') AS each WHERE kind = 'join'
            ) counted GROUP BY 1, 2, 3
        ) kept USING (pid, service, version)
        WHERE coalesce(told.total, 0) <> coalesce(kept.total, 0) OR coalesce(told.ended, 0) <> coalesce(kept.ended, 0)""",
    "calls_are_counted": """
        SELECT call.pid FROM call LEFT JOIN LATERAL (
            SELECT count(*) AS total, count(*) FILTER (WHERE i.child IS NOT NULL OR i.error IS NOT NULL) AS started,
                count(*) FILTER (WHERE i.error IS NOT NULL OR child.state = 'TERMINATED') AS ended,
                count(*) FILTER (WHERE child.outcome = 'completed') AS completed
            FROM call_item i LEFT JOIN process child ON child.pid = i.child AND child.call = call.id WHERE i.call = call.id
        ) items ON true LEFT JOIN LATERAL (
            SELECT coalesce(sum((each ->> 1)::int), 0) AS ended, coalesce(sum((each ->> 2)::int), 0) AS completed
            FROM follow_up CROSS JOIN jsonb_array_elements(data::jsonb -> 'calls') AS each
            WHERE kind = 'join' AND follow_up.pid = call.pid AND (each ->> 0)::bigint = call.id
        ) told ON true
        WHERE (items.total, items.started, items.ended, items.completed)
            <> (call.total, call.started, call.ended + told.ended, call.completed + told.completed)""",
    "callers_will_go_on": """
        SELECT process.pid FROM process LEFT JOIN call ON call.id = (waiting::jsonb ->> 'call')::bigint
        WHERE waiting::jsonb ? 'call' AND ((call.open AND call.pid = process.pid) IS NOT TRUE
            OR state = 'WAITING' AND NOT EXISTS (
                SELECT FROM follow_up WHERE follow_up.pid = process.pid AND kind IN ('join', 'spawn'))
            AND (call.started - call.ended <= 0 OR call.completed >= call.need
                OR on_child_failure = 'wake' AND call.ended >= call.need
                OR on_child_failure = 'fail' AND call.total - call.ended + call.completed < call.need
                OR call.started < call.total AND call.started - call.ended < call.most))
        UNION ALL SELECT call.pid FROM call LEFT JOIN process ON process.pid = call.pid
            AND (waiting::jsonb ->> 'call')::bigint = call.id WHERE call.open AND process.pid IS NULL""",
    "barrier_members_wait_there": """
        SELECT member.pid FROM barrier_member member JOIN barrier ON barrier.id = member.barrier LEFT JOIN process USING (pid)
        WHERE CASE WHEN member.round = barrier.round THEN (state IN ('WAITING', 'SUSPENDED')
                AND (waiting::jsonb ->> 'barrier')::bigint = member.barrier AND (waiting::jsonb ->> 'round')::int = member.round
            ) IS NOT TRUE ELSE member.round > barrier.round OR NOT EXISTS (
                SELECT FROM follow_up WHERE kind = 'open' AND (data::jsonb ->> 'barrier')::bigint = member.barrier
                    AND (data::jsonb ->> 'round')::int = member.round) END
        UNION ALL SELECT process.pid FROM process LEFT JOIN barrier_member member ON member.pid = process.pid
            AND member.barrier = (waiting::jsonb ->> 'barrier')::bigint AND member.round = (waiting::jsonb ->> 'round')::int
        WHERE state = 'WAITING' AND waiting::jsonb ? 'barrier' AND member.pid IS NULL
        UNION ALL SELECT min(member.pid) FROM barrier_member member JOIN barrier ON barrier.id = member.barrier
            AND barrier.round = member.round GROUP BY barrier.id HAVING count(*) >= barrier.parties""",
    "entity_references_match": """
        SELECT coalesce(told.pid, kept.pid) FROM (
            SELECT pid, tenant, each ->> 0 AS type, each ->> 1 AS id, each ->> 2 AS role
            FROM process CROSS JOIN jsonb_array_elements(entities::jsonb) AS each WHERE entities IS NOT NULL
        ) told FULL JOIN entity_reference kept USING (pid, tenant, type, id, role)
        WHERE told.pid IS NULL OR kept.pid IS NULL""",
    "who_has_a_turn_is_alive": """
        SELECT coalesce(governed.pid, turn.pid) FROM (
            SELECT pid, tenant, service, entity_type, entity_id FROM process
            JOIN service_version v USING (tenant) WHERE v.name = service AND v.version = service_version
                AND v.definition::jsonb ->> 'per_entity' <> 'parallel' AND entity_type IS NOT NULL AND state <> 'TERMINATED'
        ) governed FULL JOIN entity_turn turn USING (tenant, service, entity_type, entity_id, pid)
        WHERE governed.pid IS NULL OR turn.pid IS NULL""",
    "one_at_a_time_on_an_entity": """
        SELECT own.pid FROM entity_turn own JOIN process USING (pid)
        JOIN service_version v ON (v.tenant, v.name, v.version) = (process.tenant, process.service, process.service_version)
        JOIN LATERAL (SELECT max(ahead.pid) AS pid FROM entity_turn ahead WHERE ahead.pid < own.pid
            AND (ahead.tenant, ahead.service, ahead.entity_type, ahead.entity_id)
                = (own.tenant, own.service, own.entity_type, own.entity_id)) ahead ON ahead.pid IS NOT NULL
        WHERE coalesce(nullif(state, 'SUSPENDED'), suspended_from) <> 'NEW'
            OR compensates IS NULL AND (v.definition::jsonb ->> 'per_entity' = 'reject'
                OR v.definition::jsonb ->> 'per_entity' = 'replace' AND NOT EXISTS (
                    SELECT FROM follow_up WHERE kind = 'replace' AND follow_up.pid = own.pid))""",
}


async def run(connection: Connection, public_key: bytes | None = None) -> list[dict[str, Any]]:
    """`{name, breaches, examples}` each, of one instant; examples are pids, or numbers of checkpoints.

    `public_key`: the key that signs now.
    """
    found = []
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        for name, sql in CHECKS.items():
            rows = await connection.fetch(
                f"SELECT count(*) OVER () AS breaches, pid FROM ({sql}) breach (pid) ORDER BY pid LIMIT {SHOWN}",
                timeout=300,
            )
            breaches = rows[0]["breaches"] if rows else 0
            found.append({"name": name, "breaches": breaches, "examples": [row["pid"] for row in rows]})
        newest = await checkpoints.newest(connection, NEWEST)
        dropped = await partitions.dropped(connection)
    unsigned = unsound(newest, public_key)
    unknown = [each["lower"] for each in dropped if newest and not _signed(each)]
    found.append({"name": "what_was_dropped_is_signed", "breaches": len(unknown), "examples": unknown[:SHOWN]})
    found.append({"name": "checkpoints_are_signed", "breaches": len(unsigned), "examples": sorted(unsigned)[:SHOWN]})
    return found


def _signed(part: Any) -> bool:
    """Whether a partition was dropped by whoever has the key, and says so still."""
    if part["signature"] is None or not valid(part["statement"], part["signature"], part["public_key"]):
        return False
    said = orjson.loads(part["statement"])
    told = (part["digest"].hex(), [part["lower"], part["upper"]], part["processes"], part["rows"])
    return told == (said["digest"], said["dropped"], said["processes"], said["rows"])
