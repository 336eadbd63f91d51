"""The journal's rows are chained; signed checkpoints.

Chains of processes that are there already begin with the next row that they write: rows without a hash come before. Which
processes that may be true of is kept in `ledger`.

Revision ID: 0002
"""

from alembic import op

revision = "0002"
down_revision = "0001"

TABLES = """
ALTER TABLE journal ADD COLUMN hash bytea;
COMMENT ON COLUMN journal.hash IS 'SHA-256 over the hash of the row before and this row (process_svc.domain.ledger).';
ALTER TABLE process ADD COLUMN journal_hash bytea;
CREATE INDEX journal_at ON journal USING brin (at) WITH (pages_per_range = 64, autosummarize = on);

CREATE TYPE process_move_2 AS (
    pid bigint,
    version integer,
    state text,
    outcome text,
    operator text,
    assigned text,
    priority smallint,
    attempt integer,
    dispatch_id text,
    held boolean,
    ready_at timestamptz,
    started_at timestamptz,
    ended_at timestamptz,
    not_before timestamptz,
    run_until timestamptz,
    output text,
    suspended_from text,
    suspended_at timestamptz,
    incident bigint,
    has_children boolean,
    has_dependents boolean,
    ended_by text,
    journal_hash bytea,
    waiting text,
    wake_at timestamptz
);

CREATE TABLE ledger (
    unchained_pid bigint NOT NULL,
    since timestamptz NOT NULL
);
COMMENT ON TABLE ledger IS 'One row: only processes up to this pid may have rows from before the journal was chained.';
INSERT INTO ledger SELECT CASE WHEN is_called THEN last_value ELSE 0 END, clock_timestamp() FROM pid;

CREATE TABLE checkpoint (
    tenant text NOT NULL,
    number bigint NOT NULL,
    upto timestamptz NOT NULL,
    statement text NOT NULL,
    hash bytea NOT NULL,
    signature bytea NOT NULL,
    public_key bytea NOT NULL,
    PRIMARY KEY (tenant, number)
);
CREATE INDEX checkpoint_upto ON checkpoint (upto);
COMMENT ON TABLE checkpoint IS 'What was signed of the heads of all processes that changed since the checkpoint before.';

CREATE TABLE checkpoint_head (
    tenant text NOT NULL,
    number bigint NOT NULL,
    pid bigint NOT NULL,
    version integer NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (tenant, number, pid)
);
CREATE INDEX checkpoint_head_pid ON checkpoint_head (pid);
"""


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    raise RuntimeError("migrations only go forward")
