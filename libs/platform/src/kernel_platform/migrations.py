"""Brings the services' databases to the head of their migrations, and does nothing quickly when they are there."""

import asyncio
import hashlib
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import asyncpg

from kernel_platform.home import Home, read_json, write_json
from kernel_platform.unit import tail


class MigrationFailedError(Exception):
    pass


async def migrate(home: Home, service: str, module: str, dsn: str) -> bool:
    """Runs `python -m module migrate` unless the same files were applied to this very database before. Whether it ran."""
    record = home.root / "migrated" / f"{service}.json"
    files = _fingerprint(module)
    before = await _state(dsn)
    if before["versions"] and read_json(record, None) == {"files": files, **before}:
        return False
    log = home.logs / f"{service}-migrate.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", module, "migrate"),
            env={**os.environ, "KERNEL_DATABASE_URL": dsn, "KERNEL_KAFKA_BOOTSTRAP": "127.0.0.1:9"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
    if code != 0:
        raise MigrationFailedError(f"{service}: the migration ended with {code}\n{tail(log)}")
    write_json(record, {"files": files, **await _state(dsn)})
    return True


def _fingerprint(module: str) -> str:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise MigrationFailedError(f"{module} is not installed")
    digest = hashlib.sha256()
    for path in sorted((Path(spec.origin).parent / "migrations").rglob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


async def _state(dsn: str) -> dict[str, Any]:
    """What tells this database from another, and what Alembic wrote into it."""
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        database = await connection.fetchval("select oid::text from pg_database where datname = current_database()")
        tables = await connection.fetch(
            "select quote_ident(n.nspname) || '.' || quote_ident(c.relname) as name from pg_class c"
            " join pg_namespace n on n.oid = c.relnamespace where c.relkind = 'r' and c.relname like 'alembic\\_version%'"
        )
        versions = [await connection.fetchval(f"select string_agg(version_num, ',') from {t['name']}") for t in tables]
        return {"database": database, "versions": [version for version in versions if version]}
    finally:
        await connection.close()
