"""What migrating one process would do: nothing is done."""

from typing import Any

from kernel_contracts.process import MigrateProcess
from kernel_contracts.vocabulary import CommandName
from kernel_runtime.database import Database
from kernel_runtime.http import caller, read
from kernel_runtime.problem import ProblemError, not_found
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope

from process_svc.catalog import Catalog
from process_svc.domain.permissions import may_command
from process_svc.domain.states import TERMINATED
from process_svc.handlers.answers import forbidden
from process_svc.handlers.migrations import report
from process_svc.http import query
from process_svc.http.commands import pid_of
from process_svc.store import queries
from process_svc.store import services as store


class _DryRun(Route):
    """Only where `dry_run=true` is asked for; else the command itself."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] == "http" and b"dry_run=true" not in scope.get("query_string", b"").split(b"&"):
            return Match.NONE, {}
        return super().matches(scope)


def routes(database: Database) -> list[BaseRoute]:
    async def dry_run(request: Request) -> Response:
        who, pid = caller(request), pid_of(request)
        if not may_command(CommandName.MIGRATE, who.roles, who.operator):
            raise ProblemError(forbidden("migrate processes"))
        content, _ = await read(request, MigrateProcess, pid=pid)
        async with database.connection() as connection:
            process = await queries.one(connection, who.tenant, pid)
            if process is None:
                raise ProblemError(not_found("process", pid))
            name = process.service
            wanted = [(who.tenant, name, each) for each in (process.service_version, content.to) if each < 2**31]
            catalog = Catalog()
            catalog.keep(await store.versions(connection, wanted))
        new = catalog.find(who.tenant, name, content.to)
        if new is None:
            raise ProblemError(not_found("service", f"{name} in version {content.to}"))
        found = report(process, catalog.get(*wanted[0]), new, content.context_patch)
        problems: list[dict[str, Any]] = [{"detail": each} for each in found.plan.problems]
        if process.state is TERMINATED:
            problems = [{"detail": "it has ended"}]
        if found.refused is not None:
            problems += [{"detail": text, "pointer": where} for where, text in found.refused.errors]
        return query.reply(
            {
                "pid": pid,
                "service": name,
                "state": process.state,
                "from": process.service_version,
                "to": content.to,
                "changes": found.changes,
                "problems": problems,
                "possible": not problems,
            }
        )

    return [_DryRun("/v1/processes/{pid}/migrate", dry_run, methods=["POST"])]
