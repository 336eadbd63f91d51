"""Arrivals by the hour, for forecasts.

Revision ID: 0003
"""

from alembic import op

revision = "0003"
down_revision = "0002"

TABLES = """
CREATE TABLE service_hour (
    tenant text NOT NULL,
    service text NOT NULL,
    hour bigint NOT NULL,
    arrivals bigint NOT NULL,
    PRIMARY KEY (tenant, service, hour)
) WITH (fillfactor = 70);
COMMENT ON TABLE service_hour IS 'Processes that became READY for the first time, by service and hour since 1970 (UTC).';
CREATE INDEX service_hour_hour ON service_hour (hour);
"""


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    raise RuntimeError("migrations only go forward")
