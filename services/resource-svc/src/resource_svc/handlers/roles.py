"""Who may: checked where a command is carried out."""

from kernel_contracts.vocabulary import Role
from kernel_runtime.command import Command
from kernel_runtime.problem import Problem

DESIGN = frozenset({Role.DESIGNER, Role.ADMIN})
STOCK = frozenset({Role.DESIGNER, Role.ADMIN, Role.INTEGRATOR})


def missing(command: Command, roles: frozenset[Role]) -> Problem | None:
    """A refusal where the caller has none of `roles`."""
    if not roles.isdisjoint(command.roles):
        return None
    return Problem(403, "Forbidden", f"This takes one of the roles {', '.join(sorted(roles))}.")


def not_itself(command: Command, operator: str) -> Problem | None:
    """A refusal where the caller is neither this operator nor an admin."""
    if Role.ADMIN in command.roles or (Role.OPERATOR in command.roles and command.operator == operator):
        return None
    return Problem(403, "Forbidden", "Only the operator itself or an admin may do this.")
