"""Query parameters: what can be filtered, sorted and paged by; anything wrong is told with its name."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from kernel_contracts.vocabulary import ProcessState
from kernel_runtime.problem import ProblemError, invalid, not_found
from starlette.requests import Request
from starlette.responses import Response

from process_svc.store.queries import SORTS, Filter, decode_cursor

_TEXTS = {
    "service": "service = {}",
    "operator": "operator = {}",
    "queue": "queue = {}",
    "entity_type": "entity_type = {}",
    "entity_id": "entity_id = {}",
    "key": "key = {}",
}
_NUMBERS = {"parent": "parent = {}", "root": "(pid = {} OR root = {} AND parent IS NOT NULL)"}
_TIMES = {"created_after": "created_at > {}", "due_before": "due < {}"}
_PAGING = {"limit", "cursor", "sort", "count", "fields"}
CONTEXT = "context."


def wrong(name: str, message: str) -> ProblemError:
    return ProblemError(invalid(f"{name}: {message}", [(f"/query/{name}", message)]))


def named(request: Request, param: str, what: str) -> str:
    """A name in the address; 404 where nothing can have it."""
    name = str(request.path_params[param])
    if "\x00" in name:
        raise ProblemError(not_found(what, repr(name)))
    return name


def reply(value: Any) -> Response:
    return Response(orjson.dumps(value, option=orjson.OPT_UTC_Z), media_type="application/json")


def part(items: Sequence[Any], following: str | None, total: int | None) -> Response:
    """One page of a list; `total` where it was asked for."""
    answer: dict[str, Any] = {"items": items, "next": following}
    return reply(answer if total is None else answer | {"total": total})


def filters(request: Request, tenant: str) -> Filter:
    """The filter that the query asks for; 422 where a parameter is unknown or doesn't read."""
    found = Filter(tenant)
    states: list[str] = []
    for name, value in request.query_params.multi_items():
        if "\x00" in name or "\x00" in value:
            raise wrong("query", "the character U+0000 can't be searched for")
        if name == "state":
            states += [_state(one) for one in value.split(",") if one]
        elif name in _TEXTS:
            found.add(_TEXTS[name], value)
        elif name in _NUMBERS:
            found.add(_NUMBERS[name], *[number(name, value)] * _NUMBERS[name].count("{}"))
        elif name in _TIMES:
            found.add(_TIMES[name], time(name, value))
        elif name == "has_incident":
            found.add("incident IS NOT NULL" if boolean(name, value) else "incident IS NULL")
        elif name == "q":
            found.add("(service ILIKE {} OR key ILIKE {} OR entity_id ILIKE {})", *[f"%{_like(value)}%"] * 3)
        elif name.startswith(CONTEXT) and len(name) > len(CONTEXT):
            found.add("context::jsonb #>> {}::text[] = {}", name[len(CONTEXT) :].split("."), value)
        elif name not in _PAGING:
            raise wrong(name, "is not a filter of this list")
    if len(states) == 1:
        found.add("state = {}", states[0])
    elif states:
        found.add("state = ANY({}::text[])", states)
    if states and ProcessState.TERMINATED not in states:
        found.add("state <> 'TERMINATED'")  # says what the index of those alive says
    return found


def paging(request: Request) -> tuple[int, str, bool, Sequence[Any] | None]:
    """limit, sort column, descending, cursor."""
    sort = request.query_params.get("sort", "pid")
    descending = sort.startswith("-")
    column = sort.removeprefix("-")
    if column not in SORTS:
        raise wrong("sort", f"must be one of {', '.join(SORTS)}, with - in front for descending")
    text = request.query_params.get("cursor")
    cursor = None
    if text is not None:
        cursor = decode_cursor(text, column)
        if cursor is None:
            raise wrong("cursor", "is not one of this list; take it from `next` of the page before")
    return limit(request), column, descending, cursor


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


def number(name: str, value: str) -> int:
    if not value.isascii() or not value.isdigit() or len(value) > 18:
        raise wrong(name, "must be a whole number")
    return int(value)


def time(name: str, value: str) -> datetime:
    try:
        found = datetime.fromisoformat(value.replace(" ", "+"))
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise wrong(name, "must be an RFC 3339 time with a zone")


def boolean(name: str, value: str) -> bool:
    if value not in ("true", "false"):
        raise wrong(name, "must be true or false")
    return value == "true"


def _state(value: str) -> str:
    if value not in ProcessState.__members__:
        raise wrong("state", f"must be of {', '.join(ProcessState)}")
    return value


def _like(value: str) -> str:
    return value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
