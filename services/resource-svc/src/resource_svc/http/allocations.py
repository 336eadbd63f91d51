"""Who holds what, now and before."""

from datetime import datetime

from kernel_runtime.database import Database
from kernel_runtime.http import caller
from kernel_runtime.problem import ProblemError, invalid
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from resource_svc.http.paging import answer, flag, page
from resource_svc.store import reads


def routes(database: Database) -> list[BaseRoute]:
    async def listed(request: Request) -> Response:
        query, asked = request.query_params, page(request, "resource")
        before = asked.after
        if before is not None and not (
            isinstance(before, list) and len(before) == 2 and all(isinstance(part, int) for part in before)
        ):
            raise ProblemError(invalid("The cursor is not one of ours.", [("/cursor", "It is not one of ours.")]))
        async with database.connection() as connection:
            items, total = await reads.allocations(
                connection,
                caller(request).tenant,
                pid=_pid(query.get("pid") or query.get("process")),
                resource=query.get("resource"),
                active=flag(request, "active"),
                at=_time(query.get("at")),
                before=tuple(before) if before is not None else None,
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


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise ProblemError(invalid("at must be a time with its zone.", [("/at", "It must be a time with its zone.")]))
    return at
