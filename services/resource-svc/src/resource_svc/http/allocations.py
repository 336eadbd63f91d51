"""Who holds what, now and before."""

from typing import Annotated

from kernel_runtime.database import Database
from kernel_runtime.http import caller
from kernel_runtime.problem import ProblemError, invalid
from pydantic import Field, TypeAdapter
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from resource_svc.http.paging import answer, flag, page, time_of
from resource_svc.store import reads

PLACE = TypeAdapter(tuple[Annotated[int, Field(ge=0, lt=2**63)], Annotated[int, Field(ge=0, lt=2**63)]])
"""A resource's number and one of its versions."""


def routes(database: Database) -> list[BaseRoute]:
    async def listed(request: Request) -> Response:
        query, asked = request.query_params, page(request, "resource", PLACE)
        async with database.connection() as connection:
            items, total = await reads.allocations(
                connection,
                caller(request).tenant,
                pid=_pid(query.get("pid") or query.get("process")),
                of=query.get("resource"),
                active=flag(request, "active"),
                when=time_of(request, "at"),
                before=asked.after,
                limit=asked.read,
                count=asked.count,
            )
        return answer(
            asked,
            items,
            total,
            lambda item: {name: value for name, value in item.items() if name != "place"},
            lambda item: item["place"],
        )

    return [Route("/v1/allocations", listed)]


def _pid(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ProblemError(invalid("pid must be a whole number.", [("/pid", "It must be a whole number.")]))
    return int(text)
