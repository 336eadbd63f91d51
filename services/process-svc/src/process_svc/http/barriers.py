"""Barriers: arriving, and who has arrived."""

from kernel_contracts.process import ArriveAtBarrier
from kernel_runtime.database import Database
from kernel_runtime.http import caller, command, read, respond
from kernel_runtime.pipeline import Pipeline
from kernel_runtime.problem import ProblemError, not_found
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from process_svc.http import query
from process_svc.store import barriers as store


def routes(database: Database, pipeline: Pipeline) -> list[BaseRoute]:
    async def arrive(request: Request) -> Response:
        """The PCB after it."""
        name = query.named(request, "name", "barrier")
        content, raw = await read(request, ArriveAtBarrier, name=name)
        return respond(
            await pipeline.submit(command(caller(request), "arrive", content, raw, target=f"barrier/{name}"))
        )

    async def one(request: Request) -> Response:
        name = query.named(request, "name", "barrier")
        kind, id = (request.query_params.get(param, "") for param in ("entity_type", "entity_id"))
        if bool(kind) != bool(id):
            raise query.wrong("entity_id" if kind else "entity_type", "is missing: an entity has a type and an id")
        async with database.connection() as connection:
            found = (
                await store.one(connection, (caller(request).tenant, kind, id, name))
                if "\x00" not in kind + id
                else None
            )
        if found is None:
            raise ProblemError(not_found("barrier", name if not kind else f"{name} of {kind} {id}"))
        barrier, members = found
        return query.reply(
            {
                "name": name,
                "entity": {"type": kind, "id": id} if kind else None,
                "parties": barrier["parties"],
                "round": barrier["round"],
                "arrived": [{"pid": each["pid"], "at": each["at"]} for each in members],
            }
        )

    return [
        Route("/v1/barriers/{name}/arrive", arrive, methods=["POST"]),
        Route("/v1/barriers/{name}", one, methods=["GET"]),
    ]
