"""One replica without Kafka and HTTP: a pipeline over the handlers, on a real database."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import orjson
from kernel_contracts.envelope import Envelope
from kernel_contracts.rules import EventTypeDefinition, RuleDefinition
from kernel_contracts.vocabulary import DefinitionKind
from kernel_runtime.command import Cause, Command, Result
from kernel_runtime.database import Database
from kernel_runtime.pipeline import Pipeline
from pydantic import SecretStr
from rules_svc import cloudevents
from rules_svc.book import Memory
from rules_svc.consumer import Door
from rules_svc.failures import FailureLimit
from rules_svc.handlers import HANDLERS
from rules_svc.handlers.definitions import Define
from rules_svc.settings import Settings
from rules_svc.ticker import Ticker
from rules_svc.work import RuleWork


class Lane:
    """What one replica is inside."""

    def __init__(self, dsn: str, **options: Any) -> None:
        self.settings = Settings(
            database_url=SecretStr(dsn), kafka_bootstrap="127.0.0.1:9", internal_token=SecretStr("secret"), **options
        )
        self.database = Database(dsn, name="lane")
        self.memory = Memory()
        limit = FailureLimit()
        self.pipeline = Pipeline(self.database, lambda: RuleWork(self.memory, limit), HANDLERS, committed=lambda: None)
        self.ticker = Ticker(self.database, self.memory, self.settings, self.pipeline)
        self.door = Door(self.memory, "main")

    def event(self, type: str, data: Any, *, id: str | None = None, source: str = "/shop", **extra: Any) -> Command:
        """As the consumer makes it of a record on `business-events`."""
        id = id or secrets.token_hex(8)
        envelope = Envelope(id, type, source, "", "main", extra.pop("subject", None), depth=extra.pop("depth", 0))
        headers = [(f"ce_{name}", str(value).encode()) for name, value in extra.items()]
        received = cloudevents.from_kafka(envelope, headers, orjson.dumps(data))
        return self._command("business", received, envelope)

    def process_event(self, type: str, body: Any, *, causation: str | None = None, depth: int = 0) -> Command | None:
        """As the consumer makes it of a record on `process-events`; None where its headers drop it."""
        id = f"{body['pid']}.{body.get('version', 1)}"
        headers = {"ce_type": type.encode(), "ce_id": id.encode(), "ce_tenant": b"main"}
        if causation is not None:
            headers["ce_causationid"] = causation.encode()
        if not self.door.wants_process(headers):
            return None
        envelope = Envelope(id, type, "/kernel/process-svc", "", "main", None, causation, None, depth)
        return self._command("process", self.door.read_process(envelope, [], orjson.dumps(body)), envelope)

    def _command(self, name: str, body: Any, envelope: Envelope) -> Command:
        cause = Cause(envelope.id, envelope.id, envelope.depth + 1)
        return Command(envelope.id, name, "main", body, envelope.source, cause, envelope=envelope)

    async def submit(self, *commands: Command | None) -> list[Any]:
        return list(await self.pipeline.submit_all([command for command in commands if command is not None]))

    async def define(self, name: str, *, tenant: str = "main", **definition: Any) -> Result:
        model = RuleDefinition.model_validate(definition)
        return await self._define(DefinitionKind.RULE, name, model, tenant)

    async def define_type(self, name: str, **definition: Any) -> Result:
        return await self._define(
            DefinitionKind.EVENT_TYPE, name, EventTypeDefinition.model_validate(definition), "main"
        )

    async def _define(self, kind: DefinitionKind, name: str, model: Any, tenant: str) -> Result:
        wanted = Define(kind, name, model)
        return await self.pipeline.submit(Command("d", "define", tenant, wanted, "tester", Cause("d", "d")))


@contextlib.asynccontextmanager
async def lane(dsn: str, **options: Any) -> AsyncIterator[Lane]:
    one = Lane(dsn, **options)
    await one.database.open()
    await one.ticker.follow(everything=True)
    running = asyncio.create_task(one.pipeline.run())
    try:
        yield one
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await one.database.close()


async def rows(dsn: str, query: str, *arguments: Any) -> Sequence[Any]:
    connection = await asyncpg.connect(dsn)
    try:
        found: Sequence[Any] = await connection.fetch(query, *arguments)
        return found
    finally:
        await connection.close()


async def sent(dsn: str, topic: str) -> list[dict[str, Any]]:
    """What waits in the outbox for a topic: its key, headers and body."""
    found = await rows(dsn, "SELECT key, headers, body FROM outbox WHERE topic = $1 ORDER BY id", topic)
    return [
        {"key": row["key"], "headers": orjson.loads(row["headers"]), "body": orjson.loads(row["body"] or b"null")}
        for row in found
    ]
