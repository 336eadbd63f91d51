"""Creating processes and commanding them."""

from typing import Any

import orjson
from kernel_contracts.process import CreateProcess, PatchContext
from kernel_contracts.vocabulary import CommandName
from kernel_runtime.http import body, caller, command, path_int, read, respond
from kernel_runtime.pipeline import Pipeline
from kernel_runtime.problem import Problem, ProblemError, invalid, not_found, validation_problem
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from process_svc.handlers.bodies import Batch
from process_svc.handlers.commands import NAMED

MAX_ITEMS = 1_000
MAX_PREDECESSORS = 20_000
"""Of all items together: each is locked."""
_BY_PATH = {name.value: model for name, model in NAMED.items() if name is not CommandName.SET_CONTEXT}


def routes(pipeline: Pipeline) -> list[BaseRoute]:
    async def create(request: Request) -> Response:
        content, raw = await read(request, CreateProcess)
        return respond(await pipeline.submit(command(caller(request), "create", content, raw)))

    async def create_batch(request: Request) -> Response:
        raw = await body(request)
        items = [("create", valid(CreateProcess, item)) for item in items_of(raw)]
        if sum(len(body.after) for _, body in items if isinstance(body, CreateProcess)) > MAX_PREDECESSORS:
            raise ProblemError(invalid(f"A batch may name {MAX_PREDECESSORS:,} predecessors: send smaller ones."))
        sent = command(caller(request), "create_batch", Batch(items), raw, weight=len(items))
        return respond(await pipeline.submit(sent))

    async def commands_batch(request: Request) -> Response:
        raw = await body(request)
        items = [_named(item) for item in items_of(raw)]
        sent = command(caller(request), "commands_batch", Batch(items), raw, weight=len(items))
        return respond(await pipeline.submit(sent))

    async def one(request: Request) -> Response:
        name = request.path_params["command"]
        model = _BY_PATH.get(name)
        if model is None:
            raise ProblemError(not_found("command", name))
        who = caller(request)
        pid = pid_of(request)
        content, raw = await read(request, model, pid=pid, **expected(who.if_match))
        return respond(await pipeline.submit(command(who, name, content, raw, target=f"{pid}|{who.if_match}")))

    async def patch_context(request: Request) -> Response:
        who = caller(request)
        pid, raw = pid_of(request), await body(request)
        content = valid(PatchContext, {"pid": pid, "patch": _object(raw), **expected(who.if_match)})
        if isinstance(content, Problem):
            raise ProblemError(content)
        return respond(await pipeline.submit(command(who, "set_context", content, raw, target=f"{pid}|{who.if_match}")))

    return [
        Route("/v1/processes", create, methods=["POST"]),
        Route("/v1/processes:batch", create_batch, methods=["POST"]),
        Route("/v1/processes:commands", commands_batch, methods=["POST"]),
        Route("/v1/processes/{pid}/context", patch_context, methods=["PATCH"]),
        Route("/v1/processes/{pid}/{command}", one, methods=["POST"]),
    ]


def pid_of(request: Request) -> int:
    pid = path_int(request, "pid", "process")
    if pid < 1:
        raise ProblemError(not_found("process", pid))
    return pid


def expected(version: int | None) -> dict[str, int]:
    return {} if version is None else {"expected_version": version}


def _object(raw: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ProblemError(Problem(400, "Malformed JSON", f"The body is not JSON that we read: {error}")) from None
    if not isinstance(value, dict):
        raise ProblemError(invalid("The body must be a JSON object."))
    return value


def items_of(raw: bytes) -> list[Any]:
    items = _object(raw).get("items")
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_ITEMS:
        raise ProblemError(invalid(f"`items` must be a list of 1 to {MAX_ITEMS:,}.", [("/items", "is required")]))
    return items


def valid(model: type[BaseModel], item: Any) -> Any:
    try:
        return model.model_validate(item)
    except ValidationError as error:
        return validation_problem(error, item)


def _named(item: Any) -> tuple[str, Any]:
    if not isinstance(item, dict):
        return "", invalid("An item must be a JSON object with pid and command.")
    name = item.get("command")
    model = _BY_PATH.get(name) if isinstance(name, str) else None
    if model is None:
        return "", invalid(f"There is no command {name!r}. Known: {', '.join(_BY_PATH)}.", [("/command", "is unknown")])
    return str(name), valid(model, {key: value for key, value in item.items() if key != "command"})
