"""What an operator runs and may claim, and the services that its roles allow. The gateway names the roles."""

import base64
import binascii
from datetime import datetime

import orjson
from kernel_contracts.vocabulary import ProcessState
from kernel_runtime.database import Database
from kernel_runtime.http import caller
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from process_svc import wire
from process_svc.domain.process import Process
from process_svc.handlers.services import told
from process_svc.http import query
from process_svc.store import queries
from process_svc.store import services as store

_STATES = ("RUNNING", "READY")
Place = tuple[int, datetime, int]


def routes(database: Database) -> list[BaseRoute]:
    async def tasks(request: Request) -> Response:
        """What it runs, by pid; then what it may claim, in the order of the queue."""
        operator, tenant, limit = query.named(request, "id", "operator"), caller(request).tenant, query.limit(request)
        states = _states(request)
        after, place = _cursor(request.query_params.get("cursor"))
        items: list[Process] = []
        async with database.connection() as connection:
            if ProcessState.RUNNING in states and place is None:
                items = await queries.running(connection, tenant, operator, after, limit + 1)
            if ProcessState.READY in states and len(items) <= limit:
                wanted = limit + 1 - len(items)
                items += await queries.claimable(connection, tenant, operator, _roles(request), place, wanted)
        following = _place(items[limit - 1]) if len(items) > limit else None
        return query.part([wire.pcb(process) for process in items[:limit]], following, None)

    async def services(request: Request) -> Response:
        async with database.connection() as connection:
            found = await store.allowed(connection, caller(request).tenant, _roles(request))
        return query.part([told(each) for each in found], None, len(found) if query.counted(request) else None)

    return [
        Route("/v1/operators/{id}/tasks", tasks, methods=["GET"]),
        Route("/v1/operators/{id}/services", services, methods=["GET"]),
    ]


def _states(request: Request) -> set[str]:
    states = set(filter(None, request.query_params.get("state", ",".join(_STATES)).split(",")))
    if unknown := states.difference(_STATES):
        raise query.wrong("state", f"{min(unknown)!r} is not of {', '.join(_STATES)}")
    return states


def _roles(request: Request) -> list[str]:
    return [role for role in request.query_params.get("roles", "").replace("\x00", "").split(",") if role]


def _place(process: Process) -> str:
    if process.state is ProcessState.RUNNING:
        return _encoded([process.pid])
    assert process.ready_at is not None
    return _encoded([process.priority, process.ready_at, process.pid])


def _encoded(values: list[object]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(values)).decode()


def _cursor(text: str | None) -> tuple[int, Place | None]:
    """Behind which pid what it runs goes on, or behind which place what it may claim."""
    if text is None:
        return 0, None
    try:
        match orjson.loads(base64.urlsafe_b64decode(text)):
            case [int(pid)] if 0 <= pid < 2**63:
                return pid, None
            case [int(priority), str(at), int(pid)] if 0 <= pid < 2**63 and 0 <= priority <= 100:
                return 0, (priority, datetime.fromisoformat(at), pid)
    except (ValueError, binascii.Error):
        pass
    raise query.wrong("cursor", "is not one of this list; take it from `next` of the page before")
