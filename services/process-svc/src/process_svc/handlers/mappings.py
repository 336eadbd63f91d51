"""Computed contexts: what a new process starts with, and what its output becomes."""

from datetime import datetime
from typing import Any

import orjson
from kernel_contracts.process import CreateProcess
from kernel_runtime.expressions.errors import ExpressionError
from kernel_runtime.problem import Problem, invalid

from process_svc.catalog import Entry, check_start
from process_svc.domain.merge import merge
from process_svc.domain.process import Process
from process_svc.expr import LANGUAGE
from process_svc.handlers.answers import stored


def start_context(entry: Entry, body: CreateProcess, now: datetime) -> str | Problem:
    """What is given, with the members of `input` laid over it; fits the input_schema."""
    context: dict[str, Any] = body.context
    if entry.input is not None:
        entity = None if body.entity is None else {"type": body.entity.type, "id": body.entity.id}
        try:
            context = {**context, **entry.input(LANGUAGE.scope(now, context=context, entity=entity))}
        except ExpressionError as error:
            return _wrong("input", entry, error)
    return check_start(entry, context) or stored(context, "context")


def end_context(entry: Entry, process: Process, output: Any, now: datetime) -> str | Problem | None:
    """The context with the members of `output` merged into it; None where there are none. Its context is at hand."""
    if entry.output is None:
        return None
    assert process.context is not None
    context = orjson.loads(process.context)
    entity = None if process.entity_type is None else {"type": process.entity_type, "id": process.entity_id}
    try:
        found = entry.output(LANGUAGE.scope(now, context=context, output=output, entity=entity))
    except ExpressionError as error:
        return _wrong("output", entry, error)
    return stored(merge(context, found), "context")


def _wrong(what: str, entry: Entry, error: ExpressionError) -> Problem:
    where = f"/{'context' if what == 'input' else 'output'}"
    return invalid(
        f"The {what} mapping of {entry.service.name} can't be computed: {error}",
        [(where, f"{what}{error.pointer}: {error.detail}")],
    )
