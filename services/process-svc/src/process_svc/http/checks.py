"""GET /v1/fsck: what process-svc can say of its own tables."""

from kernel_runtime.database import Database
from kernel_runtime.http import json_response
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from process_svc import fsck


def routes(database: Database, public_key: bytes | None) -> list[BaseRoute]:
    async def check(_: Request) -> Response:
        async with database.connection() as connection:
            return json_response({"checks": await fsck.run(connection, public_key)})

    return [Route("/v1/fsck", check, methods=["GET"])]
