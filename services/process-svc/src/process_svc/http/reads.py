"""Reading processes: the list, one, its history, snapshots and family."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from kernel_contracts.vocabulary import ProcessState
from kernel_runtime.database import Connection, Database
from kernel_runtime.http import caller, path_int
from kernel_runtime.problem import Problem, ProblemError, not_found
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from process_svc import wire
from process_svc.domain.difference import difference
from process_svc.domain.process import Process
from process_svc.http import query
from process_svc.http.query import reply
from process_svc.store import entities, histories, partitions, queries, search

GENERATIONS = 100
"""Of a family, in its tree: JSON that nests deeper is read by few."""


def routes(database: Database, tree_limit: int) -> list[BaseRoute]:
    async def listed(request: Request) -> Response:
        found = query.filters(request, caller(request).tenant)
        (limit, order), counted, chosen = query.paging(request), query.counted(request), query.chosen(request)
        async with search.searching(database) as connection:
            search.ordered(found, order)
            await search.resolve(connection, found)
            page = await search.page(connection, found, order, limit + 1)
            total, more = await search.count(connection, found) if counted else (None, False)
        following = search.encode_cursor(page[limit - 1], order.sort) if len(page) > limit else None
        return query.part([chosen(wire.pcb(process)) for process in page[:limit]], following, total, more=more)

    async def one(request: Request) -> Response:
        chosen = query.chosen(request)
        process = await _at_least(database, request)
        if process.state is ProcessState.NEW and process.entity_type is not None:
            async with database.connection() as connection:
                process = process.but(ahead=await entities.ahead(connection, process))
        return query.reply(chosen(wire.pcb(process)), {"etag": f'"{process.version}"'})

    async def history(request: Request) -> Response:
        limit, after, wanted = query.limit(request), query.position(request), _wanted(request)
        async with database.connection() as connection:
            process = await known(connection, request)
            rows = await histories.journal(connection, process.pid, after, limit + 1, wanted)
            if not rows and after == 0:
                await _refuse_dropped(connection, process.pid)
            total = await histories.count(connection, process.pid, wanted) if query.counted(request) else None
        following = str(rows[limit - 1]["version"]) if len(rows) > limit else None
        return query.part(rows[:limit], following, total)

    async def snapshots(request: Request) -> Response:
        limit, after = query.limit(request), query.position(request)
        at = request.query_params.get("at")
        moment = None if at is None else query.time("at", at)
        async with database.connection() as connection:
            process = await known(connection, request)
            found = await histories.chain(connection, process.pid)
            if not found:
                await _refuse_dropped(connection, process.pid)
            if moment is not None:
                after = max((each["version"] for each in found if each["at"] <= moment), default=0) - 1
                limit = 1 if after >= 0 else 0
            page = [each for each in found if each["version"] > after][: limit + 1]
            contexts = await histories.contexts(connection, process.pid, [each["version"] for each in page[:limit]])
        broken = _broken(found)
        items = [_snapshot(each, contexts[each["version"]], broken) for each in page[:limit]]
        following = str(page[limit - 1]["version"]) if len(page) > limit and moment is None else None
        return query.part(items, following, len(found) if query.counted(request) else None)

    async def snapshot(request: Request) -> Response:
        version = path_int(request, "version", "snapshot")
        against = request.query_params.get("against")
        other = None if against is None else query.number("against", against)
        async with database.connection() as connection:
            process = await known(connection, request)
            found = await histories.chain(connection, process.pid)
            if not found:
                await _refuse_dropped(connection, process.pid)
            here = _valid_at(found, version, process)
            there = here if other is None else _valid_at(found, other, process)
            contexts = await histories.contexts(connection, process.pid, [here["version"], there["version"]])
        after = contexts[here["version"]]
        if other is None:
            return reply(_snapshot(here, after, _broken(found)))
        return reply(difference(orjson.loads(contexts[there["version"]]), orjson.loads(after)))

    async def tree(request: Request) -> Response:
        async with database.connection() as connection:
            process = await known(connection, request)
            members = await queries.family(connection, process.tenant, process.root, tree_limit + 1)
            shown, there = _nested(process.root, members[:tree_limit])
            truncated = len(there) < len(members)
            if process.pid not in there:
                below = await queries.descendants(connection, process.tenant, process.pid, GENERATIONS, tree_limit)
                shown, _ = _nested(process.pid, below)
        return reply(shown | {"truncated": truncated})

    return [
        Route("/v1/processes", listed, methods=["GET"]),
        Route("/v1/processes/{pid}", one, methods=["GET"]),
        Route("/v1/processes/{pid}/history", history, methods=["GET"]),
        Route("/v1/processes/{pid}/snapshots", snapshots, methods=["GET"]),
        Route("/v1/processes/{pid}/snapshots/{version}", snapshot, methods=["GET"]),
        Route("/v1/processes/{pid}/tree", tree, methods=["GET"]),
    ]


def _wanted(request: Request) -> histories.Of:
    """The filters of a history."""
    given = request.query_params
    for name, value in given.multi_items():
        if name not in (*_OF, "limit", "cursor", "count"):
            raise query.wrong(name, f"is not a filter of a history; there are {', '.join(_OF)}")
        if "\x00" in value:
            raise query.wrong(name, "the character U+0000 can't be searched for")
    since, until = (query.time(name, given[name]) if name in given else None for name in ("from", "to"))
    return histories.Of(given.get("command"), given.get("type"), given.get("by"), given.get("operator"), since, until)


_OF = ("command", "type", "by", "operator", "from", "to")


async def known(connection: Connection, request: Request) -> Process:
    """The process in the address; raises ProblemError(404)."""
    pid = path_int(request, "pid", "process")
    process = await queries.one(connection, caller(request).tenant, pid)
    if process is None:
        raise ProblemError(not_found("process", pid))
    return process


async def _refuse_dropped(connection: Connection, pid: int) -> None:
    if (at := await partitions.dropped_at(connection, pid)) is not None:
        raise ProblemError(
            Problem(
                410,
                "Gone",
                f"The history of process {pid} was dropped at {at.isoformat()}: it need not be kept longer.",
            )
        )


async def _at_least(database: Database, request: Request) -> Process:
    """Once it has `min_version`, where that is asked for: what a client was told of, it reads. 412 where it does not come."""
    text = request.query_params.get("min_version")
    wanted = 0 if text is None else query.number("min_version", text)
    for pause in (*_PAUSES, None):
        async with database.connection() as connection:
            process = await known(connection, request)
        if process.version >= wanted:
            return process
        if pause is not None:
            await asyncio.sleep(pause)
    raise ProblemError(
        Problem(
            412,
            "Version is not there yet",
            f"Process {process.pid} is at version {process.version}, not {wanted} yet. Try again in a moment.",
            headers={"retry-after": "1"},
            extra={"version": process.version},
        )
    )


_PAUSES = (0.01, 0.02, 0.03, 0.05, *[0.1] * 19)
"""Seconds between looks: two in all."""


def _valid_at(rows: Sequence[Any], version: int, process: Process) -> Any:
    before = [row for row in rows if row["version"] <= version]
    if not before or version > process.version:
        raise ProblemError(not_found("version", f"{version} of process {process.pid}"))
    return before[-1]


def _broken(rows: Sequence[Any]) -> int | None:
    """The first version that does not verify."""
    return next((row["version"] for row in rows if not row["verified"]), None)


def _snapshot(row: Any, context: str, broken: int | None) -> dict[str, Any]:
    first = not any(row["previous_hash"])
    return {
        "version": row["version"],
        "at": row["at"],
        "context": orjson.Fragment(context),
        "hash": row["hash"].hex(),
        "previous_hash": None if first else row["previous_hash"].hex(),
        "verified": broken is None or row["version"] < broken,
    }


def _nested(root: int, members: Sequence[Process]) -> tuple[dict[str, Any], Mapping[int, int]]:
    """`root` with its children and theirs, `GENERATIONS` of them at most; pid -> generation of those in it."""
    nodes: dict[int, dict[str, Any]] = {}
    generation: dict[int, int] = {}
    for process in members:
        above = 0 if process.pid == root else generation.get(process.parent or 0, GENERATIONS)
        if above < GENERATIONS:
            generation[process.pid] = above + 1
            nodes[process.pid] = {**wire.pcb(process), "context": None, "children": []}
            if above:
                nodes[process.parent or 0]["children"].append(nodes[process.pid])
    return nodes[root], generation
