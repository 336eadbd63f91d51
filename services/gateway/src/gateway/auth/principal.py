"""Who calls: what a verified token says, and how the services are told."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kernel_contracts.vocabulary import Role

ROLES = frozenset(Role)
_NAME = re.compile(r"[^\s/\x00-\x1f\x7f](?:[^/\x00-\x1f\x7f]{0,198}[^\s/\x00-\x1f\x7f])?")


class ClaimError(ValueError):
    """A claim is not what it should be."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller. `expires` is when its token ends, in seconds since the epoch."""

    subject: str
    tenant: str
    roles: frozenset[Role]
    operator: str | None
    expires: float

    @property
    def only_operator(self) -> bool:
        """No other role lets it see beyond its own work."""
        return self.roles == {Role.OPERATOR}

    def inner_headers(self) -> dict[str, str]:
        """For the services. Values are UTF-8 (aiohttp encodes text so)."""
        headers = {
            "x-kernel-tenant": self.tenant,
            "x-kernel-principal": self.subject,
            "x-kernel-roles": ",".join(sorted(self.roles)),
        }
        if self.operator is not None:
            headers["x-kernel-operator"] = self.operator
        return headers

    def dump(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "subject": self.subject,
            "tenant": self.tenant,
            "roles": sorted(self.roles),
            "operator": self.operator,
            "expires": self.expires,
        }

    @classmethod
    def load(cls, value: Mapping[str, Any]) -> "Principal":
        return cls(
            value["subject"],
            value["tenant"],
            frozenset(Role(role) for role in value["roles"]),
            value["operator"],
            value["expires"],
        )


def principal_of(claims: Mapping[str, Any], default_tenant: str) -> Principal:
    """From claims that were checked already; raises ClaimError. Roles that we don't know grant nothing."""
    told = claims.get("roles", [])
    names = told.split() if isinstance(told, str) else told
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ClaimError("roles must be a list of names")
    return Principal(
        subject=_name(claims, "sub"),
        tenant=_name(claims, "tenant") if claims.get("tenant") is not None else default_tenant,
        roles=frozenset(Role(name) for name in names if name in ROLES),
        operator=_name(claims, "operator") if claims.get("operator") is not None else None,
        expires=float(claims["exp"]),
    )


def _name(claims: Mapping[str, Any], claim: str) -> str:
    value = claims.get(claim)
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ClaimError(f"{claim} must be a name of 1 to 200 printable characters without a slash")
    return value
