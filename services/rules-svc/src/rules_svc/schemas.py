"""JSON Schemas of event types. Nothing is fetched, and patterns are matched in linear time."""

from collections.abc import Callable
from typing import Any

import jsonschema_rs
from kernel_runtime.problem import pointer

Check = Callable[[Any], list[tuple[str, str]]]


class SchemaError(Exception):
    """Not a JSON Schema that we take."""


def compile(schema: Any) -> Check:
    """A function that lists (pointer, message) for what does not fit; raises SchemaError."""
    try:
        validator = jsonschema_rs.validator_for(
            schema, retriever=_refuse, pattern_options=jsonschema_rs.RegexOptions(), validate_formats=True
        )
    except Exception as error:
        message = getattr(error, "message", None) or str(error)
        path = getattr(error, "instance_path", None) or []
        raise SchemaError(f"{pointer(path)}: {message}"[:500].removeprefix(": ")) from None

    def check(value: Any) -> list[tuple[str, str]]:
        if validator.is_valid(value):
            return []
        found = []
        for error in validator.iter_errors(value):
            found.append((pointer(error.instance_path), error.message[:300]))
            if len(found) == 20:
                break
        return found

    return check


def _refuse(uri: str) -> Any:
    raise ValueError(f"{uri} is not part of the schema, and schemas are not fetched from elsewhere")
