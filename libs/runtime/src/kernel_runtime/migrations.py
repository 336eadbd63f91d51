"""Alembic without its files: the environment that every service's `migrations/versions` runs in.

`python -m SERVICE migrate` calls `migrate`. Several at once wait for each other. Imported only there: SQLAlchemy and Alembic
stay out of serving processes.
"""

import asyncio
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.util import await_only

_LOCK = 7_077_001


def migrate(url: str, versions: Path) -> str:
    """Brings the database to the newest revision in `versions`; returns that revision. Nothing to do is quick."""
    return asyncio.run(_migrate(url, versions))


async def _migrate(url: str, versions: Path) -> str:
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://", 1), poolclass=sa.NullPool)
    sa.event.listen(engine.sync_engine, "do_execute", _as_script)
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(_upgrade, versions)
    finally:
        await engine.dispose()


def _as_script(cursor: Any, statement: str, parameters: Any, _: object) -> bool:
    """Lets `op.execute` take several statements at once: asyncpg prepares, and prepares one only."""
    if parameters or ";" not in statement.rstrip().rstrip(";"):
        return False
    adapted = cursor._adapt_connection
    if adapted._transaction is None:
        await_only(adapted._start_transaction())
    await_only(adapted.driver_connection.execute(statement))
    return True


def _upgrade(connection: sa.Connection, versions: Path) -> str:
    connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
    config = Config()
    config.set_main_option("script_location", str(versions.parent))
    config.set_main_option("path_separator", "os")
    script = ScriptDirectory.from_config(config)
    head = script.get_current_head()
    if head is None:
        raise RuntimeError(f"there are no migrations in {versions}")
    if MigrationContext.configure(connection).get_current_revision() == head:
        return head

    def steps(revision: str, _: object) -> object:
        return script._upgrade_revs("head", revision)

    with EnvironmentContext(config, script, fn=steps) as environment:
        environment.configure(connection=connection, transaction_per_migration=False)
        environment.run_migrations()
    return head
