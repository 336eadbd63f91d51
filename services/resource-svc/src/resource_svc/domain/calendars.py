"""Calendars as they are checked and put together: what is wrong with one, and the timeline that it makes with its layers."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from kernel_worktime import (
    DAY,
    CalendarError,
    CyclicLayersError,
    Definition,
    DefinitionError,
    Timeline,
    compile_calendar,
    micros,
    moment,
    parse,
)

HORIZON: Final = 400 * DAY
"""A resource is looked at again after so long at the latest."""

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


def turn(timeline: Timeline, now: datetime) -> tuple[bool, datetime]:
    """Whether it is closed at `now`, and when that may be another: HORIZON later at the latest."""
    at = micros(now)
    until = at + HORIZON
    closed = not timeline.is_open(at)
    if closed:
        following = timeline.next_open(at)
        return True, moment(until if following is None else min(following, until))
    end = at
    for start, last, _ in timeline.windows(at, until):
        if start > end:
            break
        end = last
    return False, moment(end)


@lru_cache(maxsize=20_000)
def _put_together(id: str, documents: tuple[tuple[str, str], ...]) -> Timeline | None:
    try:
        return timeline(id, {each: json.loads(text) for each, text in documents})
    except ValueError:
        return None


def known_timeline(id: str, documents: Mapping[str, Document]) -> Timeline | None:
    """As `timeline`, remembered by content; None where one of them can't be gone by."""
    return _put_together(id, tuple((each, json.dumps(documents[each], sort_keys=True)) for each in sorted(documents)))
