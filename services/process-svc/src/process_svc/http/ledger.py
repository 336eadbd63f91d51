"""The ledger: whether chains verify, and the signed checkpoints."""

from typing import Any

import orjson
from kernel_runtime.database import Database
from kernel_runtime.http import caller, path_int
from kernel_runtime.problem import ProblemError, not_found
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from process_svc.http import query
from process_svc.http.reads import known
from process_svc.store import chains, checkpoints
from process_svc.store.checkpoints import Checkpoint


def routes(database: Database) -> list[BaseRoute]:
    async def one(request: Request) -> Response:
        async with database.connection() as connection:
            process = await known(connection, request)
            broken = await chains.first_broken(connection, [process.pid])
            found = await chains.extent(connection, process.pid)
        head = None if process.journal_hash is None else process.journal_hash.hex()
        return query.reply(
            {"pid": process.pid, "ok": not broken, "broken": broken[0] if broken else None, "head": head, **found}
        )

    async def all_of_tenant(request: Request) -> Response:
        """A part of the tenant's processes, by pid, from behind the cursor."""
        tenant, limit = caller(request).tenant, query.limit(request)
        after = query.number("cursor", request.query_params.get("cursor", "0"))
        async with database.connection() as connection:
            pids = await chains.pids_after(connection, tenant, after, limit + 1)
            more = len(pids) > limit
            part = pids[:limit]
            broken = await chains.first_broken(connection, part)
            broken += await chains.vanished(connection, tenant, after, part[-1] if more else None)
        broken.sort(key=lambda each: int(each["pid"]))
        following = str(part[-1]) if more else None
        return query.reply({"checked": len(part), "broken": broken, "ok": not broken, "next": following})

    async def listed(request: Request) -> Response:
        tenant, limit = caller(request).tenant, query.limit(request)
        after = query.number("cursor", request.query_params.get("cursor", "0"))
        async with database.connection() as connection:
            found = await checkpoints.page(connection, tenant, after, limit + 1)
            total = await checkpoints.count(connection, tenant) if query.counted(request) else None
        following = str(found[limit - 1].number) if len(found) > limit else None
        return query.part([told(each) for each in found[:limit]], following, total)

    async def checkpoint(request: Request) -> Response:
        return query.reply(told(await _checkpoint(request, database)))

    async def heads(request: Request) -> Response:
        limit = query.limit(request)
        after = query.number("cursor", request.query_params.get("cursor", "0"))
        which = await _checkpoint(request, database)
        async with database.connection() as connection:
            found = await checkpoints.heads(connection, which.tenant, which.number, after, limit + 1)
        following = str(found[limit - 1]["pid"]) if len(found) > limit else None
        items = [{**each, "hash": each["hash"].hex()} for each in found[:limit]]
        return query.part(items, following, None)

    return [
        Route("/v1/processes/{pid}/verify", one, methods=["GET"]),
        Route("/v1/verify", all_of_tenant, methods=["POST"]),
        Route("/v1/checkpoints", listed, methods=["GET"]),
        Route("/v1/checkpoints/{number}", checkpoint, methods=["GET"]),
        Route("/v1/checkpoints/{number}/heads", heads, methods=["GET"]),
    ]


def told(checkpoint: Checkpoint) -> dict[str, Any]:
    """As the public face has it; all that it takes to verify it is in it."""
    content = orjson.loads(checkpoint.statement)
    return {
        "tenant": checkpoint.tenant,
        "number": checkpoint.number,
        "at": content["at"],
        "upto": content["upto"],
        "count": content["count"],
        "digest": content["digest"],
        "previous_hash": content["previous"],
        "hash": checkpoint.hash.hex(),
        "statement": checkpoint.statement,
        "signature": checkpoint.signature.hex(),
        "public_key": checkpoint.public_key.hex(),
    }


async def _checkpoint(request: Request, database: Database) -> Checkpoint:
    number = path_int(request, "number", "checkpoint")
    async with database.connection() as connection:
        found = await checkpoints.one(connection, caller(request).tenant, number)
    if found is None:
        raise ProblemError(not_found("checkpoint", number))
    return found
