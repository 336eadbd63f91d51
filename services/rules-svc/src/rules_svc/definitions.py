"""Rules and event types from their definitions: checked when they are saved, compiled when they are loaded.

All findings of a definition are told at once, each with its pointer and, for expressions, the position in the source.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import orjson
from kernel_contracts import message_types as types
from kernel_contracts.base import Command as CommandModel
from kernel_contracts.base import Name
from kernel_contracts.process import CancelProcess, CreateProcess, PrioritizeProcess, ResumeProcess, SuspendProcess
from kernel_contracts.rules import EventTypeDefinition, RuleDefinition
from kernel_contracts.vocabulary import Meets
from kernel_runtime.expressions.engine import Expression
from kernel_runtime.problem import validation_problem
from pydantic import TypeAdapter, ValidationError

from rules_svc import expr, schemas
from rules_svc.domain.model import ON_A_PROCESS, Do, Rule, RuleError, Scope, Step

Errors = list[tuple[str, str]]

MAX_ARGUMENTS: Final = 256 * 1024
"""Bytes of what one instruction computes."""
MAX_PARAMETERS: Final = 64 * 1024
MAX_DEFINITION: Final = 512 * 1024
_RESERVED: Final = f"types that begin with {types.PREFIX!r} are the kernel's own"


class Signal(CommandModel):
    key: Name
    data: Any = None


class Emit(CommandModel):
    type: Name
    data: Any = None
    subject: Name | None = None


_RESULTS: Final[Mapping[Do, type[CommandModel]]] = {
    Do.START: CreateProcess,
    Do.SIGNAL: Signal,
    Do.SUSPEND: SuspendProcess,
    Do.RESUME: ResumeProcess,
    Do.CANCEL: CancelProcess,
    Do.PRIORITIZE: PrioritizeProcess,
    Do.EMIT: Emit,
}
"""What the computed arguments of an instruction must be; for processes the very commands that are sent."""

_NAMES: Final = frozenset({"service", "operator", "queue", "key", "type", "subject", "reason"})
"""Arguments that are text: a computed whole number is taken as its digits."""


@dataclass(frozen=True, slots=True)
class EventType:
    """A business event's schema, and what waiting processes are matched by (None: the subject)."""

    check: schemas.Check | None
    key: Expression | None
    ttl: timedelta
    meets: Meets


_NAME: Final[TypeAdapter[str]] = TypeAdapter(Name)


def check_name(name: str) -> None:
    """Raises ValueError where it can't be a name."""
    try:
        _NAME.validate_python(name)
    except ValidationError as error:
        raise ValueError(error.errors()[0]["msg"]) from None


def body_of(definition: CommandModel) -> dict[str, Any]:
    """As it was written, without what was left out."""
    return definition.model_dump(mode="json", by_alias=True, exclude_unset=True)


def same(one: CommandModel, other: CommandModel) -> bool:
    """Whether two definitions mean the same; a default that is spelt out changes nothing."""
    return one == other


def rule_errors(definition: RuleDefinition) -> Errors:
    """What is wrong with a rule beyond its form; empty where it can be saved."""
    body = body_of(definition)
    errors: Errors = []
    if len(orjson.dumps(body.get("parameters", {}))) > MAX_PARAMETERS:
        errors.append(("/parameters", f"parameters may have {MAX_PARAMETERS:,} bytes at most"))
    if len(orjson.dumps(body)) > MAX_DEFINITION:
        errors.append(("", f"a rule may have {MAX_DEFINITION:,} bytes at most; use several"))
    try:
        expr.compile(_condition(definition), boolean=True)
    except RuleError as error:
        errors.append(_finding(error.within("/when")))
    for index, instruction in enumerate(body["instructions"]):
        pointer = f"/instructions/{index}"
        errors += [_finding(error) for error in expr.errors(_arguments(instruction), pointer)]
        errors += [(pointer + place, text) for place, text in _instruction_errors(instruction, definition)]
    return errors


def _instruction_errors(instruction: Mapping[str, Any], definition: RuleDefinition) -> Iterator[tuple[str, str]]:
    do = Do(instruction["do"])
    without_process = do in ON_A_PROCESS and instruction.get("pid") is None
    if without_process and not _may_be_ours(definition.event.type):
        yield "/pid", f"is required: an event of type {definition.event.type} has no process that {do} could act on"
    elif do is Do.EMIT and instruction["type"].startswith(types.PREFIX):
        yield "/type", _RESERVED
    elif not without_process and not any(_has_expression(value) for value in instruction.values()):
        try:
            _check(do)(_shaped(do, _arguments(instruction)))
        except RuleError as error:
            yield error.pointer, error.detail


def _may_be_ours(kind: str) -> bool:
    return kind.startswith(types.PREFIX) or (kind.endswith("*") and types.PREFIX.startswith(kind[:-1]))


def _has_expression(value: Any) -> bool:
    if isinstance(value, str):
        return value.startswith("=")
    if isinstance(value, dict):
        return any(_has_expression(item) for item in value.values())
    return isinstance(value, list) and any(_has_expression(item) for item in value)


def _finding(error: RuleError) -> tuple[str, str]:
    return error.pointer, str(RuleError(error.detail, line=error.line, column=error.column))


def rule_of(tenant: str, name: str, version: int, definition: RuleDefinition) -> Rule:
    """The rule, compiled; raises RuleError where it can't be."""
    kind = definition.event.type
    return Rule(
        tenant=tenant,
        name=name,
        version=version,
        type=kind.removesuffix("*"),
        prefix=kind.endswith("*"),
        when=expr.compile(_condition(definition), boolean=True).test,
        steps=tuple(_step(instruction) for instruction in body_of(definition)["instructions"]),
        source=definition.event.source,
        entity_type=definition.entity_type,
        parameters=definition.parameters,
        order=definition.order,
        stop=definition.stop,
    )


def _condition(definition: RuleDefinition) -> str:
    """CEL never begins with `=`: one in front, as where a value may be computed, is not held against anybody."""
    return definition.when.removeprefix("=")


def _arguments(instruction: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in instruction.items() if name != "do" and value is not None}


def _step(instruction: Mapping[str, Any]) -> Step:
    do = Do(instruction["do"])
    computed = expr.computed(_arguments(instruction))

    def compute(scope: Scope) -> Mapping[str, Any]:
        return _shaped(do, computed(scope))

    return Step(do, compute, _check(do))


def _shaped(do: Do, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Absent where an expression gave null; numbers as text where a name is asked for; one pid as a list of it."""
    shaped = {name: value for name, value in arguments.items() if value is not None or name == "data"}
    for name in _NAMES & shaped.keys():
        shaped[name] = _name(shaped[name])
    if do is Do.START:
        entity = shaped.get("entity")
        if isinstance(entity, dict):
            shaped["entity"] = {name: _name(value) for name, value in entity.items()}
        if isinstance(shaped.get("entities"), list):
            shaped["entities"] = [
                {name: _name(value) for name, value in each.items()} if isinstance(each, dict) else each
                for each in shaped["entities"]
            ]
        if "after" in shaped and not isinstance(shaped["after"], list):
            shaped["after"] = [shaped["after"]]
    return shaped


def _name(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _check(do: Do) -> Callable[[Mapping[str, Any]], None]:
    model = _RESULTS[do]

    def check(arguments: Mapping[str, Any]) -> None:
        try:
            result = model.model_validate(arguments)
        except ValidationError as error:
            pointer, message = validation_problem(error, arguments).errors[0]
            raise RuleError(message, pointer) from None
        if isinstance(result, Emit) and result.type.startswith(types.PREFIX):
            raise RuleError(_RESERVED, "/type")
        if len(orjson.dumps(arguments)) > MAX_ARGUMENTS:
            raise RuleError(f"what it computes has more than {MAX_ARGUMENTS:,} bytes")

    return check


def event_type_errors(type: str, definition: EventTypeDefinition) -> Errors:
    """What is wrong with an event type beyond its form."""
    errors: Errors = []
    if type.startswith(types.PREFIX):
        errors.append(("", _RESERVED))
    if definition.schema_ is not None:
        try:
            schemas.compile(definition.schema_)
        except schemas.SchemaError as error:
            errors.append(("/schema", str(error)))
    if definition.key is not None:
        try:
            _key(definition.key)
        except RuleError as error:
            errors.append(_finding(error.within("/key")))
    return errors


def event_type_of(definition: EventTypeDefinition) -> EventType:
    """The event type, compiled; raises RuleError or SchemaError where it can't be."""
    return EventType(
        None if definition.schema_ is None else schemas.compile(definition.schema_),
        None if definition.key is None else _key(definition.key),
        definition.ttl,
        definition.meets,
    )


def _key(source: str) -> Expression:
    if not source.startswith("="):
        raise RuleError('a key is computed from the event: begin it with "=", as in "=event.data.order"')
    return expr.compile(source[1:])
