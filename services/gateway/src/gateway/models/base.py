"""What all answers have in common."""

from typing import Any, Generic, TypeVar

from kernel_contracts.base import Event
from pydantic import Field

T = TypeVar("T")


class Page(Event, Generic[T]):
    """A part of a list; `next` is the cursor of the following part, null at the end. `total` comes with `?count=true`.

    `total_capped`: there are more than `total`, which were not counted.
    """

    items: list[T]
    next: str | None = None
    total: int | None = None
    total_capped: bool | None = None


class InputError(Event):
    """Where in the input (a JSON pointer) something is wrong, and what."""

    pointer: str
    message: str


class ProblemDetails(Event):
    """RFC 9457: the one form in which anything is refused."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[InputError] | None = None


class BatchItem(Event):
    """What became of one item of a batch: `process` where it succeeded, else `problem`."""

    status: int
    process: dict[str, Any] | None = None
    problem: ProblemDetails | None = None


class BatchAnswer(Event):
    """One answer for each item, in order."""

    items: list[BatchItem]


class Caller(Event):
    """Who the token says that you are."""

    subject: str
    tenant: str
    roles: list[str]
    operator: str | None = None
    expires: float = Field(description="Seconds since 1970.")
