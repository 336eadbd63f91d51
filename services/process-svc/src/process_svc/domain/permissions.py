"""Who may give which command to a process; one table, asked where commands are carried out.

`own`: an operator, for the process that it runs or that is assigned to it.
"""

from typing import Final

from kernel_contracts.vocabulary import CommandName as Name
from kernel_contracts.vocabulary import Role

_COMMANDERS: Final = frozenset({Role.ADMIN.value, Role.INTEGRATOR.value})
OWN: Final = frozenset(
    {
        Name.COMPLETE,
        Name.FAIL,
        Name.WAIT,
        Name.ARRIVE,
        Name.RELEASE,
        Name.SET_CONTEXT,
        Name.SUSPEND,
        Name.RESUME,
    }
)


MIGRATE: Final = frozenset({Name.MIGRATE})
"""What designers may do to processes too."""


def may_create(roles: frozenset[str]) -> bool:
    return bool(roles & _COMMANDERS)


def may_command(command: Name, roles: frozenset[str], operator: str | None, *of_process: str | None) -> bool:
    """`of_process`: the operators that the process belongs to (who runs it, whom it is assigned to)."""
    if roles & _COMMANDERS or (command in MIGRATE and Role.DESIGNER.value in roles):
        return True
    return Role.OPERATOR.value in roles and command in OWN and operator is not None and operator in of_process
