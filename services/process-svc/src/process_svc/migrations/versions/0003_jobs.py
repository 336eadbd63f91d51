"""Bulk jobs and their items.

Revision ID: 0003
"""

from alembic import op

revision = "0003"
down_revision = "0002"

TABLES = """
CREATE SEQUENCE job_id;

CREATE TABLE job (
    id bigint PRIMARY KEY,
    tenant text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('processes', 'incidents')),
    command text NOT NULL,
    filter text NOT NULL,
    body text NOT NULL,
    dry_run boolean NOT NULL,
    state text NOT NULL,
    collected boolean NOT NULL,
    bound bigint NOT NULL,
    reached bigint NOT NULL,
    expected bigint NOT NULL,
    total bigint NOT NULL,
    done bigint NOT NULL,
    failed bigint NOT NULL,
    by text NOT NULL,
    roles text[] NOT NULL,
    operator text,
    correlation text NOT NULL,
    created_at timestamptz NOT NULL,
    started_at timestamptz,
    ended_at timestamptz,
    moved_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    error text
) WITH (fillfactor = 50);
CREATE INDEX job_unfinished ON job (id) WHERE ended_at IS NULL;
CREATE INDEX job_tenant ON job (tenant, id);
COMMENT ON COLUMN job.bound IS 'Processes with a greater pid were made after the job.';
COMMENT ON COLUMN job.reached IS 'Processes up to this pid have been looked at.';

CREATE TABLE job_item (
    job bigint NOT NULL,
    item bigint NOT NULL,
    pid bigint NOT NULL,
    status text,
    problem text,
    change text,
    PRIMARY KEY (job, item)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
COMMENT ON TABLE job_item IS 'Settled in the transaction of its effect. `item` is a pid, or the id of an incident.';
"""


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    raise RuntimeError("migrations only go forward")
