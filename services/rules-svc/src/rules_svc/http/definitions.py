"""Rules and event types: defining, listing, applying many, trying one out, and its firings."""

import asyncio
from typing import Annotated, Any

import orjson
from kernel_contracts.base import Command as CommandModel
from kernel_contracts.base import JsonObject, Name
from kernel_contracts.rules import EventTypeDefinition, RuleDefinition
from kernel_contracts.vocabulary import DefinitionKind
from kernel_runtime.database import Connection, Database
from kernel_runtime.http import caller, command, json_response, read, respond
from kernel_runtime.pipeline import Pipeline
from kernel_runtime.problem import ProblemError, invalid, not_found, pointer
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from rules_svc import definitions, trial
from rules_svc.book import Book, Definition, Memory
from rules_svc.handlers.definitions import Apply, Define, plan
from rules_svc.http.answers import DESIGNERS, allowed, listing, refuse
from rules_svc.http.paging import cursor, page
from rules_svc.store import reads
from rules_svc.store.batch import read_book

KINDS = {"rules": DefinitionKind.RULE, "event-types": DefinitionKind.EVENT_TYPE}
MODELS: dict[DefinitionKind, type[RuleDefinition] | type[EventTypeDefinition]] = {
    DefinitionKind.RULE: RuleDefinition,
    DefinitionKind.EVENT_TYPE: EventTypeDefinition,
}
AT_ONCE = 20
"""So many definitions are compiled before others get their turn."""


class Design(CommandModel):
    """The part of a design that is ours. `prune`: what is not in it goes."""

    rules: Annotated[dict[Name, RuleDefinition], Field(max_length=5_000)] = {}
    event_types: Annotated[dict[Name, EventTypeDefinition], Field(max_length=5_000)] = {}
    prune: bool = False


class Trial(CommandModel):
    """A rule, or the name of one, and the event to try it on."""

    event: JsonObject
    rule: RuleDefinition | None = None
    name: Name | None = None
    process: JsonObject | None = None


class DefinitionDoor:
    def __init__(self, pipeline: Pipeline, database: Database, memory: Memory) -> None:
        self._pipeline = pipeline
        self._database = database
        self._memory = memory

    def routes(self) -> list[BaseRoute]:
        found: list[BaseRoute] = [
            Route("/v1/rules:test", self.test, methods=["POST"]),
            Route("/v1/rules:check", self.check, methods=["POST"]),
            Route("/v1/rules:apply", self.apply, methods=["POST"]),
            Route("/v1/rules/{name}/firings", self.firings, methods=["GET"]),
        ]
        for path in KINDS:
            found += [
                Route(f"/v1/{path}", self.listed, methods=["GET"]),
                Route(f"/v1/{path}/{{name}}", self.one, methods=["GET"]),
                Route(f"/v1/{path}/{{name}}", self.put, methods=["PUT"]),
                Route(f"/v1/{path}/{{name}}", self.delete, methods=["DELETE"]),
            ]
        return found

    async def _book(self, connection: Connection) -> Book:
        """As of now: a read after a write sees it, on every replica."""
        book = await read_book(connection, self._memory.book)
        self._memory.learn(book)
        return book

    async def firings(self, request: Request) -> Response:
        who, name, asked = caller(request), request.path_params["name"], page(request)
        result = request.query_params.get("result")
        before = asked.after_number()
        async with self._database.connection() as connection:
            if (who.tenant, DefinitionKind.RULE, name) not in (await self._book(connection)).definitions:
                raise ProblemError(not_found("rule", name))
            items = await reads.firings(
                connection, who.tenant, name, before=before, result=result, limit=asked.limit + 1
            )
            total = await reads.count_firings(connection, who.tenant, name, result) if asked.count else None
        more = len(items) > asked.limit
        items = items[: asked.limit]
        return listing(items, cursor(str(items[-1]["id"])) if more else None, total)

    async def listed(self, request: Request) -> Response:
        who, kind, asked = caller(request), _kind(request), page(request)
        async with self._database.connection() as connection:
            named = (await self._book(connection)).named(who.tenant, kind)
        rest = [each for each in named if asked.after is None or each.name > asked.after]
        shown = rest[: asked.limit]
        following = cursor(shown[-1].name) if len(rest) > len(shown) else None
        return listing([each.shown() for each in shown], following, len(named) if asked.count else None)

    async def one(self, request: Request) -> Response:
        who, kind, name = caller(request), _kind(request), request.path_params["name"]
        async with self._database.connection() as connection:
            found = (await self._book(connection)).get(who.tenant, kind, name)
        if found is None:
            raise ProblemError(not_found(kind.value.replace("_", " "), name))
        return json_response(found.shown(), headers={"etag": f'"{found.version}"'})

    async def put(self, request: Request) -> Response:
        who, kind, name = allowed(request, DESIGNERS), _kind(request), _name(request)
        definition, raw = await read(request, MODELS[kind])
        refuse(_errors(kind, name, definition))
        given = Define(kind, name, definition, who.if_match)
        return respond(await self._pipeline.submit(command(who, "define", given, raw, target=f"{kind}/{name}")))

    async def delete(self, request: Request) -> Response:
        who, kind, name = allowed(request, DESIGNERS), _kind(request), request.path_params["name"]
        given = Define(kind, name, None, who.if_match)
        return respond(await self._pipeline.submit(command(who, "undefine", given, b"", target=f"{kind}/{name}")))

    async def check(self, request: Request) -> Response:
        who = allowed(request, DESIGNERS)
        wanted, _ = await _design(request)
        async with self._database.connection() as connection:
            book = await self._book(connection)
            now = await connection.fetchval("SELECT clock_timestamp()")
        return json_response(plan(book, who.tenant, who.principal, wanted, now)[0])

    async def apply(self, request: Request) -> Response:
        who = allowed(request, DESIGNERS)
        wanted, raw = await _design(request)
        weight = max(1, len(wanted.changes))
        return respond(await self._pipeline.submit(command(who, "apply", wanted, raw, weight=weight)))

    async def test(self, request: Request) -> Response:
        who = allowed(request, DESIGNERS)
        wanted, _ = await read(request, Trial)
        if (wanted.rule is None) == (wanted.name is None):
            raise ProblemError(invalid("Give either a rule or the name of one.", [("/rule", "or /name, not both")]))
        async with self._database.connection() as connection:
            now = await connection.fetchval("SELECT clock_timestamp()")
            book = await self._book(connection)
        if wanted.rule is not None:
            refuse((f"/rule{place}", text) for place, text in definitions.rule_errors(wanted.rule))
            text = orjson.dumps(definitions.body_of(wanted.rule)).decode()
            rule = Definition(who.tenant, DefinitionKind.RULE, "(test)", 1, text, False, now, who.principal)
        else:
            found = book.get(who.tenant, DefinitionKind.RULE, wanted.name or "")
            if found is None:
                raise ProblemError(not_found("rule", wanted.name))
            rule = found
        return json_response(trial.run(rule, wanted.event, wanted.process, who.tenant, now))


def _kind(request: Request) -> DefinitionKind:
    return KINDS[request.url.path.split("/")[2]]


def _name(request: Request) -> str:
    """The name in the address; raises ProblemError where it can't be one."""
    name = str(request.path_params["name"])
    try:
        definitions.check_name(name)
    except ValueError as error:
        raise ProblemError(invalid(f"This can't be a name: {error}")) from None
    return name


def _errors(kind: DefinitionKind, name: str, definition: Any) -> list[tuple[str, str]]:
    if kind is DefinitionKind.RULE:
        return definitions.rule_errors(definition)
    return definitions.event_type_errors(name, definition)


async def _design(request: Request) -> tuple[Apply, bytes]:
    """Checked whole; raises ProblemError with all that is wrong in it. Compiling many lets others run in between."""
    content, raw = await read(request, Design)
    changes = [Define(DefinitionKind.RULE, name, definition) for name, definition in content.rules.items()]
    changes += [Define(DefinitionKind.EVENT_TYPE, name, definition) for name, definition in content.event_types.items()]
    part = {DefinitionKind.RULE: "rules", DefinitionKind.EVENT_TYPE: "event_types"}
    found: list[tuple[str, str]] = []
    for index, each in enumerate(changes):
        if index % AT_ONCE == AT_ONCE - 1:
            await asyncio.sleep(0)
        errors = _errors(each.kind, each.name, each.definition)
        found += [(pointer([part[each.kind], each.name]) + place, text) for place, text in errors]
    refuse(found)
    return Apply(changes, content.prune), raw
