"""Compensation: what undoes a process, and in which order; budgets; incidents that recur.

Revision ID: 0011
"""

from alembic import op

revision = "0011"
down_revision = "0010"

TABLES = """
ALTER TABLE process ADD COLUMN tried_at timestamptz;
ALTER TABLE process ADD COLUMN compensates bigint;
ALTER TABLE process ADD COLUMN compensating text;
CREATE INDEX process_compensating ON process (pid) WHERE compensating IS NOT NULL;

CREATE TYPE process_kind_2 AS (
    pid bigint,
    service_version integer,
    queue text,
    expected_duration double precision,
    due timestamptz,
    tried_at timestamptz,
    compensating text
);

CREATE TABLE compensation (
    pid bigint NOT NULL,
    number integer NOT NULL,
    target bigint NOT NULL,
    version integer NOT NULL,
    service text NOT NULL,
    state text NOT NULL CHECK (state IN ('pending', 'running', 'done', 'skipped')),
    child bigint,
    at timestamptz NOT NULL,
    PRIMARY KEY (pid, number)
);
CREATE INDEX compensation_open ON compensation (pid, number) WHERE state IN ('pending', 'running');
CREATE INDEX compensation_target ON compensation (target);
COMMENT ON TABLE compensation IS 'What is undone for pid, in the order of number: target as it was at version, by service.';

ALTER TABLE incident ADD COLUMN code text;
ALTER TABLE incident ADD COLUMN count integer NOT NULL DEFAULT 1;
ALTER TABLE incident ADD COLUMN last_at timestamptz;
ALTER TABLE incident ADD COLUMN version integer NOT NULL DEFAULT 1;
UPDATE incident SET code = error::jsonb ->> 'code', last_at = opened_at;
CREATE UNIQUE INDEX incident_open_pid ON incident (pid) WHERE state = 'open';
"""


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    raise RuntimeError("migrations only go forward")
