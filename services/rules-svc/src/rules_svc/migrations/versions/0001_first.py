"""Definitions, events, firings, waits, outcomes."""

from alembic import op
from kernel_runtime.schema import RUNTIME_TABLES

revision = "0001"
down_revision = None

TABLES = """
CREATE TABLE rulebook (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    version bigint NOT NULL
);
INSERT INTO rulebook (version) VALUES (0);

CREATE TABLE definition (
    tenant text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('rule', 'event_type')),
    name text NOT NULL,
    version integer NOT NULL CHECK (version > 0),
    body text NOT NULL,
    deleted boolean NOT NULL,
    changed bigint NOT NULL,
    at timestamptz NOT NULL,
    by text NOT NULL,
    PRIMARY KEY (tenant, kind, name)
);
CREATE INDEX definition_changed ON definition (changed);

CREATE TABLE journal (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant text NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    version integer NOT NULL,
    body text NOT NULL,
    deleted boolean NOT NULL,
    at timestamptz NOT NULL,
    by text NOT NULL,
    UNIQUE (tenant, kind, name, version)
);

CREATE TABLE event (
    key bytea PRIMARY KEY CHECK (octet_length(key) = 16),
    tenant text NOT NULL,
    source text NOT NULL,
    id text NOT NULL,
    type text NOT NULL,
    fired text[] NOT NULL,
    failed text[] NOT NULL,
    stopped text[] NOT NULL,
    correlated bigint[] NOT NULL,
    refused text,
    at timestamptz NOT NULL
);
CREATE INDEX event_at ON event USING brin (at);

CREATE TABLE firing (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_key bytea NOT NULL,
    tenant text NOT NULL,
    rule text NOT NULL,
    rule_version integer NOT NULL,
    event_source text NOT NULL,
    event_id text NOT NULL,
    event_type text NOT NULL,
    pid bigint,
    result text NOT NULL CHECK (result IN ('fired', 'failed', 'stopped')),
    detail text,
    instructions text NOT NULL,
    duration_us integer NOT NULL,
    at timestamptz NOT NULL,
    UNIQUE (event_key, rule)
);
CREATE INDEX firing_rule ON firing (tenant, rule, id);
CREATE INDEX firing_at ON firing USING brin (at);
CREATE INDEX firing_failed ON firing (tenant, rule, id) WHERE result = 'failed';

CREATE TABLE outcome (
    command_id text PRIMARY KEY,
    pid bigint,
    refused text,
    at timestamptz NOT NULL
);
CREATE INDEX outcome_at ON outcome USING brin (at);

CREATE TABLE wait (
    pid bigint PRIMARY KEY,
    version integer NOT NULL,
    tenant text NOT NULL,
    type text NOT NULL,
    key text,
    suspended boolean NOT NULL DEFAULT false,
    wake text,
    at timestamptz NOT NULL
);
CREATE INDEX wait_type ON wait (tenant, type, key);
CREATE INDEX wait_key ON wait (tenant, key) WHERE key IS NOT NULL;
CREATE INDEX wait_at ON wait (at);
CREATE INDEX wait_ours ON wait (tenant, type) WHERE type LIKE 'kernel.%';
"""


def upgrade() -> None:
    op.execute(RUNTIME_TABLES)
    op.execute(TABLES)
