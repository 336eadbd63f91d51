"""The gateway's own tables: tickets for the stream. Only a ticket's hash is kept."""

import hashlib
import secrets
from datetime import datetime

import asyncpg
import orjson
from kernel_runtime.database import Database

from gateway.auth.principal import Principal

TICKET_SECONDS = 30

_ISSUE = """
WITH gone AS (DELETE FROM ticket WHERE expires_at < clock_timestamp())
INSERT INTO ticket (hash, principal, expires_at)
VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3)) RETURNING expires_at
"""
_REDEEM = "DELETE FROM ticket WHERE hash = $1 RETURNING principal, expires_at > clock_timestamp() AS valid"


async def issue_ticket(database: Database, principal: Principal) -> tuple[str, datetime]:
    """A new ticket and when it ends."""
    ticket = secrets.token_urlsafe(32)
    async with database.connection() as connection:
        expires = await connection.fetchval(
            _ISSUE, _hash(ticket), orjson.dumps(principal.dump()).decode(), TICKET_SECONDS
        )
    assert isinstance(expires, datetime)
    return ticket, expires


async def redeem_ticket(database: Database, ticket: str) -> Principal | None:
    """Whose it is, once: the same ticket again gives None, on every replica."""
    async with database.connection() as connection:
        row: asyncpg.Record | None = await connection.fetchrow(_REDEEM, _hash(ticket))
    if row is None or not row["valid"]:
        return None
    return Principal.load(orjson.loads(row["principal"]))


def _hash(ticket: str) -> bytes:
    return hashlib.sha256(ticket.encode()).digest()
