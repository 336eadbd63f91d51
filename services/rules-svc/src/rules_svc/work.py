"""What one batch works on: the book, the events seen before, the waits that it touches; and what it has to save."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import orjson
import structlog
from kernel_contracts import message_types as types
from kernel_contracts.envelope import MAX_DEPTH
from kernel_contracts.vocabulary import DefinitionKind, Meets
from kernel_runtime.command import Command, Message
from kernel_runtime.database import Connection
from kernel_runtime.problem import Problem
from prometheus_client import Counter

from rules_svc import wire
from rules_svc.book import Definition, Memory
from rules_svc.domain.evaluation import evaluate
from rules_svc.domain.model import Do, Firing, FiringResult
from rules_svc.domain.waits import Call
from rules_svc.failures import FailureLimit
from rules_svc.meeting import Meetings
from rules_svc.received import Received
from rules_svc.store import batch as store
from rules_svc.store.batch import EventRow, FiringRow, OutcomeRow
from rules_svc.store.meetings import Target

log = structlog.get_logger()

FIRINGS = Counter("kernel_rule_firings_total", "Firings by rule and result.", ("tenant", "rule", "result"))

DEFINING = frozenset({"define", "undefine", "apply"})


@dataclass(frozen=True, slots=True)
class Terms:
    """What an event is matched by, how long it is kept for who waits later, and whom it meets."""

    key: str | None
    ttl: timedelta = timedelta(0)
    meets: Meets = Meets.ALL


@dataclass(frozen=True, slots=True)
class Further:
    """A call that has not reached everybody goes on."""

    id: int
    tenant: str
    type: str | None


@dataclass(slots=True)
class Draft:
    """An event of this batch, on its way to become a row. `kept`: even where nothing came of it."""

    received: Received
    at: datetime
    kept: bool
    refused: str | None = None
    fired: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    correlated: list[int] = field(default_factory=list)
    call: Call | None = None
    until: datetime | None = None

    @property
    def matters(self) -> bool:
        return self.kept or bool(self.fired or self.failed or self.stopped or self.correlated)


class RuleWork:
    """Made for each batch. Handlers read `book`, `seen`, `meetings.waits`, and change it by `take`, `define`, `meetings`."""

    def __init__(self, memory: Memory, limit: FailureLimit) -> None:
        self.meetings = Meetings()
        self.messages: list[Message] = self.meetings.messages
        self.memory = memory
        self.book = memory.book
        self.seen: dict[bytes, tuple[list[str], str | None]] = {}
        self._limit = limit
        self._changes: list[Definition] = []
        self._drafts: list[Draft] = []
        self._firings: list[FiringRow] = []
        self._outcomes: list[OutcomeRow] = []
        self._arrived: set[int] = set()
        self._now: datetime | None = None

    async def load(self, connection: Connection, commands: Sequence[Command]) -> None:
        defining = any(command.name in DEFINING for command in commands)
        keys: list[bytes] = []
        pids: set[int] = set()
        events: set[Target] = set()
        waits: set[Target] = set()
        spreads: list[int] = []
        for command in commands:
            body = command.body
            if command.name == "publish":
                keys += [received.key for received in body]
                events.update((received.event.tenant, received.event.type) for received in body)
            elif isinstance(body, Received):
                keys.append(body.key)
                if command.name == "business":
                    events.add((body.event.tenant, body.event.type))
            elif isinstance(body, Further):
                spreads.append(body.id)
                if body.type is not None:
                    waits.add((body.tenant, body.type))
            elif isinstance(body, wire.ProcessNews):
                if body.received is not None:
                    keys.append(body.received.key)
                if body.pid is not None and touches_wait(body, self.memory):
                    pids.add(body.pid)
                    if body.type == types.PROCESS_WAITING:
                        self._arrived.add(body.pid)
                        if (target := wire.awaited(body)) is not None:
                            waits.add((body.tenant, target[0]))
        await self.meetings.load(connection, events, waits, sorted(pids), spreads)
        version = self.book.version
        if keys:
            version, self.seen = await store.known_events(connection, keys)
        if defining or version != self.book.version:
            self.book = await store.read_book(connection, self.book, lock=defining)
            self.memory.learn(self.book)

    def take(self, received: Received, terms: Terms, now: datetime, *, kept: bool) -> Draft:
        """Evaluates the rules for an event that was not seen before, and notes what follows."""
        started = time.perf_counter()
        event = received.event
        rules = self.book.index.for_type(event.tenant, event.type)
        firings = evaluate(rules, event, received.facts(now).bind, max_depth=MAX_DEPTH) if rules else []
        micros = min(int((time.perf_counter() - started) * 1e6), 2**31 - 1)
        draft = Draft(received, now, kept)
        for firing in firings:
            self._note(firing, draft, micros, now)
        self._drafts.append(draft)
        if event.depth < MAX_DEPTH and (kept or (event.tenant, event.type) in self.memory.awaited):
            call = Call(event.tenant, event.type, terms.key, wire.wake(received), terms.meets)
            self.meetings.call(call, draft.correlated, received.key)
            if terms.ttl:
                draft.call, draft.until = call, now + terms.ttl
        self.seen[received.key] = (draft.fired, None)
        return draft

    def _note(self, firing: Firing, draft: Draft, micros: int, now: datetime) -> None:
        received, rule, detail = draft.received, firing.rule, firing.detail
        FIRINGS.labels(rule.tenant, rule.name, firing.result.value).inc()
        if firing.result is FiringResult.FAILED:
            kept, missed = self._limit.keeps(rule.tenant, rule.name, now)
            if not kept:
                return
            if missed:
                detail = f"{detail} (and {missed} more failures before, not kept)"
        instructions: list[dict[str, Any]] = []
        for action in firing.actions:
            id = None
            if action.do is Do.SIGNAL:
                woken = wire.wake(received, action.arguments.get("data"))
                call = Call(rule.tenant, None, action.arguments["key"], woken)
                self.meetings.call(call, draft.correlated, received.key)
            else:
                id = wire.effect_id(firing, action, received)
                self.messages.append(wire.effect(firing, action, received, id, now))
            instructions.append(wire.told(action, id))
        {
            FiringResult.FIRED: draft.fired,
            FiringResult.FAILED: draft.failed,
            FiringResult.STOPPED: draft.stopped,
        }[firing.result].append(rule.name)
        if firing.result is FiringResult.STOPPED:
            log.error(
                "rules.chain_stopped", rule=rule.name, tenant=rule.tenant, caused_by=received.event.id, detail=detail
            )
        self.messages.append(wire.rule_fired(firing, instructions, received, now))
        event = received.event
        self._firings.append(
            FiringRow(
                received.key, event.tenant, rule.name, rule.version, event.source, event.id, event.type, event.pid,
                firing.result.value, detail, orjson.dumps(instructions).decode(), micros, now,
            )
        )  # fmt: skip

    def refuse_event(self, received: Received, problem: Problem, now: datetime) -> None:
        """An event from Kafka that was refused: kept, so that its sender can ask."""
        text = problem.as_json().decode()
        self.seen[received.key] = ([], text)
        self._drafts.append(Draft(received, now, kept=True, refused=text))

    def refuse(self, command: Command, problem: Problem, now: datetime) -> None:
        if isinstance(command.body, Received):
            self.refuse_event(command.body, problem, now)

    def define(self, *rows: Definition) -> None:
        """New versions of definitions; later commands of the batch see them."""
        version = self.book.version if self._changes else self.book.version + 1
        self._changes += rows
        self.book = self.book.changed(rows, version)
        self.messages += [wire.rule_published(row) for row in rows if row.kind is DefinitionKind.RULE]

    def outcome(self, command_id: str, pid: int | None, refused: str | None, now: datetime) -> None:
        self._outcomes.append(OutcomeRow(command_id, pid, refused, now))

    def conclude(self, now: datetime) -> None:
        self._now = now

    async def save(self, connection: Connection) -> None:
        if self._changes:
            await store.save_definitions(connection, self._changes, self.book.version)
        assert self._now is not None
        await self.meetings.meet(connection, self._now)
        if self._firings:
            await store.add_firings(connection, self._firings)
        if self._outcomes:
            await store.add_outcomes(connection, self._outcomes)
        rows = [_row(draft) for draft in self._drafts if draft.matters]
        if rows:
            await store.add_events(connection, rows)
        await self.meetings.find_kept(connection, self._now)
        await self.meetings.leave(connection)

    def committed(self) -> None:
        self.memory.learn(self.book)
        self.memory.waiting.update(self.meetings.touched)
        self.memory.arriving -= self._arrived
        self.memory.waiting.difference_update(self.meetings.gone)
        if self.meetings.left:
            self.memory.further.set()
        for pid in self.meetings.touched:
            wait = self.meetings.waits[pid]
            if wait.type.startswith("kernel."):
                self.memory.awaited.add((wait.tenant, wait.type))

    def abandoned(self) -> None:
        """Nothing was kept in memory."""


def touches_wait(news: wire.ProcessNews, memory: Memory) -> bool:
    """Whether the event can begin, change or end a wait for an event."""
    return news.body is not None and (news.type == types.PROCESS_WAITING or memory.may_wait(news.pid))


def _row(draft: Draft) -> EventRow:
    event = draft.received.event
    return EventRow(
        draft.received.key, event.tenant, event.source, event.id, event.type, draft.fired, draft.failed,
        draft.stopped, sorted(draft.correlated), draft.refused, draft.at, *_kept(draft),
    )  # fmt: skip


def _kept(draft: Draft) -> tuple[str | None, str, datetime | None, str | None, bool]:
    """Correlation, mode, until when, what it wakes with, and whether it has met whom it was for."""
    call = draft.call
    if call is None:
        return None, Meets.ALL, None, None, False
    return call.key, call.meets, draft.until, call.wake, bool(draft.correlated) and call.meets is not Meets.ALL
