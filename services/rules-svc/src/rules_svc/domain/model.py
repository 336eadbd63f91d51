"""Events, rules and firings as decisions see them.

A condition and what an instruction computes are callables here: whoever compiled them knows the language. They raise RuleError,
and nothing else.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from kernel_runtime.expressions.errors import ExpressionError

Scope = Any
"""What expressions see of one event and one rule's parameters; opaque here."""

Bind = Callable[[Mapping[str, Any]], Scope]
"""Makes the scope of a rule from its parameters."""


RuleError = ExpressionError
"""An expression or an instruction is wrong: in its source, or for this event."""


class Do(StrEnum):
    """What an instruction can do."""

    START = "start"
    SIGNAL = "signal"
    SUSPEND = "suspend"
    RESUME = "resume"
    CANCEL = "cancel"
    PRIORITIZE = "prioritize"
    EMIT = "emit"


ON_A_PROCESS = frozenset({Do.SUSPEND, Do.RESUME, Do.CANCEL, Do.PRIORITIZE})
"""They act on the event's process where they name no pid."""


class FiringResult(StrEnum):
    FIRED = "fired"
    FAILED = "failed"
    """The condition or an instruction could not be evaluated: nothing was done."""
    STOPPED = "stopped"
    """The condition held, at the end of too long a chain of causes: nothing was done."""


@dataclass(frozen=True, slots=True)
class Event:
    """What matching needs of an event. `depth` is the length of the chain of causes that it ends."""

    tenant: str
    source: str
    id: str
    type: str
    depth: int = 0
    pid: int | None = None
    entity_type: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction: `compute` gives its arguments, `check` says whether their values will be accepted."""

    do: Do
    compute: Callable[[Scope], Mapping[str, Any]]
    check: Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Rule:
    """`type` without its `*` where `prefix`; None as source or entity type is any."""

    tenant: str
    name: str
    version: int
    type: str
    prefix: bool
    when: Callable[[Scope], bool]
    steps: tuple[Step, ...]
    source: str | None = None
    entity_type: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    order: int = 0
    stop: bool = False


@dataclass(frozen=True, slots=True)
class Action:
    """What one instruction of a firing will do. `index` is its place in the rule."""

    index: int
    do: Do
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Firing:
    """A rule whose condition held, or could not be evaluated, for an event. Whole: all its actions or none."""

    rule: Rule
    result: FiringResult
    actions: tuple[Action, ...] = ()
    detail: str | None = None
