"""The first tables.

Revision ID: 0001
"""

from alembic import op
from kernel_runtime.schema import RUNTIME_TABLES

revision = "0001"
down_revision = None

TABLES = """
CREATE TABLE queue (
    tenant text NOT NULL,
    name text NOT NULL,
    version integer NOT NULL,
    definition text NOT NULL,
    PRIMARY KEY (tenant, name)
);

CREATE TABLE ready_item (
    pid bigint PRIMARY KEY,
    tenant text NOT NULL,
    queue text NOT NULL,
    service text NOT NULL,
    version bigint NOT NULL,
    latest bigint NOT NULL,
    priority smallint NOT NULL,
    ready_at timestamptz NOT NULL,
    not_after timestamptz,
    due timestamptz,
    expected_duration double precision,
    demands text NOT NULL,
    cause text NOT NULL,
    state text NOT NULL CHECK (state IN ('ready', 'proposed', 'running', 'holding')),
    attempt integer NOT NULL,
    dispatch_id text,
    proposed_at timestamptz,
    candidates text NOT NULL,
    held text NOT NULL,
    denials integer NOT NULL,
    reason text,
    retry_at timestamptz
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
        autovacuum_vacuum_cost_delay = 0);
COMMENT ON TABLE ready_item IS 'Processes in line, proposed or running, or that hold units. The planner alone writes it.';

CREATE TABLE resource_copy (
    tenant text NOT NULL,
    id text NOT NULL,
    type text NOT NULL,
    version bigint NOT NULL,
    defined bigint NOT NULL,
    capacity integer NOT NULL,
    used integer NOT NULL,
    idle_since timestamptz NOT NULL,
    open boolean NOT NULL,
    body text NOT NULL,
    PRIMARY KEY (tenant, id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
        autovacuum_vacuum_cost_delay = 0);

CREATE TABLE queue_wait (
    tenant text NOT NULL,
    queue text NOT NULL,
    minute timestamptz NOT NULL,
    counts integer[] NOT NULL,
    PRIMARY KEY (tenant, queue, minute)
);
COMMENT ON TABLE queue_wait IS 'Times from READY to granted, as histograms by minute of the last hour.';
"""


def upgrade() -> None:
    op.execute(RUNTIME_TABLES)
    op.execute(TABLES)


def downgrade() -> None:
    raise RuntimeError("migrations only go forward")
