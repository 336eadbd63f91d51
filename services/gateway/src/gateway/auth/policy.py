"""Who may ask for what: one row for every operation. What has no row is refused to everybody.

A `viewer` reads. An `operator` works: it reads, and acts on what is its own; where `own` names a part of the path, that must be
itself; whether a process is its own, or one that its roles allow, process-svc says. An `integrator` is another system: it starts
and drives processes and sends events. A `designer` says what there is: services, calendars, resources, operators, queues, rules.
An `admin` may do everything, dead letters included. A tenant sees only itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from kernel_contracts.vocabulary import Role
from kernel_runtime.problem import Problem, ProblemError

from gateway.auth.principal import Principal

_ADMIN = frozenset({Role.ADMIN})
_ALL = frozenset(Role)
_DRIVE = frozenset({Role.ADMIN, Role.INTEGRATOR})
_WORK = frozenset({Role.ADMIN, Role.INTEGRATOR, Role.OPERATOR})
_DESIGN = frozenset({Role.ADMIN, Role.DESIGNER})
_SELF = frozenset({Role.ADMIN, Role.OPERATOR})
_AUDIT = frozenset({Role.ADMIN, Role.DESIGNER, Role.INTEGRATOR})
_STOCK = frozenset({Role.ADMIN, Role.DESIGNER, Role.INTEGRATOR})


@dataclass(frozen=True, slots=True)
class Rule:
    """`roles` are let in; where `own` names a path parameter, a mere operator only to its own."""

    roles: frozenset[Role]
    own: str | None = None

    def check(self, principal: Principal, params: Mapping[str, str]) -> None:
        """Raises ProblemError(403)."""
        if self.roles.isdisjoint(principal.roles):
            raise ProblemError(_forbidden(self.roles))
        if self.own is not None and self.roles & principal.roles == {Role.OPERATOR}:
            if principal.operator is None:
                raise ProblemError(Problem(403, "Forbidden", "The token names no operator whose work this would be."))
            if params[self.own] != principal.operator:
                raise ProblemError(Problem(403, "Forbidden", "An operator may do this for itself only."))


def _forbidden(roles: frozenset[Role]) -> Problem:
    needed = ", ".join(sorted(roles))
    return Problem(403, "Forbidden", f"This takes one of the roles {needed}.")


POLICY: Mapping[str, Rule] = {
    "POST /v1/processes": Rule(_DRIVE),
    "GET /v1/processes": Rule(_ALL),
    "POST /v1/processes:batch": Rule(_DRIVE),
    "POST /v1/processes:commands": Rule(_DRIVE),
    "GET /v1/processes/{pid}": Rule(_ALL),
    "GET /v1/processes/{pid}/history": Rule(_ALL),
    "GET /v1/processes/{pid}/tree": Rule(_ALL),
    "GET /v1/processes/{pid}/snapshots": Rule(_ALL),
    "GET /v1/processes/{pid}/snapshots/{version}": Rule(_ALL),
    "GET /v1/processes/{pid}/why": Rule(_ALL),
    "PATCH /v1/processes/{pid}/context": Rule(_WORK),
    "POST /v1/processes/{pid}/complete": Rule(_WORK),
    "POST /v1/processes/{pid}/fail": Rule(_WORK),
    "POST /v1/processes/{pid}/release": Rule(_WORK),
    "POST /v1/processes/{pid}/wait": Rule(_WORK),
    "POST /v1/processes/{pid}/wake": Rule(_DRIVE),
    "POST /v1/processes/{pid}/call": Rule(_DRIVE),
    "POST /v1/processes/{pid}/map": Rule(_DRIVE),
    "POST /v1/processes/{pid}/iterate": Rule(_DRIVE),
    "GET /v1/processes/{pid}/calls": Rule(_ALL),
    "GET /v1/calls/{id}/items": Rule(_ALL),
    "POST /v1/processes/{pid}/arrive": Rule(_WORK),
    "POST /v1/barriers/{name}/arrive": Rule(_WORK),
    "GET /v1/barriers/{name}": Rule(_ALL),
    "POST /v1/processes/{pid}/suspend": Rule(_WORK),
    "POST /v1/processes/{pid}/resume": Rule(_WORK),
    "POST /v1/processes/{pid}/cancel": Rule(_DRIVE),
    "POST /v1/processes/{pid}/prioritize": Rule(_DRIVE),
    "POST /v1/processes/{pid}/assign": Rule(_DRIVE),
    "POST /v1/processes/{pid}/rollback": Rule(_DRIVE),
    "POST /v1/processes/{pid}/retry": Rule(_DRIVE),
    "POST /v1/processes/{pid}/migrate": Rule(_AUDIT),
    "GET /v1/processes/{pid}/verify": Rule(_ALL),
    "POST /v1/verify": Rule(_AUDIT),
    "GET /v1/export": Rule(_AUDIT),
    "POST /v1/holds": Rule(_ADMIN),
    "GET /v1/holds": Rule(_AUDIT),
    "GET /v1/holds/{id}": Rule(_AUDIT),
    "DELETE /v1/holds/{id}": Rule(_ADMIN),
    "GET /v1/retention": Rule(_ADMIN),
    "GET /v1/checkpoints": Rule(_ALL),
    "GET /v1/checkpoints/{number}": Rule(_ALL),
    "GET /v1/checkpoints/{number}/heads": Rule(_AUDIT),
    "GET /v1/entities/{type}/{id}": Rule(_ALL),
    "POST /v1/work:claim": Rule(_DRIVE),
    "POST /v1/work:complete": Rule(_DRIVE),
    "POST /v1/work:heartbeat": Rule(_DRIVE),
    "POST /v1/work/{pid}/heartbeat": Rule(_DRIVE),
    "POST /v1/work/{pid}/complete": Rule(_DRIVE),
    "POST /v1/work/{pid}/fail": Rule(_DRIVE),
    "POST /v1/work/{pid}/release": Rule(_DRIVE),
    "GET /v1/work": Rule(_ALL),
    "GET /v1/work/{pid}": Rule(_ALL),
    "GET /v1/incidents": Rule(_ALL),
    "GET /v1/incidents/{id}": Rule(_ALL),
    "POST /v1/incidents/{id}/assign": Rule(_WORK),
    "POST /v1/incidents/{id}/resolve": Rule(_DRIVE),
    "POST /v1/incidents:resolve": Rule(_DRIVE),
    "POST /v1/processes:bulk": Rule(_DRIVE),
    "POST /v1/processes:migrate": Rule(_DRIVE),
    "GET /v1/jobs": Rule(_ALL),
    "GET /v1/jobs/{id}": Rule(_ALL),
    "GET /v1/jobs/{id}/items": Rule(_ALL),
    "POST /v1/jobs/{id}/pause": Rule(_DRIVE),
    "POST /v1/jobs/{id}/resume": Rule(_DRIVE),
    "POST /v1/jobs/{id}/cancel": Rule(_DRIVE),
    "GET /v1/services": Rule(_ALL),
    "GET /v1/services/{name}": Rule(_ALL),
    "PUT /v1/services/{name}": Rule(_DESIGN),
    "GET /v1/services/{name}/versions": Rule(_ALL),
    "POST /v1/services/{name}/versions/{version}/deprecate": Rule(_DESIGN),
    "POST /v1/services/{name}/versions/{version}/undeprecate": Rule(_DESIGN),
    "POST /v1/services/{name}/versions/{version}/publish": Rule(_DESIGN),
    "POST /v1/services/{name}/retire": Rule(_DESIGN),
    "POST /v1/services/{name}/unretire": Rule(_DESIGN),
    "POST /v1/services/{name}/canary": Rule(_DESIGN),
    "POST /v1/services/{name}/promote": Rule(_DESIGN),
    "POST /v1/services/{name}/abort": Rule(_DESIGN),
    "GET /v1/calendars": Rule(_ALL),
    "GET /v1/calendars/{id}": Rule(_ALL),
    "PUT /v1/calendars/{id}": Rule(_DESIGN),
    "GET /v1/calendars/{id}/windows": Rule(_ALL),
    "GET /v1/resources": Rule(_ALL),
    "GET /v1/resources/{id}": Rule(_ALL),
    "PUT /v1/resources/{id}": Rule(_DESIGN),
    "DELETE /v1/resources/{id}": Rule(_DESIGN),
    "GET /v1/resources/{id}/status": Rule(_ALL),
    "GET /v1/resources/{id}/availability": Rule(_ALL),
    "POST /v1/resources/{id}/stock": Rule(_STOCK),
    "GET /v1/allocations": Rule(_ALL),
    "GET /v1/operators": Rule(_ALL),
    "GET /v1/operators/{id}": Rule(_ALL),
    "PUT /v1/operators/{id}": Rule(_DESIGN),
    "DELETE /v1/operators/{id}": Rule(_DESIGN),
    "GET /v1/operators/{id}/tasks": Rule(_ALL, own="id"),
    "GET /v1/operators/{id}/services": Rule(_ALL, own="id"),
    "POST /v1/operators/{id}/presence": Rule(_SELF, own="id"),
    "GET /v1/plan": Rule(_ALL),
    "POST /v1/simulations": Rule(_AUDIT),
    "GET /v1/forecast": Rule(_ALL),
    "GET /v1/queues": Rule(_ALL),
    "GET /v1/queues/{name}": Rule(_ALL),
    "PUT /v1/queues/{name}": Rule(_DESIGN),
    "GET /v1/rules": Rule(_ALL),
    "GET /v1/rules/{name}": Rule(_ALL),
    "PUT /v1/rules/{name}": Rule(_DESIGN),
    "DELETE /v1/rules/{name}": Rule(_DESIGN),
    "GET /v1/rules/{name}/firings": Rule(_ALL),
    "POST /v1/rules:test": Rule(_DESIGN),
    "GET /v1/event-types": Rule(_ALL),
    "GET /v1/event-types/{type}": Rule(_ALL),
    "PUT /v1/event-types/{type}": Rule(_DESIGN),
    "DELETE /v1/event-types/{type}": Rule(_DESIGN),
    "POST /v1/events": Rule(_DRIVE),
    "GET /v1/events": Rule(_ALL),
    "GET /v1/design": Rule(_ALL),
    "POST /v1/design:apply": Rule(_DESIGN),
    "GET /v1/dead-letters": Rule(_ADMIN),
    "POST /v1/dead-letters/{id}/replay": Rule(_ADMIN),
    "POST /v1/dead-letters/{id}/discard": Rule(_ADMIN),
    "POST /v1/stream:ticket": Rule(_ALL),
    "GET /v1/stream": Rule(_ALL),
    "GET /v1/me": Rule(_ALL),
}
