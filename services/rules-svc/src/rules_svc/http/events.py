"""Events in, and what became of them."""

from kernel_runtime.database import Database
from kernel_runtime.http import body, caller, command, json_response, respond
from kernel_runtime.pipeline import Pipeline
from kernel_runtime.problem import ProblemError, invalid, not_found
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from rules_svc import fsck
from rules_svc.http.answers import PUBLISHERS, allowed
from rules_svc.http.intake import read_events
from rules_svc.received import event_key
from rules_svc.store import reads


class EventDoor:
    def __init__(self, pipeline: Pipeline, database: Database) -> None:
        self._pipeline = pipeline
        self._database = database

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/v1/events", self.publish, methods=["POST"]),
            Route("/v1/events", self.event, methods=["GET"]),
            Route("/v1/fsck", self.fsck, methods=["GET"]),
        ]

    async def publish(self, request: Request) -> Response:
        who = allowed(request, PUBLISHERS)
        raw = await body(request)
        events = read_events(request, raw, who)
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

    async def fsck(self, _: Request) -> Response:
        async with self._database.connection() as connection:
            return json_response(await fsck.checks(connection))
