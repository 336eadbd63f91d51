"""Barriers: all go on when the last arrives; who leaves is no party; rounds; deaths; many at once."""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_runtime.problem import Problem

from .lane import Lane, lane
from .test_calls import caught_up

ENTITY = {"type": "order", "id": "7"}


async def arrive(kernel: Lane, pid: int, parties: int = 3, **fields: Any) -> Any:
    done = await kernel.ask("arrive", pid, name="papers", parties=parties, **fields)
    await kernel.settle()
    return done


async def parties(kernel: Lane, number: int = 3, **fields: Any) -> list[int]:
    return [(await kernel.run(**fields))["pid"] for _ in range(number)]


async def states(kernel: Lane, pids: list[int]) -> list[str]:
    return [(await kernel.read(pid))["state"] for pid in pids]


async def test_all_go_on_when_the_last_arrives_and_a_new_round_begins(kernel: Lane) -> None:
    await kernel.define()
    first, second, third = pids = await parties(kernel, entity=ENTITY)
    for _ in range(2):
        waiting = await arrive(kernel, first)
        assert waiting["waiting_for"]["barrier"]["name"] == "papers"
        await kernel.ask("wait", second, **{"for": {"barrier": {"name": "papers", "parties": 3}}})
        path = "/v1/barriers/papers?entity_type=order&entity_id=7"
        shown = (await kernel.http.get(path)).json()
        assert ([each["pid"] for each in shown["arrived"]], shown["parties"]) == ([first, second], 3)
        assert (await kernel.http.get("/v1/barriers/papers")).status_code == 404
        answer = await kernel.http.post("/v1/barriers/papers/arrive", json={"pid": third, "parties": 3})
        assert answer.json()["state"] == "READY"
        assert await states(kernel, pids) == ["READY"] * 3
        assert await kernel.breaches() == {}
        for pid in pids:
            await kernel.grant(await kernel.read(pid))
    history = (await kernel.http.get(f"/v1/processes/{third}/history")).json()["items"]
    assert [(each["command"], each["state"]) for each in history[3:5]] == [("arrive", "WAITING"), ("wake", "READY")]


async def test_entities_have_barriers_of_their_own(kernel: Lane) -> None:
    await kernel.define()
    one, other, none = [await kernel.run(entity=entity) for entity in (ENTITY, ENTITY | {"id": "8"}, None)]
    for process in (one, other, none):
        await arrive(kernel, process["pid"], 2)
    assert await states(kernel, [one["pid"], other["pid"], none["pid"]]) == ["WAITING"] * 3
    assert await kernel.breaches() == {}


@pytest.mark.parametrize("way", ["cancel", "wake", "rollback", "time"])
async def test_who_leaves_is_no_party(kernel: Lane, way: str) -> None:
    await kernel.define(on_exhausted="fail")
    first, second, third = await parties(kernel)
    await arrive(kernel, first, 2, timeout="PT0S", on_timeout="fail")
    if way == "time":
        await kernel.tick(first)
    else:
        await kernel.ask(way, first, **({"version": 1} if way == "rollback" else {}))
    await arrive(kernel, second, 2)
    assert await states(kernel, [second]) == ["WAITING"]
    assert await kernel.breaches() == {}
    await arrive(kernel, third, 2)
    assert await states(kernel, [second, third]) == ["READY"] * 2
    assert await kernel.breaches() == {}


async def test_a_suspended_party_has_arrived_and_goes_on_when_it_resumes(kernel: Lane) -> None:
    await kernel.define()
    first, second, third = await parties(kernel)
    await arrive(kernel, first, 2)
    await kernel.ask("suspend", first)
    assert await kernel.breaches() == {}
    await arrive(kernel, second, 2)
    assert await states(kernel, [first, second]) == ["SUSPENDED", "READY"]
    await arrive(kernel, third, 2)
    assert await states(kernel, [third]) == ["WAITING"]
    await kernel.ask("resume", first)
    assert await states(kernel, [first]) == ["READY"]
    assert await kernel.breaches() == {}


async def test_parties_that_differ_are_refused(kernel: Lane) -> None:
    await kernel.define()
    first, second, _ = await parties(kernel)
    await arrive(kernel, first, 2)
    refused = await arrive(kernel, second, 3)
    assert isinstance(refused, Problem)
    assert (refused.status, refused.extra["parties"], refused.extra["arrived"]) == (409, 2, 1)
    assert (await arrive(kernel, first, 2)).status == 409
    await kernel.ask("cancel", first)
    assert (await arrive(kernel, second, 3))["state"] == "WAITING"  # nobody is there: it may be another one
    assert await kernel.breaches() == {}


async def test_a_death_when_it_opens_holds_nobody_back(kernel: Lane) -> None:
    await kernel.define()
    pids = await parties(kernel, 3)
    kernel.crash = True
    for pid in pids:
        await arrive(kernel, pid)
    assert await states(kernel, pids) == ["WAITING", "WAITING", "READY"]
    assert await kernel.breaches() == {}
    await kernel.tick(pids[0])  # nothing is due, but it has opened
    await caught_up(kernel)
    assert await states(kernel, pids) == ["READY"] * 3
    assert await kernel.breaches() == {}


async def test_two_replicas_open_it_once_a_round(kernel: Lane, database: str) -> None:
    await kernel.define()
    pids = await parties(kernel, 24)
    async with lane(database) as other:
        both = (kernel, other)
        await asyncio.gather(*(arrive(both[n % 2], pid, 4) for n, pid in enumerate(pids)))
        await other.settle()
    assert await states(kernel, pids) == ["READY"] * 24
    async with kernel.database.connection() as connection:
        assert await connection.fetchval("SELECT round FROM barrier") == 7
    assert await kernel.breaches() == {}


MOVES = st.lists(
    st.tuples(st.sampled_from(["arrive", "arrive", "cancel", "suspend", "resume", "wake"]), st.integers(0, 5)),
    max_size=25,
)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(MOVES)
async def test_it_opens_exactly_when_enough_wait_there(kernel: Lane, moves: list[tuple[str, int]]) -> None:
    """Against a model: who is in, who is asleep, and who was let through in its sleep."""
    await kernel.define()
    name = f"b{id(moves)}-{kernel.command('x', None).id}"
    pids = await parties(kernel, 6)
    state = dict.fromkeys(pids, "RUNNING")
    inside: set[int] = set()
    through: set[int] = set()
    for move, which in moves:
        pid = pids[which]
        if move == "arrive":
            done = await kernel.ask("arrive", pid, name=name, parties=3)
            assert isinstance(done, Problem) == (state[pid] != "RUNNING")
            if state[pid] == "RUNNING":
                inside.add(pid)
                state[pid] = "WAITING"
                if len(inside) == 3:
                    through |= {each for each in inside if state[each] == "SUSPENDED"}
                    state |= {each: "READY" for each in inside if state[each] == "WAITING"}
                    inside = set()
        else:
            done = await kernel.ask(move, pid)
            if move == "cancel" and state[pid] != "TERMINATED":
                state[pid] = "TERMINATED"
                inside.discard(pid)
            elif move == "suspend" and state[pid] == "WAITING":
                state[pid] = "SUSPENDED"
            elif move == "resume" and pid in inside | through and state[pid] == "SUSPENDED":
                state[pid] = "READY" if pid in through else "WAITING"
            elif move == "wake" and state[pid] == "WAITING":
                state[pid] = "READY"
                inside.discard(pid)
            elif not isinstance(done, Problem):
                state[pid] = done["state"]
        await kernel.settle()
        assert await states(kernel, pids) == [state[each] for each in pids]
    assert await kernel.breaches() == {}
