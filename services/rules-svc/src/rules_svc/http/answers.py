"""What all of the HTTP door share: who may, and refusing with pointers."""

from collections.abc import Iterable
from typing import Any

from kernel_contracts.vocabulary import Role
from kernel_runtime.http import Caller, caller, json_response
from kernel_runtime.problem import Problem, ProblemError, invalid
from starlette.requests import Request
from starlette.responses import Response

DESIGNERS = frozenset({Role.DESIGNER.value, Role.ADMIN.value})
PUBLISHERS = frozenset({Role.INTEGRATOR.value, Role.OPERATOR.value, Role.ADMIN.value})


def allowed(request: Request, roles: frozenset[str]) -> Caller:
    """Who calls; raises ProblemError (403) where none of the roles is theirs."""
    who = caller(request)
    if not who.roles & roles:
        raise ProblemError(Problem(403, "Forbidden", f"This takes one of the roles {', '.join(sorted(roles))}."))
    return who


def refuse(errors: Iterable[tuple[str, str]]) -> None:
    found = list(errors)[:50]
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise ProblemError(invalid(f"{found[0][0] or 'body'}: {found[0][1]}{more}", found))


def listing(items: list[dict[str, Any]], following: str | None, total: int | None) -> Response:
    shown: dict[str, Any] = {"items": items, "next": following}
    if total is not None:
        shown["total"] = total
    return json_response(shown)
