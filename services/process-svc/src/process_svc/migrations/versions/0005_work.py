"""Leases of automatic work.

Revision ID: 0005
"""

from alembic import op

revision = "0005"
down_revision = "0004"

TABLES = """
CREATE TABLE work_lease (
    pid bigint PRIMARY KEY,
    tenant text NOT NULL,
    dispatch_id text NOT NULL,
    service text NOT NULL,
    roles text[] NOT NULL,
    operator text,
    priority smallint NOT NULL,
    at timestamptz NOT NULL,
    token bigint NOT NULL,
    seconds double precision NOT NULL,
    worker text,
    claimed_by text,
    until timestamptz,
    progress text,
    CHECK ((worker IS NULL) = (until IS NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000,
        autovacuum_vacuum_cost_delay = 0);
COMMENT ON TABLE work_lease IS 'One row for each RUNNING process that programs carry out; worker NULL: to be claimed.';
CREATE INDEX work_lease_open ON work_lease (tenant, service, priority DESC, at, pid) WHERE worker IS NULL;
CREATE INDEX work_lease_until ON work_lease (until) WHERE until IS NOT NULL;
"""

RUNNING = """
INSERT INTO work_lease (pid, tenant, dispatch_id, service, roles, operator, priority, at, token, seconds)
SELECT pid, process.tenant, dispatch_id, service, roles, operator, priority, started_at, process.version::bigint * 65536, 60
FROM process JOIN service_version v ON (v.tenant, v.name, v.version) = (process.tenant, service, service_version)
WHERE state = 'RUNNING' AND kind IN ('automatic', 'agent')
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(RUNNING)


def downgrade() -> None:
    raise RuntimeError("migrations only go forward")
