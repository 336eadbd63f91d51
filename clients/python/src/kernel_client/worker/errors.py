"""How a function says what kind of failure it was; the service's retry policy goes by the class."""

import re
from typing import ClassVar

_NOT_IN_A_CODE = re.compile(r"[\x00-\x1f\x7f/]+")
LONGEST = 2_000


class WorkError(Exception):
    """`code` names the kind of error in the process's history and in incidents; `message` is for people."""

    kind: ClassVar[str]

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(message or code)
        self.code = code
        self.message = message


class TransientError(WorkError):
    """It may work next time: tried again while attempts are left."""

    kind = "transient"


class BusinessError(WorkError):
    """The business says no; whether it is tried again the definition says."""

    kind = "business"


class PoisonError(WorkError):
    """It will never work with this input: never tried again, somebody has to look at it."""

    kind = "poison"


def told(error: BaseException) -> dict[str, str]:
    """The error as the kernel takes it. Of an exception that is none of ours: its class and its message, no more."""
    if isinstance(error, WorkError):
        kind, code, message = error.kind, error.code, error.message
    else:
        kind, code, message = TransientError.kind, type(error).__name__, str(error)
    code = _NOT_IN_A_CODE.sub(" ", code).strip()[:200].strip() or "failed"
    return {"class": kind, "code": code, "message": message.replace("\x00", "")[:LONGEST]}
