"""A language knows its names and no other; what is left out is null."""

from datetime import UTC, datetime

import pytest
from kernel_runtime.expressions import template
from kernel_runtime.expressions.engine import Language
from kernel_runtime.expressions.errors import ExpressionError

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
LANGUAGE = Language("context", "item")


def test_names_are_those_of_the_language() -> None:
    compute = template.compile(LANGUAGE, {"a": "=context.a + 1", "b": ["=item", "plain"], "now": "=now"})
    assert compute(LANGUAGE.scope(NOW, context={"a": 1})) == {
        "a": 2,
        "b": [None, "plain"],
        "now": "2026-11-25T12:00:00Z",
    }
    (error,) = template.errors(LANGUAGE, {"x": "=process.pid"}, "/map")
    assert error.pointer == "/map/x"
    assert error.line == 1


def test_costs_count_the_names_of_the_language() -> None:
    far = LANGUAGE.compile("context.l.all(a, context.l.all(b, a == b || context.l.size() > 0))")
    with pytest.raises(ExpressionError, match="too long"):
        far.test(LANGUAGE.scope(NOW, context={"l": list(range(2_000))}))
