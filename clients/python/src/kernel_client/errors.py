"""The server's refusals as exceptions, with its own words."""

from collections.abc import Mapping
from typing import Any


class KernelError(Exception):
    """Anything that went wrong between this client and the kernel."""


class ConnectionFailedError(KernelError):
    """There was no answer in the time that the caller has patience for."""


class ApiError(KernelError):
    """The kernel said no; `problem` is its RFC 9457 document."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.problem = problem
        self.title = str(problem.get("title") or f"HTTP {status}")
        self.detail = str(problem.get("detail") or self.title)
        self.errors: list[tuple[str, str]] = [
            (str(each.get("pointer", "")), str(each.get("message", ""))) for each in problem.get("errors") or ()
        ]
        """(JSON pointer into what was sent, what is wrong there) each."""
        super().__init__(self._text())

    def _text(self) -> str:
        lines = [f"{self.title}: {self.detail}" if self.title not in self.detail else self.detail]
        shown = [f"  {where or 'body'}: {why}" for where, why in self.errors if why not in self.detail]
        return "\n".join(lines + shown[:20])


class InvalidError(ApiError):
    """What was sent is wrong: 400, 413, 415, 422."""


class UnauthorizedError(ApiError):
    """No token, or one that is not accepted (any more): 401."""


class ForbiddenError(ApiError):
    """The token's roles do not allow it: 403."""


class NotFoundError(ApiError):
    """No such thing, or none that the caller may see: 404."""


class ConflictError(ApiError):
    """The state does not allow it: 409."""


class StaleError(ApiError):
    """It has changed since the version that was named: 412."""


class GoneError(ApiError):
    """What came after that position of the stream is no longer kept: 410."""


class BusyError(ApiError):
    """Too much at once, or something is away, for longer than the client has patience: 429, 502, 503, 504."""


_BY_STATUS: Mapping[int, type[ApiError]] = {
    **dict.fromkeys((400, 413, 415, 422), InvalidError),
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
    412: StaleError,
    **dict.fromkeys((429, 502, 503, 504), BusyError),
}


def of(status: int, problem: Any) -> ApiError:
    """The exception for an answer; a body that is no problem document is quoted."""
    if not isinstance(problem, Mapping):
        problem = {"detail": str(problem)[:500]} if problem else {}
    return _BY_STATUS.get(status, ApiError)(status, problem)
