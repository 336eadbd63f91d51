"""What expressions see in process-svc: `context`, `process` (the PCB without its context), `entity`, and `now`; where they make
sense also `output` (what a process or a child ended with) and `item`, `index`, `previous` (of a list). The engine is the
runtime's.

Names that a place does not bind are null there. A string that begins with `=` is an expression; anything else is itself.
"""

from typing import Any, Final

from kernel_runtime.expressions import template
from kernel_runtime.expressions.engine import Language

LANGUAGE: Final = Language("context", "process", "entity", "output", "item", "index", "previous")


def computed(value: Any) -> template.Compute:
    """A function of `LANGUAGE.scope(now, context=..., process=...)`; raises ExpressionError where it does not compile."""
    return template.compile(LANGUAGE, value)
