"""When something is open, and arithmetic in open time. Pure: no I/O, no clock.

An instant is an int, microseconds since 1970-01-01 UTC; a duration is an int of microseconds; `micros` and `moment` convert.
"""

from kernel_worktime.calendar import CalendarError, CyclicLayersError, UnknownLayerError, compile_calendar
from kernel_worktime.definition import Definition, DefinitionError, parse
from kernel_worktime.fit import first_fit
from kernel_worktime.public_holidays import HolidaysMissingError, public_holidays
from kernel_worktime.spans import WHOLE, Span, combine, intersection, subtract, union
from kernel_worktime.timeline import Timeline, always, at_least, together
from kernel_worktime.units import DAY, HOUR, MINUTE, SECOND, duration, micros, moment

__all__ = [
    "DAY",
    "HOUR",
    "MINUTE",
    "SECOND",
    "WHOLE",
    "CalendarError",
    "CyclicLayersError",
    "Definition",
    "DefinitionError",
    "HolidaysMissingError",
    "Span",
    "Timeline",
    "UnknownLayerError",
    "always",
    "at_least",
    "combine",
    "compile_calendar",
    "duration",
    "first_fit",
    "intersection",
    "micros",
    "moment",
    "parse",
    "public_holidays",
    "subtract",
    "together",
    "union",
]
