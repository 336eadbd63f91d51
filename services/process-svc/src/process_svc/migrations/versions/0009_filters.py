"""Indexes that cost only processes which differ from most: in a queue of their own, assigned, not completed. Ended ones in order.

Revision ID: 0009
"""

from alembic import op

revision = "0009"
down_revision = "0008"

INDEXES = """
CREATE INDEX process_other_queue ON process (tenant, queue, state, pid) WHERE queue <> 'default';
CREATE INDEX process_outcome ON process (tenant, outcome, pid) WHERE outcome <> 'completed';
DROP INDEX process_assigned;
CREATE INDEX process_assigned ON process (tenant, assigned, state, pid) WHERE assigned IS NOT NULL;
DROP INDEX process_ended_at;
CREATE INDEX process_ended_at ON process (tenant, ended_at, pid) WHERE state = 'TERMINATED';
"""


def upgrade() -> None:
    op.execute(INDEXES)


def downgrade() -> None:
    raise RuntimeError("migrations only go forward")
