"""The services' databases and users on one server: each service owns its database and reaches no other."""

from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg

DATABASES = {
    "process-svc": "kernel_process",
    "resource-svc": "kernel_resource",
    "scheduler-svc": "kernel_scheduler",
    "rules-svc": "kernel_rules",
    "gateway": "kernel_gateway",
}


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def dsn_for(admin_dsn: str, *, database: str, user: str, password: str) -> str:
    """The same server, another database and user."""
    parts = urlsplit(admin_dsn)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{quote(user)}:{quote(password, safe='')}@{host}", path=f"/{database}"))


async def ensure_user(admin: asyncpg.Connection, user: str, password: str) -> None:
    found = await admin.fetchval("select 1 from pg_roles where rolname = $1", user)
    verb = "alter" if found else "create"
    await admin.execute(f"{verb} role {quoted(user)} login password {literal(password)}")


async def ensure_database(admin: asyncpg.Connection, name: str, owner: str) -> None:
    """Owned by `owner`, closed to every other user."""
    if not await admin.fetchval("select 1 from pg_database where datname = $1", name):
        if not await admin.fetchval("select rolsuper from pg_roles where rolname = current_user"):
            await admin.execute(f"grant {quoted(owner)} to current_user")
        await admin.execute(f"create database {quoted(name)} owner {quoted(owner)}")
    await admin.execute(f"revoke connect, temporary on database {quoted(name)} from public")


async def _logs_in(dsn: str) -> bool:
    try:
        await (await asyncpg.connect(dsn, timeout=5)).close()
    except (asyncpg.PostgresError, OSError):
        return False
    return True


async def ensure_all(admin_dsn: str, passwords: dict[str, str]) -> dict[str, str]:
    """Makes what is missing and returns each service's own DSN."""
    dsns = {
        service: dsn_for(admin_dsn, database=name, user=name, password=passwords[service])
        for service, name in DATABASES.items()
    }
    missing = [service for service, dsn in dsns.items() if not await _logs_in(dsn)]
    if missing:
        admin = await asyncpg.connect(admin_dsn)
        try:
            for service in missing:
                await ensure_user(admin, DATABASES[service], passwords[service])
                await ensure_database(admin, DATABASES[service], DATABASES[service])
        finally:
            await admin.close()
    return dsns
