"""Random commands on random families, with replicas that die in between: state, history and snapshots are those of the model."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_runtime.problem import Problem
from process_svc.handlers.bodies import ResolveIncident
from process_svc.store import chains
from process_svc.ticker import Ticker

from .lane import Lane, lane
from .model import Model, Pcb

SERVICES = ["check", "retrying", "failing", "kept", "awaited"]
WHICH = st.integers(0, 7)
CREATE = st.fixed_dictionaries(
    {
        "service": st.sampled_from(SERVICES),
        "parent": st.none() | WHICH,
        "after": st.lists(WHICH, max_size=2),
        "after_mode": st.sampled_from(["all", "any"]),
        "after_on": st.sampled_from(["completed", "failed", "always"]),
    }
)


def _op(name: str, **members: Any) -> Any:
    return st.tuples(st.just(name), WHICH, st.fixed_dictionaries(members))


CREATES = st.tuples(st.just("create"), WHICH, CREATE)
STEPS = st.one_of(
    CREATES,
    _op("grant"),
    _op("run"),
    _op("complete"),
    _op("finish"),
    _op("cancel"),
    _op("fail", poison=st.booleans()),
    _op("tick"),
    _op("suspend", cascade=st.booleans(), hold=st.booleans()),
    _op("resume", cascade=st.booleans()),
    _op("wait", what=st.sampled_from(["event", "all", "any"])),
    _op("call", service=st.sampled_from(SERVICES)),
    _op("map", service=st.sampled_from(SERVICES), items=st.integers(1, 3), join=st.sampled_from(["all", "any"])),
    _op("arrive", parties=st.just(2)),
    _op("go", what=st.sampled_from(["event", "all", "any"])),
    _op("wake", value=st.integers(0, 3)),
    _op("release"),
    _op("prioritize", priority=st.integers(0, 100)),
    _op("set_context", patch=st.dictionaries(st.sampled_from("abn"), st.none() | st.integers(0, 2), max_size=2)),
    _op("rollback", version=st.integers(1, 12), resume=st.booleans()),
    _op("retry"),
    _op("skip"),
    st.tuples(st.just("restart"), WHICH, st.fixed_dictionaries({"crash": st.booleans()})),
)


_PLAYERS = itertools.count()


class Player:
    """Does each step to the kernel and to the model."""

    def __init__(self, kernels: "Replicas") -> None:
        self.kernels = kernels
        self.model = Model()
        self.barrier = f"b{next(_PLAYERS)}"

    async def play(self, name: str, which: int, fields: dict[str, Any]) -> None:
        if name == "create":
            return await self._create(**fields)
        if name == "restart":
            return await self.kernels.restart(crash=fields["crash"])
        if not self.model.all:
            return None
        it = list(self.model.all.values())[which % len(self.model.all)]
        for step in {"run": ("grant",), "finish": ("grant", "complete")}.get(name, (name,)):
            accepted = await getattr(self, f"_{step}")(it, **fields)
            assert not isinstance(accepted, str), accepted
        return None

    async def _create(self, service: str, parent: int | None, after: list[int], after_mode: str, after_on: str) -> None:
        pids = list(self.model.all)
        chosen = {} if parent is None or not pids else {"parent": pids[parent % len(pids)]}
        before = tuple(dict.fromkeys(pids[each % len(pids)] for each in after)) if pids else ()
        kernel = self.kernels.current
        made = await kernel.create(
            service, context={"n": 0}, after=list(before), after_mode=after_mode, after_on=after_on, **chosen
        )
        pid = -1 if isinstance(made, Problem) else made["pid"]
        accepted = self.model.create(pid, service, chosen.get("parent"), before, after_mode, after_on)
        assert accepted == (pid > 0), made

    async def _ask(self, it: Pcb, accepted: bool, name: str, /, **fields: Any) -> None:
        answer = await self.kernels.current.ask(name, it.pid, **fields)
        assert accepted != isinstance(answer, Problem), (name, it, answer)

    async def _grant(self, it: Pcb) -> None:
        version = it.version
        self.model.grant(it)
        await self.kernels.current.grant({"pid": it.pid, "version": version})

    async def _complete(self, it: Pcb) -> None:
        await self._ask(it, self.model.complete(it), "complete")

    async def _cancel(self, it: Pcb) -> None:
        await self._ask(it, self.model.cancel(it), "cancel")

    async def _fail(self, it: Pcb, poison: bool) -> None:
        error = {"class": "poison" if poison else "transient"}
        await self._ask(it, self.model.fail(it, poison), "fail", error=error)

    async def _tick(self, it: Pcb) -> None:
        self.model.tick(it)
        await self.kernels.current.tick(it.pid)

    async def _suspend(self, it: Pcb, cascade: bool, hold: bool) -> None:
        await self._ask(it, self.model.suspend(it, cascade), "suspend", cascade=cascade, hold=hold)

    async def _resume(self, it: Pcb, cascade: bool) -> None:
        await self._ask(it, self.model.resume(it, cascade), "resume", cascade=cascade)

    async def _wait(self, it: Pcb, what: str) -> None:
        target = {"event": {"type": "paid"}} if what == "event" else {"children": {"mode": what}}
        await self._ask(it, self.model.wait(it, what), "wait", **{"for": target})

    async def _go(self, it: Pcb, what: str) -> None:
        await self._grant(it)
        await self._wait(it, what)

    async def _call(self, it: Pcb, service: str) -> None:
        await self._grant(it)
        accepted = self.model.call(it)
        await self._ask(it, accepted, "call", service=service, context={"n": 0})
        if accepted:
            self.model.begun(it, service, await self._begun(it), need=1, single=True)

    async def _map(self, it: Pcb, service: str, items: int, join: str) -> None:
        await self._grant(it)
        accepted = self.model.call(it)
        given = {"over": list(range(items)), "context": {"n": 0}, "join": join}
        await self._ask(it, accepted, "map", service=service, **given)
        if accepted:
            need = items if join == "all" else 1
            self.model.begun(it, service, await self._begun(it), need=need, single=False)

    async def _begun(self, it: Pcb) -> list[int]:
        """The children of its latest call."""
        await self.kernels.quiet()
        async with self.kernels.current.database.connection() as connection:
            rows = await connection.fetch(
                "SELECT pid FROM process WHERE call = (SELECT max(call) FROM process WHERE parent = $1) ORDER BY pid",
                it.pid,
            )
        return [row["pid"] for row in rows]

    async def _arrive(self, it: Pcb, parties: int) -> None:
        await self._grant(it)
        await self._ask(it, self.model.arrive(it, parties), "arrive", name=self.barrier, parties=parties)

    async def _wake(self, it: Pcb, value: int) -> None:
        await self._ask(it, self.model.wake(it, {"a": value}), "wake", context={"a": value})

    async def _release(self, it: Pcb) -> None:
        await self._ask(it, self.model.release(it), "release")

    async def _prioritize(self, it: Pcb, priority: int) -> None:
        await self._ask(it, self.model.prioritize(it, priority), "prioritize", priority=priority)

    async def _set_context(self, it: Pcb, patch: dict[str, Any]) -> None:
        await self._ask(it, self.model.set_context(it, patch), "set_context", patch=patch)

    async def _rollback(self, it: Pcb, version: int, resume: bool) -> None:
        await self._ask(it, self.model.rollback(it, version, resume), "rollback", version=version, resume=resume)

    async def _retry(self, it: Pcb) -> None:
        await self._ask(it, self.model.retry(it), "retry")

    async def _skip(self, it: Pcb) -> None:
        async with self.kernels.current.database.connection() as connection:
            id = await connection.fetchval("SELECT max(id) FROM incident WHERE pid = $1", it.pid)
        accepted = self.model.skip(it)
        if id is not None:
            body = ResolveIncident.model_validate({"id": id, "action": "skip"})
            answer = await self.kernels.current.give("resolve_incident", body)
            assert accepted != isinstance(answer, Problem), (it, answer)

    async def compare(self) -> None:
        """Everything that can be read of each process, with the model."""
        pids = list(self.model.all)
        await self.kernels.quiet()
        async with self.kernels.current.database.connection() as connection:
            rows = await connection.fetch("SELECT * FROM process WHERE pid = ANY($1::bigint[])", pids)
            journal = await connection.fetch(
                "SELECT pid, command, state FROM journal WHERE pid = ANY($1::bigint[]) ORDER BY pid, version", pids
            )
            snapshots = await connection.fetch(
                "SELECT pid, version, context FROM snapshot WHERE pid = ANY($1::bigint[])", pids
            )
            assert await chains.first_broken(connection, pids) == []
        for row in rows:
            it = self.model.all[row["pid"]]
            history = [(each["command"], each["state"]) for each in journal if each["pid"] == it.pid]
            contexts = {each["version"]: orjson.loads(each["context"]) for each in snapshots if each["pid"] == it.pid}
            assert (history, contexts) == (it.history, it.snapshots), it
            found = (row["state"], row["outcome"], row["version"], row["priority"], row["attempt"])
            assert found == (it.state, it.outcome, it.version, it.priority, it.attempt), it
            assert (row["incident"] is not None) == it.incident
            assert orjson.loads(row["context"]) == it.context
        assert len(rows) == len(pids)


class Replicas:
    """One at a time; `restart` replaces it, after a crash by one that has to find what was left."""

    def __init__(self, database: str, first: Lane) -> None:
        self.current = first
        self._database = database
        self._open: list[Any] = []

    async def restart(self, *, crash: bool) -> None:
        await self.quiet()
        next_one = lane(self._database)
        self._open.append(next_one)
        self.current = await next_one.__aenter__()
        self.current.crash = crash

    async def quiet(self) -> None:
        """Whatever was left to do for relatives is done: by the replica, or by the ticker of the one after it."""
        await self.current.settle()
        if self.current.crash:
            ticker = Ticker(self.current.database, self.current.pipeline, abandoned=0.0)
            while await self._left():
                await ticker._pass()

    async def _left(self) -> int:
        async with self.current.database.connection() as connection:
            found: int = await connection.fetchval("SELECT count(*) FROM follow_up")
            return found

    async def close(self) -> None:
        for each in self._open:
            await each.__aexit__(None, None, None)


@pytest.fixture
async def new_kernels(database: str, kernel: Lane) -> Callable[[], Replicas]:
    await kernel.define("check")
    await kernel.define("retrying", retry={"max_attempts": 2, "backoff": {"initial": "PT0S"}})
    await kernel.define("failing", on_exhausted="fail")
    await kernel.define("kept", on_parent_close="detach")
    await kernel.define("awaited", on_parent_close="wait")
    return lambda: Replicas(database, kernel)


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(CREATES, min_size=2, max_size=6), st.lists(STEPS, min_size=15, max_size=40))
async def test_agrees_with_the_model(new_kernels: Callable[[], Replicas], first: list[Any], then: list[Any]) -> None:
    kernels = new_kernels()
    player = Player(kernels)
    try:
        async with asyncio.timeout(30):
            for name, which, fields in first + then:
                await player.play(name, which, fields)
                await player.compare()
    finally:
        await kernels.close()
