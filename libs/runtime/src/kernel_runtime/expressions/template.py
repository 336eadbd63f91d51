"""Values with expressions in them: a string that begins with `=` is CEL, at any depth; anything else is itself.

`compile(language, value)` gives a function of the scope. What it returns is JSON: times as RFC 3339 text, durations as ISO 8601.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from kernel_contracts.base import iso_duration, rfc3339

from kernel_runtime.expressions.engine import Language, Scope
from kernel_runtime.expressions.errors import ExpressionError

Compute = Callable[[Scope], Any]

MAX_DEPTH: Final = 64
MAX_NODES: Final = 50_000
_SMALLEST, _LARGEST = -(2**63), 2**63


def compile(language: Language, value: Any) -> Compute:
    """Raises ExpressionError with the pointer of the expression that does not compile."""
    made = _compile(language, value, 0)
    return made if callable(made) else lambda _: value


def errors(language: Language, value: Any, pointer: str = "") -> Iterator[ExpressionError]:
    """All expressions in `value` that do not compile."""
    if isinstance(value, str) and value.startswith("="):
        try:
            language.compile(value[1:])
        except ExpressionError as error:
            yield error.within(pointer)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from errors(language, item, f"{pointer}/{_escaped(key)}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from errors(language, item, f"{pointer}/{index}")


def _compile(language: Language, value: Any, depth: int) -> Any:
    """A function where there is an expression in it, else the value."""
    if depth > MAX_DEPTH:
        raise ExpressionError(f"it nests deeper than {MAX_DEPTH} levels")
    if isinstance(value, str) and value.startswith("="):
        expression = language.compile(value[1:])
        return lambda scope: jsonable(expression.value(scope))
    if isinstance(value, dict):
        return _compile_map(language, value, depth)
    if isinstance(value, list):
        return _compile_list(language, value, depth)
    return value


def _compile_map(language: Language, value: Mapping[str, Any], depth: int) -> Any:
    parts = {key: _within(language, key, item, depth) for key, item in value.items()}
    if not any(callable(part) for part in parts.values()):
        return value
    return lambda scope: {key: part(scope) if callable(part) else part for key, part in parts.items()}


def _compile_list(language: Language, value: list[Any], depth: int) -> Any:
    parts = [_within(language, index, item, depth) for index, item in enumerate(value)]
    if not any(callable(part) for part in parts):
        return value
    return lambda scope: [part(scope) if callable(part) else part for part in parts]


def _within(language: Language, step: str | int, value: Any, depth: int) -> Any:
    pointer = f"/{_escaped(step)}"
    try:
        made = _compile(language, value, depth + 1)
    except ExpressionError as error:
        raise error.within(pointer) from None
    if not callable(made):
        return made

    def compute(scope: Scope) -> Any:
        try:
            return made(scope)
        except ExpressionError as error:
            raise error.within(pointer) from None

    return compute


def _escaped(step: str | int) -> str:
    return str(step).replace("~", "~0").replace("/", "~1")


def jsonable(value: Any) -> Any:
    """The same as JSON that can be stored; raises ExpressionError for what has no such form, or is too much."""
    return _jsonable(value, 0, itertools.count())


def _jsonable(value: Any, depth: int, counted: Iterator[int]) -> Any:
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        if not _SMALLEST <= value < _LARGEST:
            raise ExpressionError("a whole number has more than 64 bits")
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ExpressionError("a number is not finite")
        return value
    if isinstance(value, datetime):
        return rfc3339(value.astimezone(UTC))
    if isinstance(value, timedelta):
        if value < timedelta(0):
            raise ExpressionError("a duration is negative")
        return iso_duration(value)
    if depth > MAX_DEPTH:
        raise ExpressionError(f"the value nests deeper than {MAX_DEPTH} levels")
    if not isinstance(value, (dict, list)):
        raise ExpressionError(f"a value of the type {type(value).__name__} has no form in JSON")
    for _ in range(len(value)):
        if next(counted) >= MAX_NODES:
            raise ExpressionError(f"the value has more than {MAX_NODES:,} parts")
    if isinstance(value, dict):
        return {_key(key): _jsonable(item, depth + 1, counted) for key, item in value.items()}
    return [_jsonable(item, depth + 1, counted) for item in value]


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise ExpressionError("the keys of a map must be strings")
    return _text(key)


def _text(value: str) -> str:
    if "\x00" in value:
        raise ExpressionError("a text has the character U+0000")
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ExpressionError("a text is not valid Unicode") from None
    return value
