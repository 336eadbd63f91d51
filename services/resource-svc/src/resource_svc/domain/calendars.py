"""Calendars as they are checked and put together: what is wrong with one, and the timeline that it makes with its layers."""

from collections.abc import Callable, Mapping
from typing import Any

from kernel_worktime import (
    CalendarError,
    CyclicLayersError,
    Definition,
    DefinitionError,
    Timeline,
    compile_calendar,
    parse,
)

Document = Mapping[str, Any]
"""A calendar's definition as JSON."""

Lookup = Callable[[str], Document | None]
Error = tuple[str, str]
"""JSON pointer and what is wrong there."""


def errors_of(id: str, document: Document, below: Lookup) -> tuple[Error, ...]:
    """All that is wrong with a definition; where nothing is, whether its layers are there and end somewhere."""
    try:
        definition = parse(document)
    except DefinitionError as error:
        return error.errors
    found: list[Error] = []
    for place, layer in enumerate(definition.layers):
        where = f"/layers/{place}"
        if layer == id:
            found.append((where, "A calendar can't be a layer of itself."))
        elif below(layer) is None:
            found.append((where, f"There is no calendar {layer}; define it first."))
    if found:
        return tuple(found)
    for place, layer in enumerate(definition.layers):
        try:
            compile_calendar(Definition(definition.zone, layers=(layer,)), _parsed(below), id)
        except CyclicLayersError as error:
            found.append((f"/layers/{place}", str(error)))
        except CalendarError as error:
            found.append((f"/layers/{place}", f"Of {layer}: {error}"))
        except DefinitionError as error:
            found.append((f"/layers/{place}", f"{layer} or a layer of it is not right: {error}"))
    return tuple(found)


def timeline(id: str, documents: Mapping[str, Document]) -> Timeline:
    """Of the calendar `id` over its layers. Raises ValueError where one of them can't be gone by."""
    return compile_calendar(parse(documents[id]), _parsed(documents.get), id)


def _parsed(below: Lookup) -> Callable[[str], Definition | None]:
    def look(id: str) -> Definition | None:
        document = below(id)
        return None if document is None else parse(document)

    return look
