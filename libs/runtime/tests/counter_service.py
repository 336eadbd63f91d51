"""A very small service on the runtime: counters that are added to, each change told as an event. What the tests run."""

import asyncio
import json
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from kernel_contracts.base import Command as CommandModel
from kernel_contracts.base import Name
from kernel_runtime import logs, supervise
from kernel_runtime.command import Command, Message, Result, json_answer, message
from kernel_runtime.consumer import Route
from kernel_runtime.database import Connection
from kernel_runtime.http import caller, command, json_response, read, respond
from kernel_runtime.problem import Problem, conflict
from kernel_runtime.service import Parts
from kernel_runtime.settings import ServiceSettings
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.routing import Route as HttpRoute

ADD = "test.counter.add.v1"
ADD_ONCE = "test.counter.add_once.v1"
TABLES = """
CREATE TABLE counter (name text PRIMARY KEY, value bigint NOT NULL, version bigint NOT NULL);
CREATE TABLE done (name text NOT NULL, command text NOT NULL, amount bigint NOT NULL,
    number bigint GENERATED ALWAYS AS IDENTITY);
"""
BREAKS = 666
"""An amount that no handler survives."""
REFUSED = 13


class Add(CommandModel):
    name: Name
    amount: int = 1
    text: str = ""


class Counters:
    """The work of one batch."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.rows: dict[str, list[int]] = {}
        self.done: list[tuple[str, str, int]] = []

    async def load(self, connection: Connection, commands: Sequence[Command]) -> None:
        names = sorted({each.body.name for each in commands})
        await connection.execute(
            "INSERT INTO counter (name, value, version) SELECT unnest($1::text[]), 0, 0 ON CONFLICT DO NOTHING", names
        )
        rows = await connection.fetch(
            "SELECT name, value, version FROM counter WHERE name = ANY($1::text[]) ORDER BY name FOR UPDATE", names
        )
        self.rows = {row["name"]: [row["value"], row["version"]] for row in rows}

    def conclude(self, now: datetime) -> None:
        pass

    def refuse(self, command: Command, problem: Problem, now: datetime) -> None:
        self.tell("test.counter.refused.v1", command, now, {"detail": problem.detail})

    async def save(self, connection: Connection) -> None:
        names = list(self.rows)
        await connection.execute(
            "UPDATE counter SET value = new.value, version = new.version"
            " FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS new (name, value, version)"
            " WHERE counter.name = new.name",
            names,
            [self.rows[name][0] for name in names],
            [self.rows[name][1] for name in names],
        )
        await connection.executemany("INSERT INTO done (name, command, amount) VALUES ($1, $2, $3)", self.done)

    def committed(self) -> None:
        pass

    def abandoned(self) -> None:
        pass

    def tell(self, type: str, command: Command, now: datetime, body: dict[str, Any], version: int = 0) -> None:
        self.messages.append(
            message(
                "process-events",
                command.body.name,
                json.dumps(body).encode(),
                id=f"{command.body.name}.{version}.{command.id}",
                type=type,
                source="/test/counter",
                at=now,
                tenant=command.tenant,
                cause=command.cause,
                version=version,
            )
        )


def add(work: Counters, command: Command, now: datetime) -> Result:
    body: Add = command.body
    if body.amount == BREAKS:
        raise RuntimeError("this amount breaks")
    if body.amount == REFUSED:
        return conflict("Unlucky", "This number is not wanted.")
    row = work.rows[body.name]
    row[0] += body.amount
    row[1] += 1
    work.done.append((body.name, command.id, body.amount))
    work.tell("test.counter.changed.v1", command, now, {"value": row[0], "text": body.text}, row[1])
    return json_answer({"value": row[0], "version": row[1]})


HANDLERS = {"add": add}
ROUTES = {ADD: Route("add", Add), ADD_ONCE: Route("add", Add, remember=True)}


def http_routes(parts: Parts) -> list[BaseRoute]:
    async def add_to(request: Request) -> Response:
        who = caller(request)
        body, raw = await read(request, Add, name=request.path_params["name"])
        return respond(await parts.pipeline.submit(command(who, "add", body, raw, target=body.name)))

    async def add_one(request: Request) -> Response:
        who = caller(request)
        body, raw = await read(request, Add)
        return respond(await parts.pipeline.submit(command(who, "add", body, raw)))

    async def show(request: Request) -> Response:
        who = caller(request)
        async with parts.database.connection() as connection:
            row = await connection.fetchrow("SELECT * FROM counter WHERE name = $1", request.path_params["name"])
        return json_response({**dict(row or {}), "principal": who.principal, "roles": sorted(who.roles)})

    async def breaks(_: Request) -> Response:
        raise RuntimeError("seeded")

    return [
        HttpRoute("/v1/counters", add_one, methods=["POST"]),
        HttpRoute("/v1/counters/{name}", add_to, methods=["POST"]),
        HttpRoute("/v1/counters/{name}", show, methods=["GET"]),
        HttpRoute("/v1/breaks", breaks, methods=["GET"]),
    ]


async def serve(stop: supervise.Stop) -> None:
    settings = ServiceSettings()
    logs.configure("counter", settings.service_replica, settings.log_level)
    parts = Parts("counter", settings, Counters, HANDLERS)
    parts.consumer(["process-commands"], ROUTES)

    async def dies() -> None:
        await asyncio.sleep(float(sys.argv[2]))
        raise RuntimeError("seeded death")

    await parts.run(stop, http_routes(parts), *([dies] if len(sys.argv) > 2 else []))


if __name__ == "__main__":
    if sys.argv[1] == "migrate":
        from kernel_runtime.migrations import migrate

        print(migrate(ServiceSettings().database_url.get_secret_value(), Path(__file__).parent / "versions"))
    else:
        supervise.run(serve)
