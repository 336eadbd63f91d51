"""Further entities of a process, and whose turn it is on an entity.

Revision ID: 0004
"""

from alembic import op

revision = "0004"
down_revision = "0003"

TABLES = """
ALTER TABLE process ADD COLUMN entities text;
COMMENT ON COLUMN process.entities IS 'JSON: [type, id, role, access] each, beyond entity_type and entity_id.';

CREATE TABLE entity_reference (
    tenant text NOT NULL,
    type text NOT NULL,
    id text NOT NULL,
    pid bigint NOT NULL,
    role text NOT NULL,
    PRIMARY KEY (tenant, type, id, pid, role)
);
COMMENT ON TABLE entity_reference IS 'process.entities, to be searched by entity; the subject is in process itself.';

CREATE TABLE entity_turn (
    tenant text NOT NULL,
    service text NOT NULL,
    entity_type text NOT NULL,
    entity_id text NOT NULL,
    pid bigint NOT NULL,
    PRIMARY KEY (tenant, service, entity_type, entity_id, pid)
);
COMMENT ON TABLE entity_turn IS 'Processes alive whose service says what becomes of a further one on the same entity.';
"""


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    raise RuntimeError("migrations only go forward")
