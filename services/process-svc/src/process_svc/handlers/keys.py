"""The key by which a process waits for an event, where it is computed."""

from datetime import datetime

import orjson
from kernel_runtime.expressions.errors import ExpressionError
from kernel_runtime.problem import Problem, invalid

from process_svc import wire
from process_svc.domain.process import Process
from process_svc.expr import LANGUAGE

WHERE = "/for/event/key"
MAX_KEY = 1024


def correlation_key(process: Process, source: str, now: datetime) -> str | Problem:
    """What `source` (`=` and CEL) gives for `process`, whose context is at hand: text, or a whole number as its digits."""
    told = orjson.loads(wire.pcb_json(process))
    context, entity = told.pop("context"), told["entity"]
    try:
        value = LANGUAGE.compile(source[1:]).value(LANGUAGE.scope(now, context=context, process=told, entity=entity))
    except ExpressionError as error:
        return _wrong(f"can't be computed: {error}")
    if value is None:
        return _wrong("gives null: leave it out to wait for the next event of the type")
    text = str(value)
    if not isinstance(value, str | int) or isinstance(value, bool) or not 1 <= len(text) <= MAX_KEY or "\x00" in text:
        return _wrong(f"must give text of 1 to {MAX_KEY:,} characters or a whole number, not {text[:60]!r}")
    return text


def _wrong(message: str) -> Problem:
    return invalid(f"The key {message}.", [(WHERE, message)])
