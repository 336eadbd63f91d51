"""One CEL expression: compiled and kept, evaluated within bounds. The only module that knows cel-expr-python.

A `Language` says which names an expression may use; `language.compile(source)` checks an expression once and keeps it;
`Expression.test` and `.value` evaluate it on a `Scope`. ExpressionError is the only error that gets out. The library tells errors
of evaluation as values of a type of their own, and those of budgets as RuntimeError: both are errors here, never truth.
"""

import hashlib
import re
from datetime import datetime
from typing import Any, Final

from cel_expr_python import cel

from kernel_runtime.expressions import cost
from kernel_runtime.expressions.errors import ExpressionError

MAX_SOURCE: Final = 4096
"""Bytes of one expression."""

_NO_VALUE: Final = (cel.Type.ERROR, cel.Type.UNKNOWN)
_FINDING: Final = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*?)(?: \[[A-Z_]+\])?$", re.MULTILINE)
_STATUS: Final = re.compile(r"^[A-Z_]+: | \[[A-Z_]+\]$")
_KEPT: Final = 20_000
_MENTIONS: Final = 12
"""So few mentions of the largest data, without a loop, stay within the limit: no need to count."""
_NO_FIELDS: Final = "Applying SELECT to non-message type"


class Language:
    """CEL over these names, which hold any JSON (null where a scope leaves one out), and `now`, a time."""

    def __init__(self, *names: str) -> None:
        self._names = names
        self._roots = frozenset(names)
        self._environment = cel.NewEnv(variables=dict.fromkeys(names, cel.Type.DYN) | {"now": cel.Type.TIMESTAMP})
        self._kept: dict[bytes, Expression | ExpressionError] = {}

    def scope(self, now: datetime, **values: Any) -> "Scope":
        """What the names stand for."""
        bound = {name: values.get(name) for name in self._names}
        counted = tuple(value for value in values.values() if value is not None)
        return Scope(counted, self._environment.Activation(bound | {"now": now}))

    def compile(self, source: str, *, boolean: bool = False) -> "Expression":
        """The expression, checked; raises ExpressionError with the position of what is wrong."""
        key = hashlib.sha256(source.encode("utf-8", "surrogatepass")).digest()
        found = self._kept.get(key)
        if found is None:
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            try:
                found = self._compile(source)
            except ExpressionError as error:
                found = error
            self._kept[key] = found
        if isinstance(found, ExpressionError):
            raise found.within("")
        if boolean:
            found.must_be_boolean()
        return found

    def _compile(self, source: str) -> "Expression":
        try:
            size = len(source.encode())
        except UnicodeEncodeError:
            raise ExpressionError("the expression is not valid Unicode text") from None
        if size > MAX_SOURCE:
            raise ExpressionError(f"an expression may have {MAX_SOURCE} bytes, this one has {size}")
        if "\x00" in source:
            raise ExpressionError("the expression has the character U+0000")
        try:
            return Expression(cost.profile(source, self._roots), self._environment.compile(source))
        except Exception as error:
            raise _finding(str(error)) from None


class Scope:
    """What the names of a language stand for; made by `Language.scope`, for expressions of that language alone."""

    __slots__ = ("_data", "_size", "activation")

    def __init__(self, data: tuple[Any, ...], activation: Any) -> None:
        self._data = data
        self._size: cost.Size | None = None
        self.activation = activation

    @property
    def size(self) -> cost.Size:
        """Counted when first asked for."""
        if self._size is None:
            self._size = cost.size(self._data)
        return self._size


class Expression:
    """Compiled CEL; safe to evaluate on anything that came as JSON."""

    __slots__ = ("_cheap", "_compiled", "_profile")

    def __init__(self, profile: cost.Profile, compiled: Any) -> None:
        self._compiled = compiled
        self._profile = profile
        self._cheap = not profile.loops and profile.outside <= _MENTIONS

    def test(self, scope: Scope) -> bool:
        """Whether a condition holds; anything but a boolean is an error."""
        result = self._evaluate(scope)
        if result.type() != cel.Type.BOOL:
            raise ExpressionError(f"the condition gave {result.type().name()}, not a boolean")
        return result.value() is True

    def value(self, scope: Scope) -> Any:
        """The value in Python's own types; times as datetime, durations as timedelta."""
        result = self._evaluate(scope)
        try:
            return result.plain_value()
        except Exception as error:
            raise ExpressionError(f"the value can't be used: {_said(error)}") from None

    def must_be_boolean(self) -> None:
        """Raises ExpressionError where the checker knows that it never gives a boolean."""
        kind = self._compiled.return_type()
        if kind not in (cel.Type.BOOL, cel.Type.DYN):
            raise ExpressionError(f"the condition must give a boolean, this gives {kind.name()}", line=1, column=1)

    def _evaluate(self, scope: Scope) -> Any:
        if not self._cheap:
            self._check_cost(scope)
        try:
            result = self._compiled.eval(scope.activation)
            kind = result.type()
            if kind in _NO_VALUE:
                raise ExpressionError(_said(result.value()))
        except ExpressionError:
            raise
        except Exception as error:
            raise ExpressionError(_said(error)) from None
        return result

    def _check_cost(self, scope: Scope) -> None:
        if cost.cost(self._profile, scope.size) > cost.LIMIT:
            raise ExpressionError(
                "this may take too long on so much data: loop over less, nest loops less deep, or mention the data less often"
            )


def _finding(text: str) -> ExpressionError:
    """The checker's first finding, with its position where it has one."""
    match = _FINDING.search(text)
    if match is None:
        return ExpressionError(_said(text))
    line, column, message = int(match[1]), int(match[2]), match[3][:300]
    if line < 1:
        return ExpressionError(message)
    return ExpressionError(message, line=line, column=column)


def _said(error: object) -> str:
    text = _STATUS.sub("", _STATUS.sub("", str(error).strip()))[:500]
    if text == _NO_FIELDS:
        return "a field was asked of null, or of something that has no fields"
    return text or "it can't be evaluated"
