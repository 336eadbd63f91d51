"""Query parameters: what can be filtered, sorted and paged by; anything wrong is told with its name."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
from kernel_runtime.problem import ProblemError, not_found
from starlette.requests import Request
from starlette.responses import Response

from process_svc.store.filters import Filter, boolean, number, parsed, time, wrong
from process_svc.store.search import SORTS, Order, decode_cursor

__all__ = ["boolean", "number", "time", "wrong"]

_PAGING = {"limit", "cursor", "sort", "count", "fields"}


def named(request: Request, param: str, what: str) -> str:
    """A name in the address; 404 where nothing can have it."""
    name = str(request.path_params[param])
    if "\x00" in name:
        raise ProblemError(not_found(what, repr(name)))
    return name


def reply(value: Any, headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps(value, option=orjson.OPT_UTC_Z), headers=headers, media_type="application/json")


def part(items: Sequence[Any], following: str | None, total: int | None, *, more: bool = False) -> Response:
    """One page of a list; `total` where it was asked for, with `total_capped` where there are `more` than that."""
    answer: dict[str, Any] = {"items": items, "next": following}
    if total is not None:
        answer["total"] = total
        if more:
            answer["total_capped"] = True
    return reply(answer)


def filters(request: Request, tenant: str) -> Filter:
    """The filter that the query asks for; 422 where a parameter is unknown or doesn't read."""
    return parsed([pair for pair in request.query_params.multi_items() if pair[0] not in _PAGING], tenant)


def paging(request: Request) -> tuple[int, Order]:
    """limit and order."""
    sort = request.query_params.get("sort", "pid")
    descending = sort.startswith("-")
    column = sort.removeprefix("-")
    if column not in SORTS:
        raise wrong("sort", f"must be one of {', '.join(SORTS)}, with - in front for descending")
    text = request.query_params.get("cursor")
    if text is None:
        return limit(request), Order(column, descending)
    cursor = decode_cursor(text, column)
    if cursor is None:
        raise wrong("cursor", "is not one of this list; take it from `next` of the page before")
    return limit(request), Order(column, descending, *cursor)


def chosen(request: Request) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """What takes the members that `fields` names from a PCB; all of them where it names none."""
    text = request.query_params.get("fields")
    if text is None:
        return lambda found: found
    names = [name for name in text.split(",") if name]

    def taken(found: dict[str, Any]) -> dict[str, Any]:
        if unknown := [name for name in names if name not in found]:
            raise wrong("fields", f"{unknown[0]!r} is not of {', '.join(found)}")
        return {name: found[name] for name in names}

    return taken


def limit(request: Request) -> int:
    text = request.query_params.get("limit", "50")
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= 500:
        raise wrong("limit", "must be 1 to 500")
    return int(text)


def counted(request: Request) -> bool:
    return boolean("count", request.query_params.get("count", "false"))


def position(request: Request) -> int:
    """The cursor of a list that is paged by a number."""
    text = request.query_params.get("cursor", "0")
    return min(number("cursor", text), 2**31 - 1)
