"""Barriers: processes that wait for each other.

Revision ID: 0013
"""

from alembic import op

revision = "0013"
down_revision = "0012"

TABLES = """
CREATE TABLE barrier (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant text NOT NULL,
    entity_type text NOT NULL,
    entity_id text NOT NULL,
    name text NOT NULL,
    parties integer NOT NULL,
    round integer NOT NULL,
    UNIQUE (tenant, entity_type, entity_id, name)
);
COMMENT ON COLUMN barrier.entity_type IS 'Empty where its processes have no entity.';

CREATE TABLE barrier_member (
    barrier bigint NOT NULL,
    round integer NOT NULL,
    pid bigint NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (barrier, round, pid)
);
COMMENT ON TABLE barrier_member IS 'Who has arrived; of a round that is over, who has not been told yet.';
"""


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    raise RuntimeError("migrations only go forward")
