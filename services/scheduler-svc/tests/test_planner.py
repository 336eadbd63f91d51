"""The planner's lane on a real Postgres: what fails leaves nothing behind, and one that has lost its lease changes nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import orjson
import pytest_asyncio
from kernel_contracts.envelope import Envelope
from kernel_contracts.scheduler import QueueDefinition
from kernel_runtime.command import Answer, Cause, Command
from kernel_runtime.database import Database
from kernel_runtime.lease import Lease, LeaseLostError
from kernel_runtime.pipeline import Pipeline
from scheduler_svc import wire
from scheduler_svc.batch import Batch
from scheduler_svc.handlers import HANDLERS, DefineQueue
from scheduler_svc.memory import Memory

CLERK = {"type": "operator", "roles": ["clerk"]}


class Lane:
    def __init__(self, database: Database, lease: Lease) -> None:
        self.memory = Memory(lease, 2_000)
        self.lease = lease
        self.pipeline = Pipeline(database, lambda: Batch(self.memory), HANDLERS, committed=lambda: None)

    async def tell(self, *commands: Command) -> list[Any]:
        return list(await self.pipeline.submit_all(commands))


@asynccontextmanager
async def lane(dsn: str, holder: str) -> AsyncIterator[Lane]:
    database = Database(dsn, name=holder)
    await database.open()
    lease = Lease(database, "planner-0", holder, 3600)
    made = Lane(database, lease)
    running = asyncio.ensure_future(made.pipeline.run())
    keeping = asyncio.ensure_future(lease.keep())
    try:
        yield made
    finally:
        for task in (running, keeping):
            task.cancel()
        await asyncio.wait((running, keeping))
        await database.close()


@pytest_asyncio.fixture
async def connection(database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


def command(name: str, body: Any) -> Command:
    envelope = Envelope(id="1.2", type="t", source="/s", time="", tenant="main")
    return Command("1", name, "main", body, "/s", Cause("1.2", "chain"), envelope=envelope)


def ready(pid: int) -> Command:
    body = {
        "pid": pid,
        "version": 2,
        "state": "READY",
        "service": "approve",
        "at": "2026-01-01T00:00:00Z",
        "demands": [CLERK],
    }
    envelope = Envelope(id=f"{pid}.2", type="t", source="/s", time="", tenant="main")
    return command("ready", wire.read_ready(envelope, [], orjson.dumps(body)))


def person(id: str, version: int = 1) -> Command:
    told = {
        "id": id,
        "tenant": "main",
        "type": "operator",
        "kind": "shared",
        "capacity": 1,
        "used": 0,
        "roles": ["clerk"],
        "version": version,
    }
    return command("resource_changed", wire.Changed.model_validate(told))


async def test_intake_and_plan_are_one_transaction(database: str, connection: asyncpg.Connection) -> None:
    async with lane(database, "one") as one:
        await one.lease.held.wait()
        results = await one.tell(person("anna"), ready(1), ready(2))
    assert [type(result) for result in results] == [Answer] * 3
    rows = await connection.fetch("SELECT pid, state, xmin::text AS x FROM ready_item ORDER BY pid")
    assert [(row["pid"], row["state"]) for row in rows] == [(1, "proposed"), (2, "ready")]
    sent = await connection.fetch("SELECT topic, key, xmin::text AS x FROM outbox")
    assert [(row["topic"], row["key"]) for row in sent] == [("resource-commands", "default")]
    assert {row["x"] for row in (*rows, *sent)} == {rows[0]["x"]}


async def test_one_that_lost_its_lease_changes_nothing(database: str, connection: asyncpg.Connection) -> None:
    async with lane(database, "zombie") as zombie:
        await zombie.lease.held.wait()
        await zombie.tell(person("anna"))
        await connection.execute("UPDATE lease SET epoch = epoch + 1, holder = 'other'")
        (result,) = await zombie.tell(ready(1))
        assert isinstance(result, LeaseLostError)
        assert await connection.fetchval("SELECT count(*) FROM ready_item") == 0
        assert await connection.fetchval("SELECT count(*) FROM outbox") == 0
        defined = Command(
            "2", "define_queue", "main", DefineQueue("night", QueueDefinition()), "tess", Cause(None, "chain")
        )
        assert isinstance(await zombie.pipeline.submit(defined), Answer), "defining a queue needs no lease"
        assert await connection.fetchval("SELECT version FROM queue") == 1


async def test_a_transaction_that_fails_leaves_memory_as_the_database_is(
    database: str, connection: asyncpg.Connection
) -> None:
    async with lane(database, "one") as one:
        await one.lease.held.wait()
        await one.tell(person("anna"))
        await connection.execute(
            "CREATE FUNCTION break() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'seeded'; END $$;"
            " CREATE TRIGGER breaks BEFORE INSERT ON outbox EXECUTE FUNCTION break()"
        )
        (result,) = await one.tell(ready(1))
        assert isinstance(result, Exception)
        await connection.execute("DROP TRIGGER breaks ON outbox")
        await one.tell(ready(2))
        assert await connection.fetchval("SELECT string_agg(pid || state, ' ') FROM ready_item") == "2proposed"
        await one.tell(ready(1))
        assert await connection.fetchval("SELECT state FROM ready_item WHERE pid = 1") == "ready"


async def test_what_a_new_holder_finds_it_goes_on_with(database: str, connection: asyncpg.Connection) -> None:
    async with lane(database, "one") as one:
        await one.lease.held.wait()
        await one.tell(person("anna"), *(ready(pid) for pid in range(1, 200)))
    await connection.execute("DELETE FROM outbox")
    async with lane(database, "two") as two:
        await two.lease.held.wait()
        await two.tell(command("tick", None))
        assert await connection.fetchval("SELECT count(*) FROM outbox") == 0
        await two.tell(person("bert"))
        rows = await connection.fetch("SELECT convert_from(body, 'UTF8')::json ->> 'dispatch_id' FROM outbox")
        assert [row[0] for row in rows] == ["2.2.1"]
