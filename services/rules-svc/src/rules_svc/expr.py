"""What expressions see in rules: `event`, `process`, `entity`, `parameters`, `now`. The engine is the runtime's."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from kernel_runtime.expressions import template
from kernel_runtime.expressions.engine import Expression, Language, Scope

from rules_svc.domain.model import RuleError

LANGUAGE: Final = Language("event", "process", "entity", "parameters")


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
            return self._scope(parameters)
        if self._shared is None:
            self._shared = self._scope({})
        return self._shared

    def _scope(self, parameters: Mapping[str, Any]) -> Scope:
        return LANGUAGE.scope(
            self._now, event=self._event, process=self._process, entity=self._entity, parameters=parameters
        )


def compile(source: str, *, boolean: bool = False) -> Expression:
    """The expression, checked; raises RuleError with the position of what is wrong."""
    return LANGUAGE.compile(source, boolean=boolean)


def computed(value: Any) -> template.Compute:
    """A function of the scope; strings in `value` that begin with `=` are expressions."""
    return template.compile(LANGUAGE, value)


def errors(value: Any, pointer: str = "") -> Iterator[RuleError]:
    """All expressions in `value` that do not compile."""
    return template.errors(LANGUAGE, value, pointer)
