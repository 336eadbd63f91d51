"""What lists and searches need at a million processes: indexes, texts, and members of contexts that services declare.

Revision ID: 0008
"""

from alembic import op

revision = "0008"
down_revision = "0007"

TABLES = """
CREATE INDEX process_service ON process (tenant, service, state, pid);
CREATE INDEX process_operator ON process (tenant, operator, state, pid) WHERE operator IS NOT NULL;
CREATE INDEX process_created ON process (tenant, state, created_at, pid);
CREATE INDEX process_priority ON process (tenant, state, priority, pid);
CREATE INDEX process_due ON process (tenant, state, due, pid) WHERE due IS NOT NULL;
CREATE INDEX process_ended ON process (tenant, pid) WHERE state = 'TERMINATED';
CREATE INDEX process_ended_at ON process (tenant, ended_at) WHERE state = 'TERMINATED';
CREATE INDEX process_claim ON process (tenant, service, service_version, priority DESC, ready_at, pid)
    WHERE state = 'READY' AND assigned IS NULL;
CREATE INDEX process_assigned ON process (tenant, assigned, priority DESC, ready_at, pid)
    WHERE state = 'READY' AND assigned IS NOT NULL;

DROP INDEX process_queue;

CREATE TABLE process_text (pid bigint PRIMARY KEY, text text NOT NULL);
COMMENT ON TABLE process_text IS 'Key and entity id of processes that have one, a line each: written once.';
INSERT INTO process_text
SELECT pid, concat_ws(chr(10), key, entity_id) FROM process
WHERE key IS NOT NULL OR entity_id IS NOT NULL;

CREATE TABLE indexed_path (
    tenant text NOT NULL,
    service text NOT NULL,
    name text NOT NULL,
    reached bigint NOT NULL,
    complete boolean NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (tenant, service, name)
);
COMMENT ON TABLE indexed_path IS 'What any version of a service declares in `indexed`; complete once older processes are in.';
INSERT INTO indexed_path
SELECT DISTINCT tenant, service_version.name, path, 0, false, '-infinity'::timestamptz
FROM service_version CROSS JOIN LATERAL jsonb_array_elements_text(definition::jsonb -> 'indexed') AS path
WHERE jsonb_typeof(definition::jsonb -> 'indexed') = 'array';

CREATE TABLE process_attribute (
    tenant text NOT NULL,
    service text NOT NULL,
    name text NOT NULL,
    value text NOT NULL,
    pid bigint NOT NULL,
    PRIMARY KEY (pid, name)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX process_attribute_value ON process_attribute (tenant, service, name, value, pid);
COMMENT ON TABLE process_attribute IS 'Text, numbers and truth values in contexts at indexed paths; 200 characters of each.';
"""

TRIGRAMS = """
DO $$ BEGIN
    CREATE EXTENSION IF NOT EXISTS pg_trgm;
    CREATE INDEX process_text_trigrams ON process_text USING gin (text gin_trgm_ops) WITH (gin_pending_list_limit = 256);
EXCEPTION WHEN undefined_file OR insufficient_privilege OR feature_not_supported THEN
    RAISE WARNING 'pg_trgm is not to be had here: searching by text reads all keys and entity ids';
END $$
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(TRIGRAMS)


def downgrade() -> None:
    raise RuntimeError("migrations only go forward")
