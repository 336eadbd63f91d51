"""Work by programs: claiming by long poll, heartbeats, answers by token, and who holds what."""

from functools import partial
from typing import Any

import orjson
from kernel_contracts.process import CompleteProcess, FailProcess, ReleaseProcess, TokenCommand
from kernel_contracts.vocabulary import Role
from kernel_contracts.work import ClaimWork, Heartbeat, WorkAnswer
from kernel_runtime import inbox
from kernel_runtime.command import Answer, Command, Result
from kernel_runtime.database import Database
from kernel_runtime.http import Caller, body, caller, command, read, respond
from kernel_runtime.pipeline import Pipeline
from kernel_runtime.problem import Problem, ProblemError, invalid, not_found
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from process_svc.desk import Desk
from process_svc.handlers.answers import forbidden
from process_svc.handlers.bodies import Batch, Beats
from process_svc.http import query
from process_svc.http.commands import expected, items_of, pid_of, valid
from process_svc.lines import Waiter
from process_svc.store import leases as store
from process_svc.store.leases import Asked

_WORKERS = frozenset({Role.ADMIN.value, Role.INTEGRATOR.value})
_BY_PATH: dict[str, type[TokenCommand]] = {
    "complete": CompleteProcess,
    "fail": FailProcess,
    "release": ReleaseProcess,
}


def routes(database: Database, pipeline: Pipeline, desk: Desk) -> list[BaseRoute]:
    async def claim(request: Request) -> Response:
        who = caller(request)
        asked, raw = await read(request, ClaimWork)
        if not who.roles & _WORKERS:
            raise ProblemError(forbidden("claim work"))
        seconds = None if asked.lease is None else asked.lease.total_seconds()
        waiter = Waiter(_asked(request, who, asked), asked.worker, who.principal, asked.max, seconds)
        sent = command(who, "claim", asked, raw)
        if sent.fingerprint is not None and (known := await _known(sent)) is not None:
            return respond(known)
        found = await desk.claim(waiter, asked.wait.total_seconds(), partial(_gone, request))
        answer = Answer(200, orjson.dumps({"items": found}, option=orjson.OPT_UTC_Z))
        if sent.fingerprint is None:
            return respond(answer)
        try:
            async with database.connection() as connection:
                await inbox.remember(connection, {sent: answer})
            return respond(answer)
        except inbox.AlreadyDoneError:  # the same claim came twice at once
            await desk.put_back(found)
            return respond(await _known(sent) or answer)

    async def _known(sent: Command) -> Result | None:
        async with database.connection() as connection:
            return (await inbox.look_up(connection, [sent])).get(sent.id)

    async def heartbeat(request: Request) -> Response:
        pid = pid_of(request)
        beat, raw = await read(request, Heartbeat, pid=pid)
        sent = command(caller(request), "heartbeat", Beats([beat], single=True), raw, target=pid)
        return respond(await pipeline.submit(sent))

    async def heartbeats(request: Request) -> Response:
        raw = await body(request)
        beats = [valid(Heartbeat, item) for item in items_of(raw)]
        return respond(
            await pipeline.submit(command(caller(request), "heartbeat", Beats(beats), raw, weight=len(beats)))
        )

    async def answer(request: Request) -> Response:
        name, pid = request.path_params["command"], pid_of(request)
        model = _BY_PATH.get(name)
        if model is None:
            raise ProblemError(not_found("command", name))
        who = caller(request)
        content, raw = await read(request, model, pid=pid, **expected(who.if_match))
        if content.token is None:
            raise ProblemError(invalid("Say the token that the claim gave.", [("/token", "is required")]))
        return respond(await pipeline.submit(command(who, name, content, raw, target=f"{pid}|{who.if_match}|work")))

    async def answers(request: Request) -> Response:
        raw = await body(request)
        items = [_answered(valid(WorkAnswer, item)) for item in items_of(raw)]
        sent = command(caller(request), "commands_batch", Batch(items), raw, target="work", weight=len(items))
        return respond(await pipeline.submit(sent))

    async def listed(request: Request) -> Response:
        limit, tenant = query.limit(request), caller(request).tenant
        service, worker, cursor = (request.query_params.get(name) for name in ("service", "worker", "cursor"))
        if "\x00" in f"{service}{worker}":
            raise query.wrong("service", "the character U+0000 can't be searched for")
        after = 0 if cursor is None else query.number("cursor", cursor)
        async with database.connection() as connection:
            found = await store.page(connection, tenant, service, worker, after, limit + 1)
        return query.part(found[:limit], str(found[limit - 1]["pid"]) if len(found) > limit else None, None)

    async def one(request: Request) -> Response:
        pid = pid_of(request)
        async with database.connection() as connection:
            found = await store.one(connection, caller(request).tenant, pid)
        if found is None:
            raise ProblemError(not_found("lease of process", pid))
        return query.reply(found)

    return [
        Route("/v1/work:claim", claim, methods=["POST"]),
        Route("/v1/work:complete", answers, methods=["POST"]),
        Route("/v1/work:heartbeat", heartbeats, methods=["POST"]),
        Route("/v1/work", listed, methods=["GET"]),
        Route("/v1/work/{pid}", one, methods=["GET"]),
        Route("/v1/work/{pid}/heartbeat", heartbeat, methods=["POST"]),
        Route("/v1/work/{pid}/{command}", answer, methods=["POST"]),
    ]


def _asked(request: Request, who: Caller, asked: ClaimWork) -> Asked:
    """A program that is an operator's takes what that operator's roles allow; the gateway names them."""
    roles = request.query_params.get("roles")
    told = None if roles is None else tuple(sorted({role for role in roles.split(",") if role and "\x00" not in role}))
    return Asked(who.tenant, tuple(sorted(set(asked.services))), told, who.operator if told is not None else None)


async def _gone(request: Request) -> None:
    """When the client has gone away."""
    await request.receive()  # the body was read: there is nothing else that could come


def _answered(item: WorkAnswer | Problem) -> tuple[str, Any]:
    if isinstance(item, Problem):
        return "", item
    said: dict[str, Any] = {"pid": item.pid, "token": item.token, "reason": item.reason}
    if item.error is not None:
        return "fail", FailProcess(**said, error=item.error)
    if item.release:
        return "release", ReleaseProcess(**said)
    return "complete", CompleteProcess(**said, output=item.output or {})
