"""Reading processes: the list, one, its history, snapshots and tree."""

from typing import Any

import orjson
from kernel_runtime.database import Database
from kernel_runtime.http import caller, path_int
from kernel_runtime.problem import ProblemError, not_found
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from process_svc import wire
from process_svc.domain.difference import difference
from process_svc.domain.process import Process
from process_svc.domain.snapshots import Snapshot, first_broken
from process_svc.http import query
from process_svc.store import queries

TREE = 10_000


def reply(value: Any, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(value, option=orjson.OPT_UTC_Z), headers=headers, media_type="application/json")


def routes(database: Database) -> list[BaseRoute]:
    async def known(connection: Any, request: Request) -> Process:
        pid = path_int(request, "pid", "process")
        process = await queries.one(connection, caller(request).tenant, pid)
        if process is None:
            raise ProblemError(not_found("process", pid))
        return process

    async def listed(request: Request) -> Response:
        found = query.filters(request, caller(request).tenant)
        limit, sort, descending, cursor = query.paging(request)
        counted = query.boolean("count", request.query_params.get("count", "false"))
        async with database.connection() as connection:
            page = await queries.page(connection, found, sort, descending, cursor, limit + 1)
            total = await queries.count(connection, found) if counted else None
        more = len(page) > limit
        answer: dict[str, Any] = {
            "items": [wire.pcb(process) for process in page[:limit]],
            "next": queries.encode_cursor(page[limit - 1], sort) if more else None,
        }
        return reply(answer if total is None else answer | {"total": total})

    async def one(request: Request) -> Response:
        async with database.connection() as connection:
            process = await known(connection, request)
        return Response(wire.pcb_json(process), headers={"etag": f'"{process.version}"'}, media_type="application/json")

    async def history(request: Request) -> Response:
        async with database.connection() as connection:
            process = await known(connection, request)
            items = await queries.history(connection, process.pid)
        return reply({"items": items, "next": None})

    async def snapshots(request: Request) -> Response:
        async with database.connection() as connection:
            process = await known(connection, request)
            rows = await queries.snapshots(connection, process.pid)
        broken = _broken(rows)
        return reply({"items": [_snapshot(row, broken) for row in rows], "next": None})

    async def snapshot(request: Request) -> Response:
        version = path_int(request, "version", "snapshot")
        against = request.query_params.get("against")
        async with database.connection() as connection:
            process = await known(connection, request)
            rows = await queries.snapshots(connection, process.pid)
        found = _valid_at(rows, version, process)
        if against is None:
            return reply(_snapshot(found, _broken(rows)))
        other = _valid_at(rows, query.number("against", against), process)
        return reply(difference(orjson.loads(other["context"]), orjson.loads(found["context"])))

    async def tree(request: Request) -> Response:
        async with database.connection() as connection:
            process = await known(connection, request)
            members = await queries.family(connection, process.tenant, process.pid, TREE)
        return reply(_nested(process.pid, members))

    return [
        Route("/v1/processes", listed, methods=["GET"]),
        Route("/v1/processes/{pid}", one, methods=["GET"]),
        Route("/v1/processes/{pid}/history", history, methods=["GET"]),
        Route("/v1/processes/{pid}/snapshots", snapshots, methods=["GET"]),
        Route("/v1/processes/{pid}/snapshots/{version}", snapshot, methods=["GET"]),
        Route("/v1/processes/{pid}/tree", tree, methods=["GET"]),
    ]


def _valid_at(rows: list[Any], version: int, process: Process) -> Any:
    before = [row for row in rows if row["version"] <= version]
    if not before or version > process.version:
        raise ProblemError(not_found("snapshot", f"of process {process.pid} at version {version}"))
    return before[-1]


def _broken(rows: list[Any]) -> int | None:
    return first_broken(
        Snapshot(row["pid"], row["version"], row["context"], row["hash"], row["previous_hash"]) for row in rows
    )


def _snapshot(row: Any, broken: int | None) -> dict[str, Any]:
    return {
        "version": row["version"],
        "at": row["at"],
        "context": orjson.Fragment(row["context"]),
        "hash": row["hash"].hex(),
        "previous_hash": row["previous_hash"].hex(),
        "verified": broken is None or row["version"] < broken,
    }


def _nested(root: int, members: list[Process]) -> dict[str, Any]:
    nodes = {process.pid: wire.pcb(process) | {"children": []} for process in members}
    for process in members:
        if process.pid != root and process.parent in nodes:
            nodes[process.parent]["children"].append(nodes[process.pid])
    return nodes[root]
