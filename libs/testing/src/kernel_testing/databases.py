"""Databases for tests: a template a service, migrated once; a clone of it a test."""

import asyncio
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from kernel_platform.databases import DATABASES, dsn_for, ensure_database, ensure_user, quoted

from kernel_testing import infra

PASSWORD = "test"
EMPTY = "kernel_test_empty"


@asynccontextmanager
async def admin(server: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(server)
    try:
        yield connection
    finally:
        await connection.close()


def owner_of(module: str | None) -> str:
    """The user that a service's databases belong to; not the one of an installation on the same server."""
    return DATABASES.get((module or "").replace("_", "-"), "kernel") + "_test"


async def make_template(server: str, module: str | None) -> str:
    """The name of the service's template; the first process of the session to ask makes it."""
    name = f"kernel_template_{os.environ['KERNEL_TEST_SESSION']}_{module or 'empty'}"
    await asyncio.to_thread(_make_template, server, module, name)
    return name


def _make_template(server: str, module: str | None, name: str) -> None:
    with infra.locked(name):
        done = infra.home() / f"{name}.done"
        if not done.exists():
            asyncio.run(_migrate_into(server, module, name))
            done.touch()


async def _migrate_into(server: str, module: str | None, name: str) -> None:
    owner = owner_of(module)
    async with admin(server) as connection:
        await ensure_user(connection, owner, PASSWORD)
        await ensure_database(connection, name, owner)
        if module is not None:
            dsn = dsn_for(server, database=name, user=owner, password=PASSWORD)
            await asyncio.to_thread(_migrate, module, dsn)
        await connection.execute(f"alter database {quoted(name)} with is_template true allow_connections false")


def _migrate(module: str, dsn: str) -> None:
    migrated = subprocess.run(
        [sys.executable, "-m", module, "migrate"],
        env={**os.environ, "KERNEL_DATABASE_URL": dsn, "KERNEL_KAFKA_BOOTSTRAP": "127.0.0.1:9"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if migrated.returncode != 0:
        raise RuntimeError(f"{module} migrate failed:\n{migrated.stdout[-2000:]}{migrated.stderr[-4000:]}")


async def clone(server: str, template: str, module: str | None) -> str:
    """A fresh database with what the template has; its DSN, as the service's own user."""
    owner = owner_of(module)
    name = f"{template.removeprefix('kernel_template_')}_{secrets.token_hex(4)}"
    async with admin(server) as connection:
        await connection.execute(f"create database {quoted(name)} template {quoted(template)} owner {quoted(owner)}")
    return dsn_for(server, database=name, user=owner, password=PASSWORD)


async def drop(server: str, name: str) -> None:
    async with admin(server) as connection:
        await connection.execute(f"drop database if exists {quoted(name)} with (force)")


async def drop_templates(server: str) -> None:
    """On a configured server, which outlives the session."""
    async with admin(server) as connection:
        prefix = f"kernel_template_{os.environ['KERNEL_TEST_SESSION']}_"
        for row in await connection.fetch("select datname from pg_database where starts_with(datname, $1)", prefix):
            await connection.execute(f"alter database {quoted(row['datname'])} with is_template false")
            await connection.execute(f"drop database {quoted(row['datname'])}")
