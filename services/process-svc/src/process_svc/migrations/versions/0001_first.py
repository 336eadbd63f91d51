"""Processes, their journal, snapshots, dependencies, incidents; service definitions.

Revision ID: 0001
"""

from alembic import op
from kernel_runtime.schema import RUNTIME_TABLES

revision = "0001"
down_revision = None

TABLES = """
CREATE TABLE service (
    tenant text NOT NULL,
    name text NOT NULL,
    latest integer NOT NULL,
    PRIMARY KEY (tenant, name)
);

CREATE TABLE service_version (
    tenant text NOT NULL,
    name text NOT NULL,
    version integer NOT NULL,
    hash bytea NOT NULL,
    definition text NOT NULL,
    kind text NOT NULL,
    roles text[] NOT NULL,
    at timestamptz NOT NULL,
    by text NOT NULL,
    PRIMARY KEY (tenant, name, version)
);
COMMENT ON TABLE service_version IS 'Never changed once it is written: replicas keep them in memory.';

CREATE SEQUENCE pid;

CREATE TABLE process (
    pid bigint PRIMARY KEY,
    root bigint NOT NULL,
    created_at timestamptz NOT NULL,
    context_version integer NOT NULL,
    version integer NOT NULL,
    service_version integer NOT NULL,
    attempt integer NOT NULL,
    priority smallint NOT NULL,
    held boolean NOT NULL,
    has_children boolean NOT NULL,
    has_dependents boolean NOT NULL,
    tenant text NOT NULL,
    service text NOT NULL,
    queue text NOT NULL,
    state text NOT NULL,
    after_mode text NOT NULL,
    after_on text NOT NULL,
    context_hash bytea NOT NULL,
    context text NOT NULL,
    outcome text,
    operator text,
    assigned text,
    dispatch_id text,
    entity_type text,
    entity_id text,
    key text,
    key_hash bytea,
    parent bigint,
    after bigint[],
    ready_at timestamptz,
    started_at timestamptz,
    ended_at timestamptz,
    not_before timestamptz,
    not_after timestamptz,
    due timestamptz,
    run_until timestamptz,
    expected_duration double precision,
    output text,
    waiting text,
    suspended_from text,
    suspended_at timestamptz,
    incident bigint,
    ended_by text,
    wake_at timestamptz
) WITH (fillfactor = 75, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000,
        autovacuum_vacuum_cost_delay = 0);
CREATE TYPE process_move AS (
    pid bigint,
    version integer,
    state text,
    outcome text,
    operator text,
    assigned text,
    priority smallint,
    attempt integer,
    dispatch_id text,
    held boolean,
    ready_at timestamptz,
    started_at timestamptz,
    ended_at timestamptz,
    not_before timestamptz,
    run_until timestamptz,
    output text,
    suspended_from text,
    suspended_at timestamptz,
    incident bigint,
    has_children boolean,
    has_dependents boolean,
    ended_by text,
    waiting text,
    wake_at timestamptz
);
COMMENT ON TYPE process_move IS 'What an update of a process writes. A further column makes a new type, not another one of this.';
CREATE TYPE process_context AS (pid bigint, context text, context_version integer, context_hash bytea);

CREATE UNIQUE INDEX process_key ON process (tenant, key) WHERE key IS NOT NULL;
CREATE INDEX process_alive ON process (tenant, state, pid) WHERE state <> 'TERMINATED';
CREATE INDEX process_queue ON process (tenant, priority DESC, ready_at, pid) WHERE state = 'READY';
CREATE INDEX process_entity ON process (tenant, entity_type, entity_id, pid) WHERE entity_type IS NOT NULL;
CREATE INDEX process_parent ON process (parent, pid) WHERE parent IS NOT NULL;
CREATE INDEX process_root ON process (root, pid) WHERE parent IS NOT NULL;
CREATE INDEX process_incident ON process (tenant, pid) WHERE incident IS NOT NULL;
CREATE INDEX process_wake ON process (wake_at) WHERE wake_at IS NOT NULL;

CREATE TABLE journal (
    pid bigint NOT NULL,
    version integer NOT NULL,
    command text NOT NULL,
    type text NOT NULL,
    from_state text,
    state text NOT NULL,
    outcome text,
    at timestamptz NOT NULL,
    by text NOT NULL,
    reason text,
    cause text,
    correlation text NOT NULL,
    operator text,
    dispatch_id text,
    changes text,
    PRIMARY KEY (pid, version)
);
COMMENT ON TABLE journal IS 'Each version of each process: what led to it. Rows are added, never changed.';

CREATE TABLE snapshot (
    pid bigint NOT NULL,
    version integer NOT NULL,
    at timestamptz NOT NULL,
    context text NOT NULL,
    hash bytea NOT NULL,
    previous_hash bytea NOT NULL,
    PRIMARY KEY (pid, version)
);

CREATE TABLE dependency (
    after_pid bigint NOT NULL,
    pid bigint NOT NULL,
    PRIMARY KEY (after_pid, pid)
);

CREATE SEQUENCE incident_id;

CREATE TABLE incident (
    id bigint PRIMARY KEY,
    tenant text NOT NULL,
    pid bigint NOT NULL,
    type text NOT NULL,
    error text NOT NULL,
    state text NOT NULL CHECK (state IN ('open', 'resolved')),
    action text,
    assignee text,
    opened_at timestamptz NOT NULL,
    resolved_at timestamptz
);
CREATE INDEX incident_open ON incident (tenant, id) WHERE state = 'open';
CREATE INDEX incident_pid ON incident (pid);

CREATE TABLE follow_up (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,
    pid bigint NOT NULL,
    position bigint NOT NULL,
    cause text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE follow_up IS 'What relatives of a changed process still have to be told; deleted by whoever does it.';
"""


def upgrade() -> None:
    op.execute(RUNTIME_TABLES)
    op.execute(TABLES)


def downgrade() -> None:
    raise RuntimeError("migrations only go forward")
