"""Lists: `limit`, `cursor`, `sort`, `count`, and what they answer."""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import orjson
from kernel_contracts.base import Name
from kernel_runtime.http import json_response
from kernel_runtime.problem import ProblemError, invalid, not_found
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response

DEFAULT, MOST = 50, 500
T = TypeVar("T")
_ID: TypeAdapter[str] = TypeAdapter(Name)


@dataclass(frozen=True, slots=True)
class Page:
    """One row more than `limit` is read, to know whether there is a next page."""

    limit: int
    after: Any
    count: bool

    @property
    def read(self) -> int:
        return self.limit + 1


def page(request: Request, order: str, place: TypeAdapter[Any] = _ID) -> Page:
    """From the query; raises ProblemError. Lists have one order, `order`; a cursor holds a `place` in it."""
    query = request.query_params
    limit = query.get("limit", str(DEFAULT))
    if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit[:9]) <= MOST:
        raise ProblemError(invalid(f"limit must be 1 to {MOST}.", [("/limit", f"It must be 1 to {MOST}.")]))
    if query.get("sort", order) != order:
        raise ProblemError(invalid(f"This list is sorted by {order} only.", [("/sort", f"It can be {order} only.")]))
    return Page(int(limit), _decoded(query.get("cursor"), place), flag(request, "count") or False)


def flag(request: Request, name: str) -> bool | None:
    """True, false, or None where it is not said."""
    text = request.query_params.get(name)
    if text is None or text == "":
        return None
    if text.lower() not in ("true", "false", "1", "0"):
        raise ProblemError(invalid(f"{name} must be true or false.", [(f"/{name}", "It must be true or false.")]))
    return text.lower() in ("true", "1")


def time_of(request: Request, name: str) -> datetime | None:
    """A time with its zone from the query, in UTC. A `+` that came as a blank is taken as meant."""
    text = request.query_params.get(name)
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
        if at.tzinfo is not None:
            at = at.astimezone(UTC)
    except (ValueError, OverflowError):
        at = None
    if at is None or at.tzinfo is None:
        reason = "It must be a time with its zone."
        raise ProblemError(invalid(f"{name} must be a time with its zone.", [(f"/{name}", reason)]))
    return at


def answer(
    page: Page, found: Sequence[T], total: int | None, show: Callable[[T], Any], place: Callable[[T], Any]
) -> Response:
    shown = found[: page.limit]
    more = len(found) > page.limit
    body: dict[str, Any] = {
        "items": [show(item) for item in shown],
        "next": _encoded(place(shown[-1])) if more else None,
    }
    if total is not None:
        body["total"] = total
    return json_response(body)


def id_of(request: Request, what: str) -> str:
    """The id in the address; nothing has an id that can't be one."""
    id = request.path_params["id"]
    if not _is_id(id):
        raise ProblemError(not_found(what, id[:60]))
    return str(id)


def new_id_of(request: Request) -> str:
    id = request.path_params["id"]
    if not _is_id(id):
        raise ProblemError(
            invalid("An id is printable, has 200 characters at most, no slash, and no blank at either end.")
        )
    return str(id)


def _is_id(text: str) -> bool:
    try:
        _ID.validate_python(text)
    except ValidationError:
        return False
    return True


def _encoded(place: Any) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(place)).decode().rstrip("=")


def _decoded(cursor: str | None, place: TypeAdapter[Any]) -> Any:
    if not cursor:
        return None
    try:
        return place.validate_json(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error):
        raise ProblemError(invalid("The cursor is not one of ours.", [("/cursor", "It is not one of ours.")])) from None
