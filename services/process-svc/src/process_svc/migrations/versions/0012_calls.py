"""Calls: children that a process waits for, made by the kernel.

Revision ID: 0012
"""

from alembic import op

revision = "0012"
down_revision = "0011"

TABLES = """
CREATE SEQUENCE call_id;

CREATE TABLE call (
    id bigint PRIMARY KEY,
    tenant text NOT NULL,
    pid bigint NOT NULL,
    kind text NOT NULL,
    service text NOT NULL,
    version integer NOT NULL,
    lands text NOT NULL,
    total integer NOT NULL,
    need integer NOT NULL,
    most integer NOT NULL,
    on_child_failure text NOT NULL,
    rest text NOT NULL,
    template text NOT NULL,
    started integer NOT NULL,
    ended integer NOT NULL,
    completed integer NOT NULL,
    open boolean NOT NULL,
    at timestamptz NOT NULL
) WITH (fillfactor = 50);
CREATE INDEX call_pid ON call (pid, id);
COMMENT ON TABLE call IS 'Written under its caller''s lock; exact with the follow-ups of kind join on their way.';

CREATE TABLE call_item (
    call bigint NOT NULL,
    index integer NOT NULL,
    item text NOT NULL,
    child bigint,
    error text,
    PRIMARY KEY (call, index)
);
COMMENT ON COLUMN call_item.error IS 'JSON: why no child could be made of it.';

ALTER TABLE process ADD COLUMN call bigint;
COMMENT ON COLUMN process.call IS 'The call of its parent that made it.';
"""


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    raise RuntimeError("migrations only go forward")
