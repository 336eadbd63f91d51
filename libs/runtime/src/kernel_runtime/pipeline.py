"""The pipeline: every command of a service takes this way, whether it came over HTTP or from Kafka.

What queued up is one batch: drop what was done already, load what they touch, decide in memory and in order, save in bulk,
commit; then callers are answered, and the relay publishes. A batch never waits to fill. A refusal never spoils its batch; a
command that breaks the batch is found by halving it.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import structlog

from kernel_runtime import database, inbox, metrics, outbox
from kernel_runtime.command import Answer, Command, Message, Result
from kernel_runtime.database import AGAIN, Connection, Database, TransactionId, UnknownOutcomeError
from kernel_runtime.lease import LeaseLostError
from kernel_runtime.problem import Problem, overloaded, unavailable

log = structlog.get_logger()


class Work(Protocol):
    """What one batch works on; made anew for each try."""

    messages: list[Message]

    async def load(self, connection: Connection, commands: Sequence[Command]) -> None:
        """Reads, and locks in id order, all that these commands touch."""

    def conclude(self, now: datetime) -> None:
        """Once, after the last command was decided: what follows from the batch as a whole."""

    def refuse(self, command: Command, problem: Problem, now: datetime) -> None:
        """A command that came from Kafka was refused: says so in a message, where anybody would want to know."""

    async def save(self, connection: Connection) -> None:
        """Writes rows and journal in bulk. The pipeline writes `messages` and the inbox."""

    def committed(self) -> None:
        """The transaction is durable: what is kept in memory may follow."""

    def abandoned(self) -> None:
        """The transaction did not happen: what is kept in memory must not."""


Handler = Callable[[Any, Command, datetime], Result]
"""Decides one command on the loaded work: `handler(work, command, now)`. Changes the work only when it can't fail any more."""

Outcome = Result | Exception
"""An exception only for what came from Kafka: it could not be carried out."""

TRIES = 8


class BehindError(Exception):
    """An earlier command of the same key broke; this one was not tried."""


@dataclass(slots=True, eq=False)
class _Item:
    """What came together is answered together."""

    commands: Sequence[Command]
    future: asyncio.Future[list[Outcome]]


class Pipeline:
    """One lane: one transaction at a time, up to `batch_size` commands each.

    Results of `submit` come after the commit. Over `queue_size` waiting commands: 429 at once. Postgres away: 503 for HTTP
    callers; what came from Kafka waits and is tried again.
    """

    def __init__(
        self,
        database: Database,
        begin: Callable[[], Work],
        handlers: Mapping[str, Handler],
        *,
        committed: Callable[[], None],
        batch_size: int = 500,
        queue_size: int = 5_000,
    ) -> None:
        self._database = database
        self._begin = begin
        self._handlers = handlers
        self._committed = committed
        self._batch_size = batch_size
        self._queue_size = queue_size
        self._queue: deque[_Item] = deque()
        self._arrived = asyncio.Event()
        self._in_hand = 0
        self.blocked: str | None = None
        """Set by health checks: why nothing new is taken over HTTP."""

    @property
    def busy(self) -> bool:
        """Whether anything is carried out or waits: who can wait lets it go first."""
        return self._in_hand > 0 or len(self._queue) > 0

    async def submit(self, command: Command) -> Result:
        """From HTTP: the command's result, or 429 or 503 where it was not taken."""
        if self.blocked is not None:
            return unavailable(self.blocked)
        if len(self._queue) >= self._queue_size:
            return overloaded("Too many commands wait to be carried out. Try again in a moment.")
        (result,) = await self._enqueue((command,))
        assert not isinstance(result, Exception)
        return result

    async def submit_all(self, commands: Sequence[Command]) -> list[Outcome]:
        """From Kafka, in order; an exception stands for a command that could not be carried out (see `is_away`)."""
        return await self._enqueue(commands) if commands else []

    def _enqueue(self, commands: Sequence[Command]) -> asyncio.Future[list[Outcome]]:
        future: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()
        self._queue.append(_Item(commands, future))
        self._arrived.set()
        return future

    async def run(self) -> None:
        """The lane; forever. Raises UnknownOutcomeError: only a fresh process knows what is true then."""
        batch: list[_Item] = []
        try:
            while True:
                batch = []
                if not self._queue:
                    self._arrived.clear()
                    await self._arrived.wait()
                weight = 0
                while self._queue and weight < self._batch_size:
                    item = self._queue.popleft()
                    batch.append(item)
                    weight += sum(command.weight for command in item.commands)
                metrics.QUEUE.set(len(self._queue))
                metrics.BATCH_SIZE.observe(weight)
                self._in_hand = weight
                await self._answer(batch)
                self._in_hand = 0
        finally:
            stopped = unavailable("The service is stopping. Try again; use the same Idempotency-Key.")
            for item in (*batch, *self._queue):
                _settle(item, [stopped if command.envelope is None else _Stopped() for command in item.commands])
            self._queue.clear()

    async def _answer(self, batch: Sequence[_Item]) -> None:
        commands = batch[0].commands if len(batch) == 1 else [each for item in batch for each in item.commands]
        results: dict[Command, Outcome] = {}
        unknown: UnknownOutcomeError | None = None
        try:
            await self._carry_out_all(commands, results, set())
        except Exception as error:
            unknown = error if isinstance(error, UnknownOutcomeError) else None
            for command in commands:
                if command not in results:
                    results[command] = _failed(command, error)
        count(commands, results)
        for item in batch:
            _settle(item, [results[command] for command in item.commands])
        if unknown is not None:
            raise unknown

    async def _carry_out_all(
        self, commands: Sequence[Command], results: dict[Command, Outcome], broken: set[tuple[str, bytes]]
    ) -> None:
        """Fills `results`. Halves what breaks, until the command that does it is alone; raises where Postgres is away."""
        if broken:
            for command in commands:
                if command.key in broken:
                    results[command] = BehindError(f"an earlier message of the key {command.key} broke")
            commands = [command for command in commands if command not in results]
        if not commands:
            return
        try:
            results.update(await self._carry_out(commands))
            self._committed()
        except Exception as error:
            if is_away(error):
                raise
            if len(commands) == 1:
                results[commands[0]] = _failed(commands[0], error)
                if commands[0].key is not None:
                    broken.add(commands[0].key)
                return
            log.warning("pipeline.halved", commands=len(commands), error=repr(error))
            middle = len(commands) // 2
            await self._carry_out_all(commands[:middle], results, broken)
            await self._carry_out_all(commands[middle:], results, broken)

    async def _carry_out(self, commands: Sequence[Command]) -> dict[Command, Result]:
        for attempt in range(TRIES):
            work = self._begin()
            try:
                results = await self._transaction(work, commands)
            except (*AGAIN, inbox.AlreadyDoneError) as error:
                work.abandoned()
                if attempt == TRIES - 1:
                    raise
                log.info("pipeline.again", error=type(error).__name__)
                await asyncio.sleep(0.01 * attempt)
            except BaseException:
                work.abandoned()
                raise
            else:
                work.committed()
                return results
        raise AssertionError("unreachable")

    async def _transaction(self, work: Work, commands: Sequence[Command]) -> dict[Command, Result]:
        clock = _Clock()
        results: dict[Command, Result] = {}
        identity = TransactionId()
        async with self._database.transaction(identity) as connection:
            known = await inbox.look_up(connection, commands)
            fresh: list[Command] = []
            taken: dict[str, Command] = {}
            twins: list[tuple[Command, Command]] = []
            for command in commands:
                if command.fingerprint is None:
                    fresh.append(command)
                elif (result := known.get(command.id)) is not None:
                    results[command] = result
                elif (first := taken.get(command.id)) is not None:
                    twins.append((command, first))
                else:
                    taken[command.id] = command
                    fresh.append(command)
            clock.stage("inbox")
            if not fresh:
                identity.value = 0
                return _with_twins(results, twins)
            await work.load(connection, fresh)
            now, identity.value = await connection.fetchrow(
                "SELECT clock_timestamp(), pg_current_xact_id()::text::bigint"
            )
            clock.stage("load")
            decided: dict[Command, Result] = {}
            for command in fresh:
                result = self._handlers[command.name](work, command, now)
                if isinstance(result, Problem) and command.envelope is not None:
                    work.refuse(command, result, now)
                decided[command] = result
            work.conclude(now)
            clock.stage("decide")
            await work.save(connection)
            await inbox.remember(connection, decided)
            await outbox.add(connection, work.messages)
            clock.stage("save")
        clock.stage("commit")
        results.update(decided)
        return _with_twins(results, twins)


_STAGES = {name: metrics.STAGE_SECONDS.labels(name) for name in ("inbox", "load", "decide", "save", "commit")}


class _Clock:
    def __init__(self) -> None:
        self._at = time.perf_counter()

    def stage(self, name: str) -> None:
        now = time.perf_counter()
        _STAGES[name].observe(now - self._at)
        self._at = now


def _with_twins(results: dict[Command, Result], twins: Sequence[tuple[Command, Command]]) -> dict[Command, Result]:
    for command, first in twins:
        same = command.fingerprint == first.fingerprint
        results[command] = results[first] if same else inbox.reused(command)
    return results


class _Stopped(LeaseLostError):
    """The lane has ended; whoever asks again asks the next process."""


def is_away(error: BaseException) -> bool:
    """Whether `error` says that Postgres or a lease is away, and nothing of the command: trying again is right."""
    return isinstance(error, (UnknownOutcomeError, LeaseLostError)) or database.is_away(error)


def count(commands: Sequence[Command], results: Mapping[Command, Outcome]) -> None:
    """Into the metrics, by name and kind of result."""
    kinds = Counter((command.name, _KIND.get(type(results[command]), "failed")) for command in commands)
    for (name, kind), number in kinds.items():
        metrics.COMMANDS.labels(name, kind).inc(number)


_KIND: Mapping[type, str] = {Answer: "done", Problem: "refused"}


def _failed(command: Command, error: Exception) -> Outcome:
    if isinstance(error, UnknownOutcomeError):
        failure = unavailable(
            "The database went away while it saved; whether it did is not known. Ask again with the same Idempotency-Key."
        )
    elif isinstance(error, (LeaseLostError, inbox.AlreadyDoneError, *AGAIN)):
        failure = unavailable("Another replica was faster. Nothing was done. Try again.")
    elif is_away(error):
        log.warning("pipeline.database_away", command=command.name, error=str(error) or type(error).__name__)
        failure = unavailable("The database is away. Nothing was done. Try again; use the same Idempotency-Key.")
    else:
        log.error("pipeline.broken", command=command.name, id=command.id, exc_info=error)
        failure = Problem(500, "Internal error", "This is a defect of ours; it was logged. Nothing was done.")
    return failure if command.envelope is None else error


def _settle(item: _Item, results: list[Outcome]) -> None:
    if not item.future.done():
        item.future.set_result(results)
