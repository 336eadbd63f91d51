"""A calendar with the layers below it, as a timeline.

The algebra, for a calendar over its layers (company below site below person):

1. its weekly windows, without its breaks, and without the days of its holidays and exceptions; where it has no weekly
   windows but layers, whole days instead;
2. intersected with each layer, which is itself resolved so; the smaller capacity counts;
3. united with the hours of its exceptions: they hold whatever the layers say;
4. united with its overtime;
5. less its leave: leave has the last word in its own calendar.

So what is closed below stays closed unless an exception or overtime further up opens it; only leave outdoes those.
"""

from collections.abc import Callable
from datetime import date

from kernel_worktime.definition import Day, Definition, Shift
from kernel_worktime.public_holidays import public_holidays
from kernel_worktime.spans import Span, clip, intersection, merged, overlaid, subtract, union
from kernel_worktime.timeline import Timeline
from kernel_worktime.units import DAY, midnight, year_start
from kernel_worktime.zones import Pieces, pieces

DEEPEST = 32
_WHOLE_DAY: Day = (Shift(0, DAY),)


class CalendarError(ValueError):
    """A calendar that can't be put together; `layer` is the id at fault."""

    def __init__(self, message: str, layer: str) -> None:
        super().__init__(message)
        self.layer = layer


class UnknownLayerError(CalendarError):
    pass


class CyclicLayersError(CalendarError):
    pass


def compile_calendar(
    definition: Definition, lookup: Callable[[str], Definition | None] = lambda _: None, id: str | None = None
) -> Timeline:
    """`lookup` knows the layers by id, `id` is this one's own. Raises UnknownLayerError, CyclicLayersError."""
    return _compile(definition, lookup, () if id is None else (id,), {})


def _compile(
    definition: Definition,
    lookup: Callable[[str], Definition | None],
    above: tuple[str, ...],
    made: dict[str, Timeline],
) -> Timeline:
    layers: list[Timeline] = []
    for layer in definition.layers:
        if layer in above or len(above) > DEEPEST:
            raise CyclicLayersError(f"The layers go round: {' > '.join((*above, layer))}.", layer)
        if layer not in made:
            below = lookup(layer)
            if below is None:
                raise UnknownLayerError(f"There is no calendar {layer}.", layer)
            made[layer] = _compile(below, lookup, (*above, layer), made)
        layers.append(made[layer])
    return Timeline(lambda year: _year(definition, layers, year))


def _year(definition: Definition, layers: list[Timeline], year: int) -> list[Span]:
    """What is open in a year of UTC."""
    start, end = year_start(year), year_start(year + 1)
    first, last = date(year, 1, 1).toordinal() - 3, date(year + 1, 1, 1).toordinal() + 2
    holidays = definition.holidays | _public(definition.country, year)
    clock = pieces(definition.zone, year)
    exceptions = definition.exceptions
    normal: list[Span] = []
    cut: list[Span] = []
    opened: list[Span] = []
    weeks, anchor, breaks = definition.weeks, definition.anchor, definition.breaks
    inherits = not weeks and bool(layers)
    for day in range(first, last):
        weekday = (day - 1) % 7
        if day in exceptions:
            _resolve(clock, day, exceptions[day], opened)
        elif day not in holidays:
            hours = _WHOLE_DAY if inherits else weeks[(day - anchor) // 7 % len(weeks)][weekday] if weeks else ()
            _resolve(clock, day, hours, normal)
        if breaks[weekday]:
            _resolve(clock, day, breaks[weekday], cut)
    result = merged(clip(normal, start, end))
    if cut:
        result = subtract(result, overlaid(clip(cut, start, end)))
    if layers:
        result = intersection(result, *(layer.year(year) for layer in layers))
    if more := clip([*opened, *definition.overtime], start, end):
        result = union(result, overlaid(more))
    return subtract(result, gone) if (gone := _leave(definition, clock, start, end)) else result


def _resolve(clock: Pieces, day: int, hours: Day, into: list[Span]) -> None:
    begins = midnight(day)
    for shift in hours:
        clock.resolve(begins + shift.start, begins + shift.end, shift.capacity, into)


def _leave(definition: Definition, clock: Pieces, start: int, end: int) -> list[Span]:
    spans = list(definition.leave)
    for first, last in definition.days_off:
        begins, ends = max(midnight(first), start - 3 * DAY), min(midnight(last + 1), end + 3 * DAY)
        if begins < ends:
            clock.resolve(begins, ends, 1, spans)
    return overlaid(clip(spans, start, end))


def _public(country: str | None, year: int) -> frozenset[int]:
    """Of this year and the days of its neighbours that a zone or a shift can carry into it."""
    if country is None:
        return frozenset()
    return frozenset(day.toordinal() for each in (year - 1, year, year + 1) for day in public_holidays(country, each))
