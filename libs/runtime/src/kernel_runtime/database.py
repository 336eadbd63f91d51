"""The pool of connections to the service's own Postgres, and how a transaction of ours ends."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import asyncpg
import structlog

log = structlog.get_logger()

Connection: TypeAlias = asyncpg.pool.PoolConnectionProxy

AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.PostgresSystemError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InternalClientError,  # its pool or protocol, when a connection goes at the wrong moment
    TimeoutError,
    OSError,
)
"""Postgres could not be reached, went away or is in trouble. Ask `is_away`: InterfaceError is raised for wrong values too."""

AGAIN = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError, asyncpg.InvalidCachedStatementError)
"""The transaction lost against another: the same again, from the start."""


def is_away(error: BaseException) -> bool:
    """Whether nothing is wrong with the work, so that trying again is right."""
    if isinstance(error, asyncpg.InterfaceError):
        return not isinstance(error, ValueError) and not str(error).startswith("the server expects ")
    return isinstance(error, AWAY)


class UnknownOutcomeError(Exception):
    """The connection broke while it committed, and Postgres could not be asked what became of it."""


class TransactionId:
    """The id of one transaction, where the block has asked for it with another question: it saves asking again."""

    value: int | None = None
    """0 where nothing was written."""


class Database:
    """A pool. Sessions wait at most `lock_timeout` for a row, and never sit in a transaction longer than a lease lasts.

    Connections come back to the pool as they are (no RESET, it would cost a round trip): SET LOCAL only.
    """

    def __init__(self, url: str, *, name: str, max_size: int = 6) -> None:
        self._url = url
        self._name = name
        self._max_size = max_size
        self._pool: asyncpg.Pool | None = None

    async def open(self) -> None:
        """Connects; waits for a Postgres that is not up yet."""
        delay = 0.1
        while True:
            try:
                pool = await asyncpg.create_pool(
                    self._url,
                    min_size=0,  # with more, the pool connects by itself, and sometimes where an acquire does so too
                    max_size=self._max_size,
                    timeout=5,
                    command_timeout=30,
                    max_inactive_connection_lifetime=600,
                    max_queries=0x7FFFFFFF,
                    reset=_as_it_is,
                    server_settings=self._session(),
                )
                async with pool.acquire(timeout=5):
                    self._pool = pool
                return
            except AWAY as error:
                log.warning("database.away", error=str(error) or type(error).__name__)
                await asyncio.sleep(delay)
                delay = min(delay * 2, 2.0)

    def _session(self, **more: str) -> dict[str, str]:
        return {
            "application_name": self._name,
            "idle_in_transaction_session_timeout": "4000",
            "lock_timeout": "10000",
            "jit": "off",
            "plan_cache_mode": "force_generic_plan",
            **more,
        }

    async def close(self) -> None:
        if self._pool is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._pool.close(), 3)

    @property
    def pool(self) -> asyncpg.Pool:
        if self._pool is None:
            raise RuntimeError("the database was not opened")
        return self._pool

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """One connection, outside a transaction: for reads and single statements."""
        async with self.pool.acquire(timeout=5) as connection:
            try:
                yield connection
            except asyncpg.InternalClientError:
                _terminate(connection)
                raise

    @contextlib.asynccontextmanager
    async def own_connection(self, **session: str) -> AsyncIterator[asyncpg.Connection]:
        """One outside the pool, with session settings of its own."""
        connection = await asyncpg.connect(
            self._url, timeout=5, command_timeout=30, server_settings=self._session(**session)
        )
        try:
            yield connection
        finally:
            connection.terminate()

    @contextlib.asynccontextmanager
    async def transaction(self, identity: TransactionId | None = None) -> AsyncIterator[Connection]:
        """Commits at the end of the block. Raises UnknownOutcomeError where not even Postgres can say whether it did.

        A commit whose answer was cut off is looked up by its transaction id (`pg_xact_status`), so the caller learns the
        truth: a normal end, or the connection's error where nothing was committed.
        """
        connection = await self.pool.acquire(timeout=5)
        transaction = connection.transaction()
        xid: int | None = None
        try:
            try:
                await transaction.start()
            except asyncpg.InternalClientError:
                _terminate(connection)
                raise
            try:
                yield connection
                xid = identity.value if identity is not None else None
                if xid is None:
                    xid = await connection.fetchval("SELECT pg_current_xact_id_if_assigned()::text::bigint")
            except BaseException:
                await _shielded(_roll_back(transaction, connection))
                raise
            try:
                await _shielded(transaction.commit())
            except AWAY:
                _terminate(connection)
                if xid and not await self._committed(xid):
                    raise
        finally:
            await _shielded(self._give_back(connection))

    async def _give_back(self, connection: Connection) -> None:
        """What can't be used again is terminated by the pool itself."""
        with contextlib.suppress(*AWAY, asyncpg.PostgresError):
            await self.pool.release(connection, timeout=2)

    async def _committed(self, xid: int) -> bool:
        for attempt in range(60):
            try:
                async with self.pool.acquire(timeout=2) as connection:
                    status = await connection.fetchval("SELECT pg_xact_status($1::text::xid8)", str(xid))
                if status in ("committed", "aborted"):
                    log.warning("database.outcome_resolved", xid=xid, status=status)
                    return bool(status == "committed")
                if status is None:
                    break
            except AWAY:
                pass
            await asyncio.sleep(min(0.05 * 2**attempt, 0.5))
        raise UnknownOutcomeError(f"the outcome of transaction {xid} is not known")


async def _as_it_is(_: asyncpg.Connection) -> None:
    """asyncpg has rolled back what was open; there is nothing else to clear."""


async def _roll_back(transaction: Any, connection: Connection) -> None:
    try:
        await asyncio.wait_for(transaction.rollback(), 2)
    except (*AWAY, asyncpg.PostgresError):
        _terminate(connection)


def _terminate(connection: Connection) -> None:
    """One that was lost may be back in the pool already; one whose protocol is out of step must not get there."""
    with contextlib.suppress(asyncpg.InterfaceError):
        connection.terminate()


async def _shielded(work: Any) -> None:
    """Finishes `work` even where the task is cancelled meanwhile; then the cancellation goes on."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=5)
        if task.done() and not task.cancelled() and task.exception() is not None:
            log.info("database.ended_badly", error=repr(task.exception()))
        raise
