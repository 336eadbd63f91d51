"""Domain refusals as problems, and the few problems that handlers share."""

from kernel_runtime.problem import Problem

from process_svc.domain.process import Refusal


def problem(refusal: Refusal) -> Problem:
    extra: dict[str, object] = {}
    if refusal.state is not None:
        extra = {"state": refusal.state.value, "allowed": list(refusal.allowed)}
    return Problem(refusal.status, refusal.title, refusal.detail, extra=extra)


def forbidden(what: str) -> Problem:
    return Problem(403, "Forbidden", f"Your roles don't allow you to {what}.")
