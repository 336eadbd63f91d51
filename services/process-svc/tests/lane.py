"""process-svc's pipeline on a real database, without its doors; and its HTTP door on top of it."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

import httpx
import orjson
from kernel_contracts.process import CreateProcess, ServiceDefinition
from kernel_runtime.command import Cause, Command
from kernel_runtime.database import Database
from kernel_runtime.http import application
from kernel_runtime.pipeline import Pipeline
from kernel_runtime.problem import Problem
from process_svc import fsck, http
from process_svc.desk import Desk
from process_svc.handlers import HANDLERS
from process_svc.handlers.bodies import Definitions, Grant, Tick
from process_svc.handlers.commands import NAMED
from process_svc.handlers.work import Work
from process_svc.memory import Memory
from process_svc.runner import Runner
from process_svc.settings import Settings
from process_svc.store.follow_ups import FollowUp
from process_svc.ticker import parts

TOKEN = "inner"
SETTINGS = Settings.model_validate({"database_url": "", "kafka_bootstrap": ""})
HEADERS = {"x-kernel-token": TOKEN, "x-kernel-tenant": "main", "x-kernel-principal": "me", "x-kernel-roles": "admin"}


class Lane:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.followed: list[FollowUp] = []
        self.crash = False
        self.memory = Memory(self._follow)
        self.desk = Desk(database)
        self.memory.takers = self.desk
        self.pipeline = Pipeline(database, partial(Work, self.memory), HANDLERS, committed=lambda: None)
        self._number = itertools.count(1)
        self._tasks: list[asyncio.Task[Any]] = []
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(
                application(http.routes(database, self.pipeline, self.desk, SETTINGS), internal_token=TOKEN),
                raise_app_exceptions=False,
            ),
            base_url="http://process-svc",
            headers=HEADERS,
        )

    def _follow(self, found: Sequence[FollowUp]) -> None:
        """What the ticker's FollowUps do; with `crash` the process dies before it gets to them."""
        self.followed += found
        if not self.crash:
            self._tasks += [asyncio.ensure_future(self.pipeline.submit_all(part)) for part in parts(found)]

    def command(self, name: str, body: Any, **fields: Any) -> Command:
        id = f"c{next(self._number)}"
        return Command(id, name, "main", body, "me", Cause(None, id), roles=frozenset({"admin"}), **fields)

    async def give(self, name: str, body: Any, **fields: Any) -> Any:
        """The PCB (or whatever JSON) that the command answers, or the Problem."""
        result = await self.pipeline.submit(self.command(name, body, **fields))
        return result if isinstance(result, Problem) else orjson.loads(result.body or b"null")

    async def define(self, name: str = "check", **definition: Any) -> None:
        body = Definitions({name: ServiceDefinition.model_validate(definition)})
        assert not isinstance(await self.give("define_services", body), Problem)

    async def create(self, service: str = "check", **fields: Any) -> Any:
        return await self.give("create", CreateProcess.model_validate({"service": service} | fields))

    async def ask(self, name: str, pid: int, /, **fields: Any) -> Any:
        model = next(model for command, model in NAMED.items() if command.value == name)
        return await self.give(name, model.model_validate({"pid": pid} | fields))

    async def grant(self, process: Any, operator: str | None = "ada", dispatch: str | None = None) -> None:
        body = Grant(
            dispatch_id=dispatch or f"{process['pid']}.{process['version']}.1",
            pid=process["pid"],
            process_version=process["version"],
            operator=operator,
        )
        await self.give("dispatch", body)

    async def run(self, service: str = "check", **fields: Any) -> Any:
        """A RUNNING process."""
        process = await self.create(service, **fields)
        await self.grant(process)
        return await self.read(process["pid"])

    async def read(self, pid: int) -> Any:
        await self.settle()
        return (await self.http.get(f"/v1/processes/{pid}")).json()

    async def settle(self) -> None:
        while self._tasks:
            await self._tasks.pop()
            await asyncio.sleep(0)

    async def tick(self, pid: int) -> None:
        await self.give("tick", Tick(pid))

    async def messages(self) -> list[tuple[str, Any]]:
        """(type, body) of what the relay would publish, in order."""
        async with self.database.connection() as connection:
            rows = await connection.fetch("SELECT headers, body FROM outbox ORDER BY id")
        return [(dict(orjson.loads(row["headers"]))["ce_type"], orjson.loads(row["body"])) for row in rows]

    @contextlib.asynccontextmanager
    async def jobs(self, **options: float) -> AsyncIterator[Runner]:
        """With somebody who carries bulk jobs out."""
        runner = Runner(self.database, self.pipeline, **options)
        self.memory.go_on = runner.wake
        task = asyncio.ensure_future(runner.run(1))
        try:
            yield runner
            if task.done():
                await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def breaches(self) -> dict[str, int]:
        async with self.database.connection() as connection:
            return {check["name"]: check["breaches"] for check in await fsck.run(connection) if check["breaches"]}

    async def execute(self, sql: str, *values: Any) -> None:
        async with self.database.connection() as connection:
            await connection.execute(sql, *values)


@contextlib.asynccontextmanager
async def lane(url: str) -> AsyncIterator[Lane]:
    database = Database(url, name="test")
    await database.open()
    made = Lane(database)
    running = [asyncio.create_task(made.pipeline.run()), asyncio.create_task(made.desk.run())]
    try:
        yield made
    finally:
        for task in running:
            task.cancel()
        await asyncio.wait(running)
        await made.http.aclose()
        await database.close()
