"""A lane of resource-svc without Kafka: commands in as the consumer makes them, messages out of its outbox."""

import asyncio
import contextlib
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from kernel_contracts import message_types as types
from kernel_contracts.envelope import Envelope
from kernel_contracts.resource import AllocateResources, OperatorDefinition, ReleaseResources, ResourceDefinition
from kernel_runtime.command import Answer, Cause, Command, Result, fingerprint
from kernel_runtime.database import Database
from kernel_runtime.pipeline import Pipeline
from resource_svc import fsck, wire
from resource_svc.handlers import HANDLERS, TOUCHES
from resource_svc.handlers.definitions import PutResource
from resource_svc.store import Cache, Work

TENANT = "main"
_ids = itertools.count(1)


class Lane:
    def __init__(self, database: Database) -> None:
        cache: Cache = {}
        self.database = database
        self.pipeline = Pipeline(database, lambda: Work(TOUCHES, cache), HANDLERS, committed=lambda: None)
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, url: str) -> "Lane":
        database = Database(url, name="test")
        await database.open()
        lane = cls(database)
        lane._task = asyncio.create_task(lane.pipeline.run())
        return lane

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self.database.close()

    async def do(self, *commands: Command) -> list[Result]:
        """Together, in order; what breaks raises."""
        results = []
        for result in await self.pipeline.submit_all(commands):
            if isinstance(result, BaseException):
                raise result
            results.append(result)
        return results

    async def ask(
        self, name: str, body: Any, *, roles: Sequence[str] = ("admin",), operator: str | None = None
    ) -> Result:
        """As HTTP does."""
        id = f"request-{next(_ids)}"
        return await self.pipeline.submit(
            Command(id, name, TENANT, body, "tester", Cause(id, id), roles=frozenset(roles), operator=operator)
        )

    async def define(self, **definitions: Mapping[str, Any]) -> None:
        """Operators where `roles` or `operator` is named, else resources; ids with `_` for `-`."""
        for id, fields in definitions.items():
            id = id.replace("_", "-")
            if fields.get("type", "operator") == "operator":
                made = wire.operator(
                    id, OperatorDefinition.model_validate({k: v for k, v in fields.items() if k != "type"})
                )
            else:
                made = wire.resource(id, ResourceDefinition.model_validate(fields))
            result = await self.ask("put_resource", PutResource(id, made, None))
            assert isinstance(result, Answer), result

    async def outbox(self) -> list[tuple[str, str, str, dict[str, Any]]]:
        """(topic, key, type, body) of everything to be told, oldest first; empties it."""
        async with self.database.connection() as connection:
            rows = await connection.fetch(
                "WITH gone AS (DELETE FROM outbox RETURNING *) SELECT * FROM gone ORDER BY id"
            )
        return [
            (row["topic"], row["key"], dict(orjson.loads(row["headers"]))["ce_type"], orjson.loads(row["body"]))
            for row in rows
        ]

    async def told(self, type: str) -> list[dict[str, Any]]:
        return [body for _, _, each, body in await self.outbox() if each == type]

    async def use(self) -> dict[str, int]:
        async with self.database.connection() as connection:
            return {row["id"]: row["used"] for row in await connection.fetch("SELECT id, used FROM resource")}

    async def rows(self, query: str, *arguments: Any) -> list[dict[str, Any]]:
        async with self.database.connection() as connection:
            return [dict(row) for row in await connection.fetch(query, *arguments)]

    async def breaches(self) -> dict[str, Any]:
        async with self.database.connection() as connection:
            return {each["name"]: each["examples"] for each in await fsck.check(connection) if each["breaches"]}


def need(*candidates: str, type: str = "operator", **demand: Any) -> dict[str, Any]:
    return {"demand": {"type": type, **demand}, "candidates": list(candidates)}


def allocate(dispatch: str, pid: int, *proposals: Mapping[str, Any], version: int = 2) -> Command:
    body = AllocateResources.model_validate(
        {
            "dispatch_id": dispatch,
            "pid": pid,
            "process_version": version,
            "queue": "default",
            "proposals": list(proposals),
        }
    )
    envelope = Envelope(dispatch, types.ALLOCATE_RESOURCES, "/kernel/scheduler-svc", "", TENANT)
    return _command("allocate", body, envelope, b"default")


def gives(
    pid: int, give: str, *, version: int, dispatch: str | None = None, type: str = types.PROCESS_TERMINATED
) -> Command:
    """A process event with ce_give."""
    envelope = Envelope(
        f"{pid}.{version}", type, "/kernel/process-svc", "", TENANT, version=version, dispatch=dispatch, give=give
    )
    return _command("return", b"{}", envelope, str(pid).encode(), "process-events")


def refuses(pid: int, dispatch: str, *, version: int = 3) -> Command:
    return gives(pid, "running", version=version, dispatch=dispatch, type=types.DISPATCH_REFUSED)


def releases(pid: int, *, dispatch: str | None = None, give: str = "all", id: str | None = None) -> Command:
    body = ReleaseResources.model_validate({"pid": pid, "dispatch_id": dispatch, "give": give})
    id = id or f"release-{next(_ids)}"
    envelope = Envelope(id, types.RELEASE_RESOURCES, "/kernel/scheduler-svc", "", TENANT)
    return _command("release", body, envelope, b"default", remember=body.model_dump_json().encode())


def _command(
    name: str,
    body: Any,
    envelope: Envelope,
    key: bytes,
    topic: str = "resource-commands",
    remember: bytes | None = None,
) -> Command:
    return Command(
        id=f"{TENANT}|{envelope.source}|{envelope.id}",
        name=name,
        tenant=TENANT,
        body=body,
        by=envelope.source,
        cause=Cause(envelope.id, envelope.id, 1),
        fingerprint=None if remember is None else fingerprint(envelope.type, remember),
        envelope=envelope,
        key=(topic, key),
    )
