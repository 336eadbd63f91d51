"""How long steps take, learnt; what an item's place in line is made of.

Revision ID: 0002
"""

from alembic import op

revision = "0002"
down_revision = "0001"

TABLES = """
CREATE TABLE service_time (
    tenant text NOT NULL,
    service text NOT NULL,
    tries smallint NOT NULL,
    previous text NOT NULL,
    count bigint NOT NULL,
    mean double precision NOT NULL,
    PRIMARY KEY (tenant, service, tries, previous)
) WITH (fillfactor = 70);
COMMENT ON TABLE service_time IS 'How often a step ran and its mean seconds, in queues that look at durations.';

ALTER TABLE ready_item
    ADD COLUMN tries smallint NOT NULL DEFAULT 1,
    ADD COLUMN previous text NOT NULL DEFAULT '',
    ADD COLUMN tag double precision NOT NULL DEFAULT '-1';
"""


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    raise RuntimeError("migrations only go forward")
