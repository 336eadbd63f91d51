"""Journal and snapshots in partitions by pid; legal holds.

What is there stays where it is: the old tables become the first partitions. Attaching reads them once, to check their bounds.

Revision ID: 0007
"""

from alembic import op

revision = "0007"
down_revision = "0006"

TABLES = """
CREATE TABLE journal_part (
    lower bigint PRIMARY KEY,
    upper bigint NOT NULL UNIQUE,
    dropped_at timestamptz,
    processes bigint,
    rows bigint,
    first_pid bigint,
    last_pid bigint,
    digest bytea,
    statement text,
    signature bytea,
    public_key bytea,
    cleared bigint
);
COMMENT ON TABLE journal_part IS 'Partitions of journal and snapshot, and what is left of those that were dropped.';

CREATE SEQUENCE hold_id;

CREATE TABLE hold (
    id bigint PRIMARY KEY,
    tenant text NOT NULL,
    pid bigint,
    filter text,
    reason text NOT NULL,
    by text NOT NULL,
    at timestamptz NOT NULL,
    released_by text,
    released_at timestamptz,
    CHECK ((pid IS NULL) <> (filter IS NULL))
);
CREATE INDEX hold_active ON hold (id) WHERE released_at IS NULL;
CREATE INDEX hold_tenant ON hold (tenant, id);
COMMENT ON TABLE hold IS 'Legal holds; never deleted.';

ALTER TABLE journal RENAME TO journal_0;
ALTER TABLE journal_0 RENAME CONSTRAINT journal_pkey TO journal_0_pkey;
ALTER INDEX journal_at RENAME TO journal_0_at;
ALTER TABLE snapshot RENAME TO snapshot_0;
ALTER TABLE snapshot_0 RENAME CONSTRAINT snapshot_pkey TO snapshot_0_pkey;
CREATE TABLE journal (LIKE journal_0 INCLUDING COMMENTS) PARTITION BY RANGE (pid);
ALTER TABLE journal ADD PRIMARY KEY (pid, version);
CREATE INDEX journal_at ON journal USING brin (at) WITH (pages_per_range = 64, autosummarize = on);
COMMENT ON TABLE journal IS 'Each version of each process: what led to it. Rows are added, never changed.';
CREATE TABLE snapshot (LIKE snapshot_0 INCLUDING COMMENTS) PARTITION BY RANGE (pid);
ALTER TABLE snapshot ADD PRIMARY KEY (pid, version);

DO $$
DECLARE
    size CONSTANT bigint := 1000000;
    top bigint;
    part bigint;
    name text;
BEGIN
    SELECT (last_value / size + 1) * size INTO top FROM pid;
    EXECUTE format('ALTER TABLE journal ATTACH PARTITION journal_0 FOR VALUES FROM (0) TO (%s)', top);
    EXECUTE format('ALTER TABLE snapshot ATTACH PARTITION snapshot_0 FOR VALUES FROM (0) TO (%s)', top);
    INSERT INTO journal_part (lower, upper) VALUES (0, top);
    FOR part IN 0..3 LOOP
        FOREACH name IN ARRAY ARRAY['journal', 'snapshot'] LOOP
            EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%s) TO (%s)',
                name || '_' || top + part * size, name, top + part * size, top + (part + 1) * size);
        END LOOP;
        INSERT INTO journal_part (lower, upper) VALUES (top + part * size, top + (part + 1) * size);
    END LOOP;
END $$;
"""


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    raise RuntimeError("migrations only go forward")
