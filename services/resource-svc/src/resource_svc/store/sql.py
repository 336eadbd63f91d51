"""The statements of the batch's work."""

LOCK = """
WITH wanted AS (
    SELECT r.number FROM unnest($1::text[], $2::text[]) AS w (tenant, id) JOIN resource r USING (tenant, id)
    UNION
    SELECT a.resource FROM (SELECT * FROM allocation WHERE pid = ANY($3::bigint[]) OFFSET 0) a WHERE a.released_at IS NULL)
SELECT number, tenant, id, type, used, version, revision FROM resource
WHERE number = ANY(ARRAY(SELECT number FROM wanted)) ORDER BY number
"""
FOR_UPDATE = "FOR UPDATE"
# OFFSET 0 keeps the planner from adding the index of all active allocations to that of the pid: it has much that is dead.

HELD = """
SELECT resource, version, dispatch_id, demand, pid, process_version, units, hold, relied_on_by
FROM (SELECT * FROM allocation WHERE pid = ANY($1::bigint[]) OFFSET 0) own
WHERE released_at IS NULL ORDER BY pid, granted_at, resource, version
"""
HOLDERS = """
SELECT resource, pid, units, dispatch_id, hold, granted_at FROM allocation
WHERE resource = ANY($1::bigint[]) AND released_at IS NULL ORDER BY resource, version
"""
DISPATCHES = """
SELECT dispatch_id, tenant, pid, process_version, queue, outcome, reason, operator, allocations FROM dispatch
WHERE dispatch_id = ANY($1::text[])
"""
CALENDARS = """
WITH RECURSIVE wanted AS (
    SELECT tenant, id FROM unnest($1::text[], $2::text[]) AS w (tenant, id)
    UNION
    SELECT calendar.tenant, layer FROM wanted JOIN calendar USING (tenant, id)
    CROSS JOIN jsonb_array_elements_text(calendar.definition -> 'layers') AS layer)
SELECT tenant, id, definition, version FROM calendar
WHERE (tenant, id) IN (SELECT tenant, id FROM wanted) ORDER BY tenant, id
"""
"""With all the layers below them."""


_RECORD = """
FROM jsonb_to_recordset($1::jsonb) AS new (
    tenant text, id text, type text, kind text, name text, capacity bigint, used bigint, counted bigint,
    reorder_at bigint, labels jsonb, roles jsonb, skills jsonb, calendar text, closed boolean, status text, presence text,
    presence_until timestamptz, deleted boolean, version bigint, revision bigint, at timestamptz)
"""
INSERT_RESOURCES = f"""
INSERT INTO resource (tenant, id, type, kind, name, capacity, used, counted, reorder_at, labels, roles, skills, calendar,
    closed, status, presence, presence_until, deleted, version, revision, created_at, changed_at)
SELECT tenant, id, type, kind, name, capacity, used, counted, reorder_at, labels, roles, skills, calendar,
    closed, status, presence, presence_until, deleted, version, revision, at, at
{_RECORD} ORDER BY tenant, id
ON CONFLICT (tenant, id) DO NOTHING RETURNING number, tenant, id
"""
UPDATE_RESOURCES = f"""
UPDATE resource SET type = new.type, kind = new.kind, name = new.name, capacity = new.capacity, used = new.used,
    counted = new.counted, reorder_at = new.reorder_at, labels = new.labels, roles = new.roles, skills = new.skills,
    calendar = new.calendar, closed = new.closed, status = new.status, presence = new.presence,
    presence_until = new.presence_until, deleted = new.deleted, version = new.version, revision = new.revision,
    changed_at = new.at
{_RECORD} WHERE resource.tenant = new.tenant AND resource.id = new.id
"""
UPDATE_USE = """
UPDATE resource SET used = new.used, version = new.version
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS new (number, used, version)
WHERE resource.number = new.number
"""
INSERT_CHANGES = """
INSERT INTO resource_change (resource, version, revision, capacity, what, by, reason, definition, at)
SELECT *, $9::timestamptz FROM unnest(
    $1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::jsonb[])
"""
ALLOCATION = (
    *("resource", "version", "dispatch_id", "demand", "pid", "process_version", "units", "hold", "relied_on_by"),
    *("granted_at", "released_at", "released_version"),
)
DISPATCH = (
    *("dispatch_id", "tenant", "pid", "process_version", "queue", "outcome", "reason", "operator", "allocations", "at"),
)
"""Columns for COPY: it costs a quarter of the Python of INSERT .. unnest."""

END_ALLOCATIONS = """
UPDATE allocation SET released_at = $4, released_version = ended.released_version
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS ended (resource, version, released_version)
WHERE allocation.resource = ended.resource AND allocation.version = ended.version
"""
KEEP_ALLOCATIONS = """
UPDATE allocation SET dispatch_id = kept.dispatch_id, demand = kept.demand, relied_on_by = kept.relied_on_by
FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::smallint[], $5::text[])
    AS kept (resource, version, dispatch_id, demand, relied_on_by)
WHERE allocation.resource = kept.resource AND allocation.version = kept.version
"""
INSERT_CALENDARS = """
INSERT INTO calendar (tenant, id, definition, version, created_at, changed_at)
SELECT *, $5::timestamptz, $5 FROM unnest($1::text[], $2::text[], $3::jsonb[], $4::bigint[])
ON CONFLICT (tenant, id) DO UPDATE SET definition = excluded.definition, version = excluded.version,
    changed_at = excluded.changed_at WHERE calendar.version = excluded.version - 1
"""

SCHEDULE = """
INSERT INTO opening SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[])
ON CONFLICT (tenant, id) DO UPDATE SET at = excluded.at WHERE opening.at <> excluded.at
"""
UNSCHEDULE = """
DELETE FROM opening USING unnest($1::text[], $2::text[]) AS w (tenant, id)
WHERE opening.tenant = w.tenant AND opening.id = w.id
"""
LOOK_AT_ALL = """
WITH RECURSIVE above AS (
    SELECT tenant, id FROM unnest($1::text[], $2::text[]) AS w (tenant, id)
    UNION
    SELECT calendar.tenant, calendar.id FROM above JOIN calendar
        ON calendar.tenant = above.tenant AND calendar.definition -> 'layers' ? above.id)
INSERT INTO opening SELECT tenant, resource.id, $3 FROM resource
WHERE NOT deleted AND (tenant, calendar) IN (SELECT tenant, id FROM above) ORDER BY tenant, resource.id
ON CONFLICT (tenant, id) DO UPDATE SET at = excluded.at
"""
"""Whoever goes by one of these calendars, or by one that lies above them."""
