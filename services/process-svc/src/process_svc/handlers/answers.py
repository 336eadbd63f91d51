"""Domain refusals as problems, texts as they are stored, and the few problems that handlers share."""

from datetime import UTC, datetime
from typing import Any

from kernel_runtime.problem import Problem, conflict, invalid

from process_svc import wire
from process_svc.domain.process import Refusal

MAX_BYTES = 256 * 1024
"""Of a context, and of an output."""


def problem(refusal: Refusal) -> Problem:
    extra: dict[str, object] = {}
    if refusal.state is not None:
        extra = {"state": refusal.state.value, "allowed": list(refusal.allowed)}
    errors = () if refusal.pointer is None else ((refusal.pointer, refusal.detail),)
    return Problem(refusal.status, refusal.title, refusal.detail, errors=errors, extra=extra)


def forbidden(what: str) -> Problem:
    return Problem(403, "Forbidden", f"Your roles don't allow you to {what}.")


def lease_is_gone(pid: int, token: int, why: str, state: str) -> Problem:
    """To a worker whose answer comes too late, or that should stop."""
    return conflict(
        "Lease is gone",
        f"Token {token} does not hold process {pid}, which is {state}: {why}. Stop working on it; nothing was changed.",
        state=state,
        lease="gone",
    )


def stored(value: Any, what: str) -> str | Problem:
    """`value` as canonical JSON text, where it can be stored."""
    try:
        text = wire.canonical(value)
    except TypeError as error:
        return invalid(f"{what} can't be stored: {error}", [(f"/{what}", str(error))])
    if len(text) * 4 > MAX_BYTES and (size := len(text.encode())) > MAX_BYTES:
        return Problem(
            413,
            "Content too large",
            f"{what} may have {MAX_BYTES:,} bytes; this has {size:,}. Keep large data elsewhere and refer to it.",
            errors=((f"/{what}", f"may have {MAX_BYTES:,} bytes"),),
        )
    return text


def utc(at: datetime | None) -> datetime | None:
    """In UTC, as Postgres keeps it; OverflowError where the calendar ends before."""
    return None if at is None else at.astimezone(UTC)


def too_far(where: str) -> Problem:
    return invalid("That is further away than the calendar goes.", [(where, "is too far away")])
