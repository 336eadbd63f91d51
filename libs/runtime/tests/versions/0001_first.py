"""The counters."""

import counter_service
from alembic import op
from kernel_runtime.schema import RUNTIME_TABLES

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(RUNTIME_TABLES)
    op.execute(counter_service.TABLES)
