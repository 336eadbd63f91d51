"""Lists over HTTP: `limit`, an opaque `cursor`, `count`."""

import base64
import binascii
from dataclasses import dataclass

from kernel_runtime.problem import ProblemError, invalid
from starlette.requests import Request

MAX_LIMIT = 500
_UNKNOWN = invalid("cursor must be one that a list gave as next.", [("/cursor", "unknown")])


@dataclass(frozen=True, slots=True)
class Page:
    """`after`: the last key of the page before."""

    limit: int
    after: str | None
    count: bool

    def after_number(self) -> int | None:
        """Where keys are numbers; raises ProblemError for a cursor that is none."""
        if self.after is None:
            return None
        if not (self.after.isascii() and self.after.isdigit() and len(self.after) < 19):
            raise ProblemError(_UNKNOWN)
        return int(self.after)


def page(request: Request) -> Page:
    """Raises ProblemError for what is no limit or no cursor of ours."""
    query = request.query_params
    limit = query.get("limit", "50")
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:6]) <= MAX_LIMIT):
        raise ProblemError(invalid(f"limit must be a number from 1 to {MAX_LIMIT}.", [("/limit", "out of range")]))
    return Page(int(limit), _decoded(query.get("cursor")), query.get("count") == "true")


def cursor(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def _decoded(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise ProblemError(_UNKNOWN) from None
