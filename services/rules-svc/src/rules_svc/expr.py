"""CEL, behind one door: the only module that knows cel-expr-python.

`compile(source)` checks an expression once and keeps it; `Expression.test` and `.value` evaluate it on a `Scope`. RuleError is
the only error that gets out. The library tells errors of evaluation as values of a type of their own, and those of budgets as
RuntimeError: both are errors here, never truth.
"""

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from cel_expr_python import cel

from rules_svc.domain import cost
from rules_svc.domain.model import RuleError

MAX_SOURCE: Final = 4096
"""Bytes of one expression."""

_ENVIRONMENT: Final = cel.NewEnv(
    variables=dict.fromkeys(("event", "process", "entity", "parameters"), cel.Type.DYN) | {"now": cel.Type.TIMESTAMP}
)
_NO_VALUE: Final = (cel.Type.ERROR, cel.Type.UNKNOWN)
_FINDING: Final = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*?)(?: \[[A-Z_]+\])?$", re.MULTILINE)
_STATUS: Final = re.compile(r"^[A-Z_]+: | \[[A-Z_]+\]$")
_KEPT: Final = 20_000
_MENTIONS: Final = 12
"""So few mentions of the largest event, without a loop, stay within the limit: no need to count."""
_NO_FIELDS: Final = "Applying SELECT to non-message type"


class Scope:
    """What expressions see of one event: `event`, `process`, `entity`, `parameters`, `now`. Shared by all of a rule."""

    __slots__ = ("_activation", "_data", "_size")

    def __init__(
        self,
        event: Mapping[str, Any],
        process: Mapping[str, Any] | None,
        entity: Mapping[str, Any] | None,
        now: datetime,
        parameters: Mapping[str, Any],
    ) -> None:
        self._data = (event, parameters) if process is None else (event, process, parameters)
        self._size: cost.Size | None = None
        self._activation = _ENVIRONMENT.Activation(
            {"event": event, "process": process, "entity": entity, "parameters": parameters, "now": now}
        )

    @property
    def size(self) -> cost.Size:
        """Counted when first asked for."""
        if self._size is None:
            self._size = cost.size(self._data)
        return self._size


class Facts:
    """One event, ready for any rule: `bind(parameters)` gives the scope; rules without parameters share one."""

    __slots__ = ("_entity", "_event", "_now", "_process", "_shared")

    def __init__(
        self,
        event: Mapping[str, Any],
        process: Mapping[str, Any] | None,
        entity: Mapping[str, Any] | None,
        now: datetime,
    ) -> None:
        self._event, self._process, self._entity, self._now = event, process, entity, now
        self._shared: Scope | None = None

    def bind(self, parameters: Mapping[str, Any]) -> Scope:
        if parameters:
            return Scope(self._event, self._process, self._entity, self._now, parameters)
        if self._shared is None:
            self._shared = Scope(self._event, self._process, self._entity, self._now, {})
        return self._shared


class Expression:
    """Compiled CEL; safe to evaluate on anything that came as JSON."""

    __slots__ = ("_cheap", "_compiled", "_profile")

    def __init__(self, source: str, compiled: Any) -> None:
        self._compiled = compiled
        self._profile = cost.profile(source)
        self._cheap = not self._profile.loops and self._profile.outside <= _MENTIONS

    def test(self, scope: Scope) -> bool:
        """Whether a condition holds; anything but a boolean is an error."""
        result = self._evaluate(scope)
        if result.type() != cel.Type.BOOL:
            raise RuleError(f"the condition gave {result.type().name()}, not a boolean")
        return result.value() is True

    def value(self, scope: Scope) -> Any:
        """The value in Python's own types; times as datetime, durations as timedelta."""
        result = self._evaluate(scope)
        try:
            return result.plain_value()
        except Exception as error:
            raise RuleError(f"the value can't be used: {_said(error)}") from None

    def must_be_boolean(self) -> None:
        """Raises RuleError where the checker knows that it never gives a boolean."""
        kind = self._compiled.return_type()
        if kind not in (cel.Type.BOOL, cel.Type.DYN):
            raise RuleError(f"the condition must give a boolean, this gives {kind.name()}", line=1, column=1)

    def _evaluate(self, scope: Scope) -> Any:
        if not self._cheap:
            self._check_cost(scope)
        try:
            result = self._compiled.eval(scope._activation)
            kind = result.type()
            if kind in _NO_VALUE:
                raise RuleError(_said(result.value()))
        except RuleError:
            raise
        except Exception as error:
            raise RuleError(_said(error)) from None
        return result

    def _check_cost(self, scope: Scope) -> None:
        if cost.cost(self._profile, scope.size) > cost.LIMIT:
            raise RuleError(
                "this may take too long on so much data: loop over less, nest loops less deep, or mention the data less often"
            )


_cache: dict[bytes, Expression | RuleError] = {}


def compile(source: str, *, boolean: bool = False) -> Expression:
    """The expression, checked; raises RuleError with the position of what is wrong."""
    key = hashlib.sha256(source.encode("utf-8", "surrogatepass")).digest()
    found = _cache.get(key)
    if found is None:
        if len(_cache) >= _KEPT:
            _cache.clear()
        try:
            found = _compile(source)
        except RuleError as error:
            found = error
        _cache[key] = found
    if isinstance(found, RuleError):
        raise found.within("")
    if boolean:
        found.must_be_boolean()
    return found


def _compile(source: str) -> Expression:
    try:
        size = len(source.encode())
    except UnicodeEncodeError:
        raise RuleError("the expression is not valid Unicode text") from None
    if size > MAX_SOURCE:
        raise RuleError(f"an expression may have {MAX_SOURCE} bytes, this one has {size}; use a decision table")
    if "\x00" in source:
        raise RuleError("the expression has the character U+0000")
    try:
        return Expression(source, _ENVIRONMENT.compile(source))
    except Exception as error:
        raise _finding(str(error)) from None


def _finding(text: str) -> RuleError:
    """The checker's first finding, with its position where it has one."""
    match = _FINDING.search(text)
    if match is None:
        return RuleError(_said(text))
    line, column, message = int(match[1]), int(match[2]), match[3][:300]
    if line < 1:
        return RuleError(message)
    return RuleError(message, line=line, column=column)


def _said(error: object) -> str:
    text = _STATUS.sub("", _STATUS.sub("", str(error).strip()))[:500]
    if text == _NO_FIELDS:
        return "a field was asked of null, or of something that has no fields"
    return text or "it can't be evaluated"
