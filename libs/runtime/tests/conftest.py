"""What the runtime's tests share: a migrated database, and the small service of counter_service.py."""

import os
import sys
from pathlib import Path

import asyncpg
import pytest_asyncio
from kernel_testing.plugin import NewDatabase

sys.path.insert(0, str(Path(__file__).parent))

import counter_service
from kernel_runtime import logs
from kernel_runtime.schema import RUNTIME_TABLES

logs.configure("tests", 0, os.environ.get("KERNEL_LOG_LEVEL", "WARNING"))


@pytest_asyncio.fixture
async def dsn(new_database: NewDatabase) -> str:
    """A database with the runtime's tables and the counters."""
    url = await new_database(None)
    connection = await asyncpg.connect(url)
    await connection.execute(RUNTIME_TABLES + counter_service.TABLES)
    await connection.close()
    return url
