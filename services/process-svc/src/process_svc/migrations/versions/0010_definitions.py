"""The life of services beside their versions; processes may change what they were created with.

Revision ID: 0010
"""

from alembic import op

revision = "0010"
down_revision = "0009"

TABLES = """
ALTER TABLE service ADD COLUMN pinned integer;
ALTER TABLE service ADD COLUMN number integer NOT NULL DEFAULT 0;
ALTER TABLE service ADD COLUMN retired_at timestamptz;
ALTER TABLE service ADD COLUMN canary integer;
ALTER TABLE service ADD COLUMN canary_share double precision;
ALTER TABLE service ADD COLUMN deprecated text;
COMMENT ON COLUMN service.pinned IS 'The version that new processes get; NULL: the latest.';
COMMENT ON COLUMN service.number IS 'How often its life was changed, new versions apart.';
COMMENT ON COLUMN service.deprecated IS 'JSON: version -> [at, sunset, reason].';

CREATE TABLE service_change (
    tenant text NOT NULL,
    name text NOT NULL,
    number integer NOT NULL,
    at timestamptz NOT NULL,
    by text NOT NULL,
    action text NOT NULL,
    body text NOT NULL,
    PRIMARY KEY (tenant, name, number)
);
COMMENT ON TABLE service_change IS 'Who changed the life of a service, and how.';

CREATE TYPE process_kind AS (
    pid bigint,
    service_version integer,
    queue text,
    expected_duration double precision,
    due timestamptz
);
COMMENT ON TYPE process_kind IS 'What only few commands change (a migration): an update of its own.';
"""


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    raise RuntimeError("migrations only go forward")
