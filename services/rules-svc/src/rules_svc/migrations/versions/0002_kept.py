"""Events are kept for who begins to wait later; one event reaches many in parts.

Revision ID: 0002
"""

from alembic import op

revision = "0002"
down_revision = "0001"

TABLES = """
ALTER TABLE event
    ADD COLUMN correlation text,
    ADD COLUMN meets text NOT NULL DEFAULT 'all' CHECK (meets IN ('all', 'one', 'first')),
    ADD COLUMN until timestamptz,
    ADD COLUMN wake text,
    ADD COLUMN taken boolean NOT NULL DEFAULT false,
    ADD COLUMN expired boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN event.until IS 'While it is kept. `taken`: it has met whom it was for.';
CREATE INDEX event_kept ON event (tenant, type, correlation, at, key) WHERE until IS NOT NULL AND NOT taken;
CREATE INDEX event_lately ON event (tenant, type, at, key) WHERE until IS NOT NULL AND NOT taken;
CREATE INDEX event_until ON event (until) WHERE until IS NOT NULL;

ALTER TABLE wait ADD COLUMN since timestamptz NOT NULL DEFAULT 'epoch';

CREATE TABLE spread (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event bytea NOT NULL,
    tenant text NOT NULL,
    type text,
    key text,
    wake text NOT NULL,
    meets text NOT NULL,
    after bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE spread IS 'Events that look for further processes which wait for them; deleted by whoever goes on with one.';
"""


def upgrade() -> None:
    op.execute(TABLES)
