"""Children are counted as they come and end; a follow-up carries what it counts.

Revision ID: 0006
"""

from alembic import op

revision = "0006"
down_revision = "0005"

TABLES = """
CREATE TABLE family (
    pid bigint NOT NULL,
    service text NOT NULL,
    version integer NOT NULL,
    total integer NOT NULL,
    ended integer NOT NULL,
    PRIMARY KEY (pid, service, version)
) WITH (fillfactor = 50);
COMMENT ON TABLE family IS 'The children of a process by service version; with the follow-ups of kind join on their way, exact.';

INSERT INTO family (pid, service, version, total, ended)
SELECT parent, service, service_version, count(*), count(*) FILTER (WHERE state = 'TERMINATED')
FROM process WHERE parent IS NOT NULL GROUP BY 1, 2, 3;

ALTER TABLE follow_up ADD COLUMN data text;
CREATE INDEX follow_up_join ON follow_up (pid) WHERE kind = 'join';
"""


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    raise RuntimeError("migrations only go forward")
