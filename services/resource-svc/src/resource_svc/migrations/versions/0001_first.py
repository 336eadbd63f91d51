"""Resources with their use, who holds what, what became of each dispatch, what changed; calendars."""

from alembic import op
from kernel_runtime.schema import RUNTIME_TABLES

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE resource (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant text NOT NULL,
    id text NOT NULL,
    type text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('exclusive', 'shared', 'consumable', 'returnable')),
    name text,
    capacity bigint NOT NULL,
    used bigint NOT NULL,
    counted bigint,
    reorder_at bigint,
    labels jsonb NOT NULL,
    roles jsonb NOT NULL,
    skills jsonb NOT NULL,
    calendar text,
    status text NOT NULL CHECK (status IN ('in_service', 'out', 'retired')),
    presence text NOT NULL CHECK (presence IN ('available', 'away', 'break')),
    presence_until timestamptz,
    deleted boolean NOT NULL,
    version bigint NOT NULL,
    revision bigint NOT NULL,
    created_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    UNIQUE (tenant, id),
    CONSTRAINT never_over_capacity CHECK (used BETWEEN 0 AND capacity)
) WITH (fillfactor = 50);
COMMENT ON COLUMN resource.version IS 'every change of definition or use; events carry it';
COMMENT ON COLUMN resource.revision IS 'every change of the definition, stock or presence; the ETag';
CREATE INDEX resource_type ON resource (tenant, type, id);
CREATE INDEX resource_presence_until ON resource (presence_until) WHERE presence_until IS NOT NULL;

CREATE TABLE resource_change (
    resource bigint NOT NULL,
    version bigint NOT NULL,
    revision bigint NOT NULL,
    capacity bigint NOT NULL,
    what text NOT NULL,
    by text NOT NULL,
    reason text,
    definition jsonb NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (resource, version)
);

CREATE TABLE allocation (
    resource bigint NOT NULL,
    version bigint NOT NULL,
    dispatch_id text NOT NULL,
    demand smallint NOT NULL,
    pid bigint NOT NULL,
    process_version bigint NOT NULL,
    units bigint NOT NULL CHECK (units > 0),
    hold text NOT NULL,
    relied_on_by text,
    granted_at timestamptz NOT NULL,
    released_at timestamptz,
    released_version bigint,
    PRIMARY KEY (resource, version)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
COMMENT ON COLUMN allocation.version IS 'the version of the resource that taking the units led to';
COMMENT ON COLUMN allocation.released_version IS 'the version that giving them back led to; null for what was used up';
CREATE INDEX allocation_pid ON allocation (pid);
CREATE INDEX allocation_active ON allocation (resource) WHERE released_at IS NULL;

CREATE TABLE dispatch (
    dispatch_id text PRIMARY KEY,
    tenant text NOT NULL,
    pid bigint NOT NULL,
    process_version bigint NOT NULL,
    queue text NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('granted', 'denied', 'withdrawn')),
    reason text,
    operator text,
    allocations smallint NOT NULL,
    at timestamptz NOT NULL
);

CREATE TABLE calendar (
    tenant text NOT NULL,
    id text NOT NULL,
    definition jsonb NOT NULL,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, id)
);
"""


def upgrade() -> None:
    op.execute(RUNTIME_TABLES)
    op.execute(TABLES)
