"""The desk where workers wait: all claims that wait in this replica are served by one statement at a time.

A batch of this replica that dispatches what somebody waits for here hands it out by the very row that makes it claimable: that
costs no statement at all. Else a claim is looked at when it comes, after commits that made more than there was room for, and on
a slow round for what other replicas have dispatched. So idle workers cost one small query a round, however many they are;
whoever comes while a statement runs is in the next one.
"""

import asyncio
import contextlib
import itertools
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import asyncpg
import orjson
import structlog
from kernel_runtime.database import AGAIN, AWAY, Database, is_away
from kernel_runtime.problem import ProblemError, overloaded
from prometheus_client import Counter as Counted
from prometheus_client import Gauge

from process_svc.lines import FEW, MANY, Line, Waiter, fits
from process_svc.store import leases as store
from process_svc.store.leases import Asked, NewLease, Slot

log = structlog.get_logger()

WAITING = Gauge("kernel_work_waiting_claims", "Claims of automatic work that wait in this replica.")
HANDED_OUT = Counted("kernel_work_claimed_total", "Processes handed out to workers.")

ROUND = 0.05
"""Seconds between two looks for what other replicas have dispatched, while anybody waits."""
GROUPS = 200
"""Groups of claims in one statement."""
MOST_WAITING = 20_000


class Desk:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._lines: dict[Asked, Line] = {}
        self._by_service: defaultdict[tuple[str, str], dict[Asked, None]] = defaultdict(dict)
        self._hot: dict[Asked, None] = {}
        self._woken = asyncio.Event()
        self._numbers = itertools.count(1)
        self._turns = itertools.count()
        self._waiting = 0
        self._putting: set[asyncio.Task[None]] = set()
        self._closed = False

    async def claim(self, waiter: Waiter, wait: float, gone: Callable[[], Awaitable[object]]) -> list[dict[str, Any]]:
        """What there is for it, after `wait` seconds at most; empty then, and where this replica stops.

        `gone` ends when the client has gone away: what was taken for it meanwhile is put back. Raises ProblemError(429).
        """
        if self._closed:
            return []
        if self._waiting >= MOST_WAITING:
            raise ProblemError(overloaded(f"{MOST_WAITING:,} claims wait here already. Try again in a moment.", 2))
        self._enter(waiter)
        left = asyncio.ensure_future(gone())
        try:
            await asyncio.wait((waiter.answer, left), timeout=wait, return_when=asyncio.FIRST_COMPLETED)
            self._leave(waiter, unseen=left.done())
            rows = await asyncio.shield(waiter.answer)
        except asyncio.CancelledError:
            self._leave(waiter, unseen=True)
            waiter.answer.add_done_callback(self._put_back_later)
            raise
        finally:
            disconnected = left.done()
            left.cancel()
        if disconnected and rows:
            await self.put_back(rows)
            return []
        return [_item(row) for row in rows]

    def offer(self, services: Iterable[tuple[str, str]]) -> None:
        """There is something of these (tenant, service)."""
        for service in services:
            for asked in self._by_service.get(service, ()):
                self._hot[asked] = None
        if self._hot:
            self._woken.set()

    def reserve(self, new: Sequence[NewLease]) -> Mapping[int, Waiter]:
        """pid -> who gets it where the batch commits: those who wait in lines that were looked at and found empty."""
        taken: dict[int, Waiter] = {}
        lines: dict[Asked, deque[Waiter]] = {}
        given: Counter[Waiter] = Counter()
        for lease in sorted(new, key=lambda each: (-each.priority, each.at, each.pid)):
            for asked in self._by_service.get((lease.tenant, lease.service), ()):
                if asked in self._hot or not fits(asked, lease):
                    continue
                if asked not in lines:
                    line = self._lines[asked]
                    first = itertools.islice(line.waiters, len(new))
                    lines[asked] = deque(each for each in first if not each.serving and each not in line.leaving)
                if lines[asked]:
                    waiter = taken[lease.pid] = lines[asked].popleft()
                    given[waiter] += 1
                    if given[waiter] < waiter.max:
                        lines[asked].append(waiter)
                    break
        for waiter in given:
            waiter.serving = True
        return taken

    def free(self, takers: Iterable[Waiter]) -> None:
        """Of a batch that did not commit."""
        for waiter in takers:
            waiter.serving = False
            if not waiter.answer.done() and waiter in self._lines[waiter.asked].leaving:
                self._answer(waiter, [])

    def hand_over(self, taken: Mapping[Waiter, Sequence[Any]]) -> None:
        """Of a batch that has committed."""
        for waiter, rows in taken.items():
            waiter.serving = False
            HANDED_OUT.inc(len(rows))
            if waiter.answer.done():  # sent home meanwhile: the desk closes
                self._later(rows)
            else:
                self._answer(waiter, list(rows))

    async def run(self) -> None:
        """Forever. At the end all who wait go home with nothing, at once."""
        try:
            while True:
                if not self._hot:
                    await self._pause()
                serving = asyncio.ensure_future(self._serve())
                try:
                    await asyncio.shield(serving)
                except asyncio.CancelledError:
                    await asyncio.wait([serving], timeout=1)
                    raise
        finally:
            self._closed = True
            for waiter in [waiter for line in self._lines.values() for waiter in line.waiters]:
                self._answer(waiter, [])

    async def _pause(self) -> None:
        """Until something is there, or for a round where somebody waits; then everybody's claim is looked at."""
        self._woken.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ROUND if self._lines else None):
                await self._woken.wait()
                return
        self._hot.update(dict.fromkeys(self._lines))

    async def _serve(self) -> None:
        """One statement for those that may find something."""
        looked = list(itertools.islice(self._hot, GROUPS))
        for asked in looked:
            del self._hot[asked]
        groups = [(asked, self._lines[asked]) for asked in looked if asked in self._lines]
        if not groups:
            return
        slots: list[Slot] = []
        owners: dict[tuple[int, int], Waiter] = {}
        last = [next(reversed(line.waiters)).number for _, line in groups]
        for index, (_, line) in enumerate(groups):
            for place, waiter in enumerate(line.rooms(), 1):
                waiter.serving = True
                slots.append(Slot(index, place, waiter.worker, waiter.by, waiter.seconds))
                owners[index, place] = waiter
        rows = await self._claimed([asked for asked, _ in groups], slots) if slots else []
        HANDED_OUT.inc(len(rows))
        found: defaultdict[Waiter, list[Any]] = defaultdict(list)
        numbers = [0] * len(groups)
        for row in rows:
            found[owners[row["asked"], row["place"]]].append(row)
            numbers[row["asked"]] += 1
        for waiter in owners.values():
            waiter.serving = False
        for waiter, brought in found.items():
            self._answer(waiter, brought)
        for (asked, line), number, seen in zip(groups, numbers, last, strict=True):
            if number and line.waiters:
                self._hot[asked] = None
            if number < line.size:
                line.seen = seen
            line.size = min(max(FEW, 2 * number), MANY)
            for waiter in [each for each in line.leaving if each.number <= line.seen and not each.serving]:
                self._answer(waiter, [])

    async def _claimed(self, asked: list[Asked], slots: list[Slot]) -> list[Any]:
        """Nothing where the database is away."""
        try:
            async with self._database.connection() as connection:
                return await store.claim(connection, asked, slots, next(self._turns))
        except (*AWAY, *AGAIN) as error:
            if not (is_away(error) or isinstance(error, AGAIN)):
                raise
            log.warning("desk.database_away", error=str(error) or type(error).__name__)
            await asyncio.sleep(0.5)
            return []

    def _enter(self, waiter: Waiter) -> None:
        asked = waiter.asked
        line = self._lines.get(asked)
        if line is None:
            line = self._lines[asked] = Line()
            for service in asked.services:
                self._by_service[asked.tenant, service][asked] = None
        waiter.number = next(self._numbers)
        line.waiters[waiter] = None
        self._waiting += 1
        WAITING.set(self._waiting)
        self._hot[asked] = None
        self._woken.set()

    def _leave(self, waiter: Waiter, *, unseen: bool) -> None:
        """Once it was looked at, at least; `unseen`: in any case. What the statement that runs brings, it takes along."""
        if waiter.answer.done():
            return
        line = self._lines[waiter.asked]
        if waiter.serving or (waiter.number > line.seen and not unseen):
            line.leaving.add(waiter)
            if unseen:
                waiter.number = 0
        else:
            self._answer(waiter, [])

    def _answer(self, waiter: Waiter, rows: list[Any]) -> None:
        asked, line = waiter.asked, self._lines[waiter.asked]
        del line.waiters[waiter]
        line.leaving.discard(waiter)
        self._waiting -= 1
        WAITING.set(self._waiting)
        if not line.waiters:
            del self._lines[asked]
            for service in asked.services:
                groups = self._by_service[asked.tenant, service]
                groups.pop(asked, None)
                if not groups:
                    del self._by_service[asked.tenant, service]
        if not waiter.answer.done():
            waiter.answer.set_result(rows)

    def _put_back_later(self, answer: asyncio.Future[list[Any]]) -> None:
        if rows := answer.result():
            self._later(rows)

    def _later(self, rows: Collection[Any]) -> None:
        task = asyncio.ensure_future(self.put_back(rows))
        self._putting.add(task)
        task.add_done_callback(self._putting.discard)

    async def put_back(self, rows: Collection[Any]) -> None:
        """Where that fails their leases lapse."""
        with contextlib.suppress(*AWAY, asyncpg.PostgresError):
            async with self._database.connection() as connection:
                await store.give_back(connection, [(row["pid"], row["token"]) for row in rows])
            self._hot.update(dict.fromkeys(self._lines))
            self._woken.set()


def _item(row: Any) -> dict[str, Any]:
    """As the public face has it; give it to orjson."""
    entity = None if row["entity_type"] is None else {"type": row["entity_type"], "id": row["entity_id"]}
    return {
        "pid": row["pid"],
        "token": row["token"],
        "service": row["service"],
        "service_version": row["service_version"],
        "entity": entity,
        "context": orjson.Fragment(row["context"]),
        "attempt": row["attempt"],
        "priority": row["priority"],
        "operator": row["operator"],
        "due": row["due"],
        "lease": row["seconds"],
        "lease_until": row["until"],
    }
