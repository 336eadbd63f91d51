"""Problem details (RFC 9457): the one form in which anything of ours says no."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from pydantic import ValidationError

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Problem:
    """A refusal: `title` is the same for all of a kind, `detail` says what was wrong here and what to do."""

    status: int
    title: str
    detail: str
    kind: str = "about:blank"
    errors: tuple[tuple[str, str], ...] = ()
    """(JSON pointer into the input, message) each."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The members as the media type names them."""
        body: dict[str, Any] = {
            "type": self.kind,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = [{"pointer": pointer, "message": message} for pointer, message in self.errors]
        body.update(self.extra)
        return body

    def as_json(self) -> bytes:
        return orjson.dumps(self.as_dict(), default=str)


class ProblemError(Exception):
    """Raised at the doors, where a function can't go on; decisions return the Problem itself."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


def pointer(path: Iterable[int | str]) -> str:
    """A JSON pointer (RFC 6901); the empty one means the whole input."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def invalid(detail: str, errors: Iterable[tuple[str, str]] = ()) -> Problem:
    """422: understood, but the content is wrong."""
    return Problem(422, "Invalid input", detail, errors=tuple(errors))


def validation_problem(error: ValidationError, content: Any = None) -> Problem:
    """422 with a pointer and a message for each of pydantic's findings; input values are not echoed.

    `content` is the parsed input, where the caller has it: pydantic's locations name members of unions too, and only what
    is in the input belongs into a JSON pointer. Findings at one place are alternatives.
    """
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if any(item["type"] == "json_invalid" for item in found):
        return Problem(400, "Malformed JSON", f"The body is not JSON that we read: {found[0]['msg']}")
    places: dict[str, list[str]] = {}
    for item in found[:200]:
        path = item["loc"] if content is None else _in_input(item["loc"], content, missing=item["type"] == "missing")
        message = item["msg"].removeprefix("Value error, ")
        messages = places.setdefault(pointer(path), [])
        if message not in messages:
            messages.append(message)
    errors = tuple((place, "; or: ".join(messages)) for place, messages in places.items())[:50]
    first = errors[0]
    more = f" (and {len(places) - 1} more)" if len(places) > 1 else ""
    return invalid(f"{first[0] or 'body'}: {first[1]}{more}", errors)


def _in_input(path: Sequence[int | str], content: Any, *, missing: bool) -> list[int | str]:
    found: list[int | str] = []
    for step in path:
        if isinstance(step, int):
            inside = isinstance(content, list) and step < len(content)
        else:
            inside = isinstance(content, dict) and step in content
        if inside:
            content = content[step]
            found.append(step)
    if missing and isinstance(content, dict) and path[-1:] != found[-1:]:
        found.append(path[-1])
    return found


def not_found(what: str, name: object) -> Problem:
    return Problem(404, "Not found", f"There is no {what} {name}.")


def conflict(title: str, detail: str, **extra: Any) -> Problem:
    return Problem(409, title, detail, extra=extra)


def unavailable(detail: str, retry_after: int = 1) -> Problem:
    return Problem(503, "Temporarily unavailable", detail, headers={"retry-after": str(retry_after)})


def overloaded(detail: str, retry_after: int = 1) -> Problem:
    return Problem(429, "Too many requests", detail, headers={"retry-after": str(retry_after)})
