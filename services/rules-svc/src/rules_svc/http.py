"""The HTTP door: events in, definitions, and why something happened."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any

import orjson
from kernel_contracts.base import Command as CommandModel
from kernel_contracts.base import JsonObject, Name
from kernel_contracts.rules import EventTypeDefinition, RuleDefinition
from kernel_contracts.vocabulary import DefinitionKind, Role
from kernel_runtime.command import Cause
from kernel_runtime.database import Database
from kernel_runtime.http import Caller, body, caller, command, json_response, read, respond
from kernel_runtime.pipeline import Pipeline
from kernel_runtime.problem import Problem, ProblemError, invalid, not_found
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from rules_svc import cloudevents, definitions, fsck, trial
from rules_svc.book import Definition, Memory
from rules_svc.handlers.definitions import Apply, Define, plan
from rules_svc.paging import cursor, page
from rules_svc.received import Received, event_key
from rules_svc.store import reads
from rules_svc.store.batch import read_book

DESIGNERS = frozenset({Role.DESIGNER.value, Role.ADMIN.value})
PUBLISHERS = frozenset({Role.INTEGRATOR.value, Role.OPERATOR.value, Role.ADMIN.value})
MAX_BATCH = 1_000

KINDS = {"rules": DefinitionKind.RULE, "event-types": DefinitionKind.EVENT_TYPE}
MODELS: dict[DefinitionKind, type[RuleDefinition] | type[EventTypeDefinition]] = {
    DefinitionKind.RULE: RuleDefinition,
    DefinitionKind.EVENT_TYPE: EventTypeDefinition,
}


class Design(CommandModel):
    """The part of a design that is ours. `prune`: what is not in it goes."""

    rules: Annotated[dict[Name, RuleDefinition], Field(max_length=10_000)] = {}
    event_types: Annotated[dict[Name, EventTypeDefinition], Field(max_length=10_000)] = {}
    prune: bool = False


class Trial(CommandModel):
    """A rule, or the name of one, and the event to try it on."""

    event: JsonObject
    rule: RuleDefinition | None = None
    name: Name | None = None
    process: JsonObject | None = None


def routes(pipeline: Pipeline, database: Database, memory: Memory) -> list[BaseRoute]:
    """All of them."""
    door = Door(pipeline, database, memory)
    return [
        Route("/v1/events", door.publish, methods=["POST"]),
        Route("/v1/events", door.event, methods=["GET"]),
        Route("/v1/rules:test", door.test, methods=["POST"]),
        Route("/v1/rules:check", door.check, methods=["POST"]),
        Route("/v1/rules:apply", door.apply, methods=["POST"]),
        Route("/v1/rules/{name}/firings", door.firings, methods=["GET"]),
        *(
            route
            for path in KINDS
            for route in (
                Route(f"/v1/{path}", door.listed, methods=["GET"]),
                Route(f"/v1/{path}/{{name}}", door.one, methods=["GET"]),
                Route(f"/v1/{path}/{{name}}", door.put, methods=["PUT"]),
                Route(f"/v1/{path}/{{name}}", door.delete, methods=["DELETE"]),
            )
        ),
        Route("/v1/fsck", door.fsck, methods=["GET"]),
    ]


def allowed(request: Request, roles: frozenset[str]) -> Caller:
    """Who calls; raises ProblemError (403) where none of the roles is theirs."""
    who = caller(request)
    if not who.roles & roles:
        raise ProblemError(Problem(403, "Forbidden", f"This takes one of the roles {', '.join(sorted(roles))}."))
    return who


class Door:
    def __init__(self, pipeline: Pipeline, database: Database, memory: Memory) -> None:
        self._pipeline = pipeline
        self._database = database
        self._memory = memory

    async def publish(self, request: Request) -> Response:
        who = allowed(request, PUBLISHERS)
        raw = await body(request)
        events = _events(request, raw, who)
        given = command(who, "publish", events, raw, weight=len(events))
        return respond(await self._pipeline.submit(given))

    async def event(self, request: Request) -> Response:
        source, id = request.query_params.get("source"), request.query_params.get("id")
        if not source or not id:
            raise ProblemError(invalid("Name the event by its source and id, as in ?source=/shop&id=7."))
        who = caller(request)
        async with self._database.connection() as connection:
            found = await reads.event(connection, event_key(who.tenant, source, id))
        if found is None:
            raise ProblemError(not_found("event", f"{id} of {source}"))
        return json_response(found)

    async def firings(self, request: Request) -> Response:
        who, name, asked = caller(request), request.path_params["name"], page(request)
        result = request.query_params.get("result")
        if asked.after is not None and not asked.after.isdigit():
            raise ProblemError(invalid("cursor must be one that a list gave as next."))
        async with self._database.connection() as connection:
            known = (await read_book(connection, self._memory.book)).definitions
            if (who.tenant, DefinitionKind.RULE, name) not in known:
                raise ProblemError(not_found("rule", name))
            before = None if asked.after is None else int(asked.after)
            items = await reads.firings(
                connection, who.tenant, name, before=before, result=result, limit=asked.limit + 1
            )
            total = await reads.count_firings(connection, who.tenant, name, result) if asked.count else None
        more = len(items) > asked.limit
        items = items[: asked.limit]
        return _list(items, cursor(str(items[-1]["id"])) if more else None, total)

    async def listed(self, request: Request) -> Response:
        who, kind, asked = caller(request), _kind(request), page(request)
        async with self._database.connection() as connection:
            named = (await read_book(connection, self._memory.book)).named(who.tenant, kind)
        rest = [each for each in named if asked.after is None or each.name > asked.after]
        shown = rest[: asked.limit]
        following = cursor(shown[-1].name) if len(rest) > len(shown) else None
        return _list([each.shown() for each in shown], following, len(named) if asked.count else None)

    async def one(self, request: Request) -> Response:
        who, kind, name = caller(request), _kind(request), request.path_params["name"]
        async with self._database.connection() as connection:
            found = (await read_book(connection, self._memory.book)).get(who.tenant, kind, name)
        if found is None:
            raise ProblemError(not_found(kind.value.replace("_", " "), name))
        return json_response(found.shown(), headers={"etag": f'"{found.version}"'})

    async def put(self, request: Request) -> Response:
        who, kind = allowed(request, DESIGNERS), _kind(request)
        name = _name(request)
        definition, raw = await read(request, MODELS[kind])
        _refuse(_errors(kind, name, definition))
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
            book = await read_book(connection, self._memory.book)
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
            book = await read_book(connection, self._memory.book)
        if wanted.rule is not None:
            _refuse((f"/rule{pointer}", text) for pointer, text in _errors(DefinitionKind.RULE, "test", wanted.rule))
            text = orjson.dumps(definitions.body_of(wanted.rule)).decode()
            rule = Definition(who.tenant, DefinitionKind.RULE, "(test)", 1, text, False, now, who.principal)
        else:
            found = book.get(who.tenant, DefinitionKind.RULE, wanted.name or "")
            if found is None:
                raise ProblemError(not_found("rule", wanted.name))
            rule = found
        return json_response(trial.run(rule, wanted.event, wanted.process, who.tenant, now))

    async def fsck(self, _: Request) -> Response:
        async with self._database.connection() as connection:
            return json_response(await fsck.checks(connection))


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


def _refuse(errors: Iterable[tuple[str, str]]) -> None:
    found = list(errors)[:50]
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise ProblemError(invalid(f"{found[0][0] or 'body'}: {found[0][1]}{more}", found))


async def _design(request: Request) -> tuple[Apply, bytes]:
    content, raw = await read(request, Design)
    changes = [Define(DefinitionKind.RULE, name, definition) for name, definition in content.rules.items()]
    changes += [Define(DefinitionKind.EVENT_TYPE, name, definition) for name, definition in content.event_types.items()]
    part = {DefinitionKind.RULE: "rules", DefinitionKind.EVENT_TYPE: "event_types"}
    _refuse(
        (f"/{part[each.kind]}/{each.name}{pointer}", text)
        for each in changes
        for pointer, text in _errors(each.kind, each.name, each.definition)
    )
    return Apply(changes, content.prune), raw


def _events(request: Request, raw: bytes, who: Caller) -> list[Received]:
    """The events of a request in whichever of the three modes; raises ProblemError with pointers."""
    media = request.headers.get("content-type", "").split(";")[0].strip().lower()
    try:
        if media == cloudevents.BATCH:
            return _batch(cloudevents.parse_json(raw), who)
        if "ce-specversion" in request.headers or "ce-id" in request.headers:
            headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw]
            return [_event(cloudevents.from_binary(headers, raw), who.tenant, who.cause)]
        content = cloudevents.parse_json(raw)
    except cloudevents.InvalidEventError as error:
        raise ProblemError(_invalid_event(error)) from None
    if isinstance(content, list):
        return _batch(content, who)
    return [_guarded(_event, content, who.tenant, who.cause)]


def _batch(content: Any, who: Caller) -> list[Received]:
    if not isinstance(content, list) or not 1 <= len(content) <= MAX_BATCH:
        raise ProblemError(invalid(f"A batch is an array of 1 to {MAX_BATCH:,} events."))
    events, errors = [], []
    for index, item in enumerate(content):
        try:
            events.append(_event(item, who.tenant, who.cause))
        except cloudevents.InvalidEventError as error:
            errors += [(f"/{index}{pointer}", text) for pointer, text in error.errors]
    _refuse(errors)
    return events


def _guarded(make: Callable[[Any, str, Cause], Received], content: Any, tenant: str, cause: Cause) -> Received:
    try:
        return make(content, tenant, cause)
    except cloudevents.InvalidEventError as error:
        raise ProblemError(_invalid_event(error)) from None


def _event(content: Any, tenant: str, cause: Cause) -> Received:
    if not isinstance(content, dict):
        raise cloudevents.InvalidEventError([("", "an event is a JSON object")])
    errors = cloudevents.find_errors(content) + cloudevents.reserved(content)
    if len(orjson.dumps(content.get("data"))) > cloudevents.MAX_DATA:
        errors.append(("/data", f"an event's data may have {cloudevents.MAX_DATA:,} bytes at most"))
    if errors:
        raise cloudevents.InvalidEventError(errors)
    return cloudevents.from_outside(content, tenant, cause)


def _invalid_event(error: cloudevents.InvalidEventError) -> Problem:
    return invalid(f"Not a CloudEvent that can be taken: {error}", error.errors)


def _list(items: list[dict[str, Any]], following: str | None, total: int | None) -> Response:
    shown: dict[str, Any] = {"items": items, "next": following}
    if total is not None:
        shown["total"] = total
    return json_response(shown)
