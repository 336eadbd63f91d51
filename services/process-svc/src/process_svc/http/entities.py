"""One view of an entity: all processes that are about it, and how they hang together."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from kernel_contracts.process import SUBJECT
from kernel_contracts.vocabulary import ProcessState
from kernel_runtime.database import Database
from kernel_runtime.http import caller
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from process_svc import wire
from process_svc.domain.process import Process
from process_svc.http import query
from process_svc.store import entities

MOST_ALIVE = 500
"""Shown at once; `states` counts all."""


def routes(database: Database) -> list[BaseRoute]:
    async def view(request: Request) -> Response:
        tenant = caller(request).tenant
        type, id = query.named(request, "type", "entity"), query.named(request, "id", "entity")
        limit, before = query.limit(request), request.query_params.get("cursor")
        newest = 2**63 - 1 if before is None else query.number("cursor", before)
        async with (
            database.connection() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            counts = await entities.counts(connection, tenant, type, id)
            roles = await entities.roles(connection, tenant, type, id)
            subjects = await entities.subjects(connection, tenant, type, id)
            alive = await entities.alive(connection, tenant, type, id, MOST_ALIVE)
            ended = await entities.ended(connection, tenant, type, id, newest, limit + 1)
        following = str(ended[limit - 1].pid) if len(ended) > limit else None
        return query.reply(
            {
                "entity": {"type": type, "id": id},
                "roles": ({SUBJECT: subjects} if subjects else {}) | roles,
                **_counted(counts),
                "alive": [wire.pcb(process) for process in alive],
                "ended": {"items": [wire.pcb(process) for process in ended[:limit]], "next": following},
                "relations": _relations([*alive, *ended[:limit]]),
                "operators": _operators(alive),
            }
        )

    return [Route("/v1/entities/{type}/{id}", view, methods=["GET"])]


def _counted(rows: Iterable[Any]) -> dict[str, Any]:
    """How many in each state, with each outcome, of each service."""
    states: Counter[str] = Counter({state.value: 0 for state in ProcessState})
    outcomes: Counter[str] = Counter()
    services: dict[str, dict[str, int]] = {}
    for row in rows:
        number = row["number"]
        states[row["state"]] += number
        if row["outcome"] is not None:
            outcomes[row["outcome"]] += number
        of_service = services.setdefault(row["service"], {"alive": 0, "ended": 0})
        of_service["ended" if row["state"] == ProcessState.TERMINATED else "alive"] += number
    return {
        "states": states,
        "outcomes": outcomes,
        "services": [{"service": name, **numbers} for name, numbers in services.items()],
    }


def _relations(shown: Sequence[Process]) -> list[dict[str, Any]]:
    """`parent`: `of` started `pid`; `after`: `pid` comes after `of`. Of the processes that are shown."""
    found: list[dict[str, Any]] = []
    for process in shown:
        if process.parent is not None:
            found.append({"pid": process.pid, "kind": "parent", "of": process.parent})
        found += [{"pid": process.pid, "kind": "after", "of": before} for before in process.after]
    return found


def _operators(alive: Iterable[Process]) -> list[dict[str, Any]]:
    """Who runs which of them now."""
    running: dict[str, list[int]] = {}
    for process in alive:
        if process.state is ProcessState.RUNNING and process.operator is not None:
            running.setdefault(process.operator, []).append(process.pid)
    return [{"operator": operator, "running": pids} for operator, pids in sorted(running.items())]
