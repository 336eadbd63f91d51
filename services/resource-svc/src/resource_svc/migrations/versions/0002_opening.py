"""Calendars hold back: whether a resource is closed now, and when that is looked at next.

What has a calendar already is looked at as soon as a replica runs.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = """
ALTER TABLE resource ADD COLUMN closed boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN resource.closed IS 'by its calendar; follows within a moment of the time in `opening`';

CREATE TABLE opening (
    tenant text NOT NULL,
    id text NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (tenant, id)
);
COMMENT ON TABLE opening IS 'when a resource with a calendar opens or closes next, or is to be looked at';
CREATE INDEX opening_at ON opening (at);
INSERT INTO opening SELECT tenant, id, now() FROM resource WHERE calendar IS NOT NULL AND NOT deleted;
"""


def upgrade() -> None:
    op.execute(TABLES)
