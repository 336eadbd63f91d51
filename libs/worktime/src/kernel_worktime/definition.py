"""A calendar as it is written, read into values: all that is wrong with it is told at once, each with its place.

    {time_zone, weekly: {mon: [["09:00", "17:00"], ["18:00", "20:00", 2]], ...} or [{...}, {...}] with anchor, breaks,
     exceptions: [{date, hours, note}], holidays: "NL" or [date], leave: [{from, to}], overtime: [{from, to, capacity}], layers}

Windows are of the wall clock, belong to the day on which they begin, and cross midnight where they end before they begin.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from kernel_worktime.public_holidays import HolidaysMissingError, check_country
from kernel_worktime.spans import WHOLE, Span
from kernel_worktime.units import DAY, HOUR, MINUTE, micros, midnight

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MOST_WEEKS = 8
Error = tuple[str, str]
"""JSON pointer and what is wrong there."""


class DefinitionError(ValueError):
    def __init__(self, errors: Sequence[Error]) -> None:
        super().__init__("; ".join(f"{where}: {what}" for where, what in errors))
        self.errors = tuple(errors)


class Shift(NamedTuple):
    """From and to in microseconds after the midnight at which its day begins; `end` is beyond DAY where it crosses the next."""

    start: int
    end: int
    capacity: int = WHOLE


Day = tuple[Shift, ...]
Week = tuple[Day, ...]


@dataclass(frozen=True, slots=True)
class Definition:
    """`weeks` repeat from the Monday `anchor` (day ordinal) on; none: the layers below say alone when it is open."""

    zone: ZoneInfo
    weeks: tuple[Week, ...] = ()
    anchor: int = 1
    breaks: Week = ((),) * 7
    exceptions: Mapping[int, Day] = field(default_factory=dict)
    """By day ordinal."""
    holidays: frozenset[int] = frozenset()
    country: str | None = None
    leave: tuple[Span, ...] = ()
    days_off: tuple[tuple[int, int], ...] = ()
    """Leave in whole days: first and last day ordinal."""
    overtime: tuple[Span, ...] = ()
    layers: tuple[str, ...] = ()


def parse(document: Mapping[str, Any]) -> Definition:
    """Raises DefinitionError. Names of fields that are not known are left to whoever knows the rest of the document."""
    return _Reader(document).read()


class _Reader:
    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._errors: list[Error] = []

    def read(self) -> Definition:
        zone = self._zone()
        weeks, anchor = self._weekly()
        exceptions = self._exceptions()
        country, holidays = self._holidays()
        leave, days_off = self._leave()
        overtime = [span for span, _ in self._ranges("overtime")]
        layers = self._list(self._document.get("layers"), "/layers")
        for place, layer in enumerate(layers):
            if not isinstance(layer, str) or not layer:
                self._wrong(f"/layers/{place}", "It must be the id of a calendar.")
            elif layer in layers[:place]:
                self._wrong(f"/layers/{place}", f"{layer} is there already.")
        breaks = self._breaks()
        if self._errors or zone is None:
            raise DefinitionError(self._errors)
        return Definition(
            zone, weeks, anchor, breaks, exceptions, holidays, country, leave, days_off, tuple(overtime), tuple(layers)
        )

    def _wrong(self, where: str, what: str) -> None:
        self._errors.append((where, what))

    def _list(self, value: Any, where: str) -> list[Any]:
        if value is None:
            return []
        if isinstance(value, list | tuple):
            return list(value)
        self._wrong(where, "It must be a list.")
        return []

    def _zone(self) -> ZoneInfo | None:
        name = self._document.get("time_zone")
        try:
            if isinstance(name, str):
                return ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            pass
        self._wrong("/time_zone", f"{name!r} is not a time zone of the IANA database, such as Europe/Amsterdam.")
        return None

    def _weekly(self) -> tuple[tuple[Week, ...], int]:
        value = self._document.get("weekly")
        anchor = self._date(self._document["anchor"], "/anchor") if self._document.get("anchor") is not None else None
        if not value:
            return (), 1
        if isinstance(value, Mapping):
            found = [("/weekly", self._week(value, "/weekly"))]
        else:
            weeks = self._list(value, "/weekly")
            found = [(f"/weekly/{place}", self._week(week, f"/weekly/{place}")) for place, week in enumerate(weeks)]
            if len(weeks) > MOST_WEEKS:
                self._wrong("/weekly", f"A pattern has {MOST_WEEKS} weeks at most.")
            if len(weeks) > 1 and self._document.get("anchor") is None:
                self._wrong("/anchor", "A pattern of several weeks needs a date in its first week.")
        self._across_midnight(found)
        monday = 1 if anchor is None else anchor - (anchor - 1) % 7
        return tuple(week for _, week in found), monday

    def _week(self, value: Any, where: str) -> Week:
        if not isinstance(value, Mapping):
            self._wrong(where, "It must be an object with the windows of each day.")
            return ((),) * 7
        for name in value:
            if name not in DAYS:
                self._wrong(f"{where}/{name}", f"It must be one of {', '.join(DAYS)}.")
        return tuple(self._day(value.get(name), f"{where}/{name}") for name in DAYS)

    def _across_midnight(self, weeks: Sequence[tuple[str, Week]]) -> None:
        """A shift that goes on into the next day ends before that one's first begins. After the last week comes the first."""
        days = [(f"{where}/{DAYS[place]}", day) for where, week in weeks for place, day in enumerate(week)]
        for (where, day), (_, following) in zip(days, [*days[1:], *days[:1]], strict=True):
            for place, shift in enumerate(day):
                if any(shift.end - DAY > other.start for other in following):
                    self._wrong(f"{where}/{place}", "It overlaps a window of the next day.")

    def _day(self, value: Any, where: str) -> Day:
        shifts: list[Shift] = []
        for place, window in enumerate(self._list(value, where)):
            shift = self._shift(window, f"{where}/{place}")
            if shift is None:
                continue
            if any(shift.start < other.end and other.start < shift.end for other in shifts):
                self._wrong(f"{where}/{place}", "It overlaps another window of the day.")
            shifts.append(shift)
        return tuple(sorted(shift for shift in shifts if shift.capacity))

    def _shift(self, window: Any, where: str) -> Shift | None:
        if not isinstance(window, list | tuple) or len(window) not in (2, 3):
            self._wrong(where, 'A window is ["09:00", "17:00"], with its capacity as a third where that differs.')
            return None
        start, end = _clock(window[0]), _clock(window[1])
        if start is None or end is None or start == DAY:
            self._wrong(where, "A time of day is 00:00 to 23:59; 24:00 is an end only.")
            return None
        if start == end:
            self._wrong(where, "It ends where it begins; a whole day is 00:00 to 24:00.")
            return None
        capacity = WHOLE if len(window) == 2 or window[2] is None else window[2]
        if not isinstance(capacity, int) or isinstance(capacity, bool) or not 0 <= capacity <= WHOLE:
            self._wrong(f"{where}/2", "A capacity is a whole number from 0 on.")
            return None
        return Shift(start, end if end > start else end + DAY, capacity)

    def _breaks(self) -> Week:
        value = self._document.get("breaks")
        if not value:
            return ((),) * 7
        if isinstance(value, Mapping):
            return self._week(value, "/breaks")
        return (self._day(value, "/breaks"),) * 7

    def _exceptions(self) -> dict[int, Day]:
        found: dict[int, Day] = {}
        for place, item in enumerate(self._list(self._document.get("exceptions"), "/exceptions")):
            where = f"/exceptions/{place}"
            if not isinstance(item, Mapping):
                self._wrong(where, "It must be an object with a date and its hours.")
                continue
            day = self._date(item.get("date"), f"{where}/date")
            if day is not None and day in found:
                self._wrong(f"{where}/date", "There is another exception for this day.")
            hours = self._day(item.get("hours"), f"{where}/hours")
            if day is not None:
                found[day] = hours
        return found

    def _holidays(self) -> tuple[str | None, frozenset[int]]:
        value = self._document.get("holidays")
        if not value:
            return None, frozenset()
        if isinstance(value, str):
            try:
                check_country(value)
            except HolidaysMissingError as error:
                self._wrong("/holidays", str(error))
            return value, frozenset()
        days = [self._date(day, f"/holidays/{place}") for place, day in enumerate(self._list(value, "/holidays"))]
        return None, frozenset(day for day in days if day is not None)

    def _leave(self) -> tuple[tuple[Span, ...], tuple[tuple[int, int], ...]]:
        """Dates are whole days, the last one included; times are instants, the end excluded."""
        spans, days = [], []
        for place, item in enumerate(self._list(self._document.get("leave"), "/leave")):
            where = f"/leave/{place}"
            if isinstance(item, Mapping) and _is_date(item.get("from")) and _is_date(item.get("to")):
                first, last = self._date(item["from"], f"{where}/from"), self._date(item["to"], f"{where}/to")
                if first is not None and last is not None:
                    if last < first:
                        self._wrong(f"{where}/to", "It ends before it begins.")
                    days.append((first, last))
            elif (span := self._range(item, where)) is not None:
                spans.append(span)
        return tuple(spans), tuple(days)

    def _ranges(self, name: str) -> list[tuple[Span, str]]:
        items = self._list(self._document.get(name), f"/{name}")
        found = [(self._range(item, f"/{name}/{place}"), f"/{name}/{place}") for place, item in enumerate(items)]
        return [(span, where) for span, where in found if span is not None]

    def _range(self, item: Any, where: str) -> Span | None:
        if not isinstance(item, Mapping):
            self._wrong(where, "It must be an object with from and to.")
            return None
        start, end = self._instant(item.get("from"), f"{where}/from"), self._instant(item.get("to"), f"{where}/to")
        capacity = WHOLE if item.get("capacity") is None else item["capacity"]
        if not isinstance(capacity, int) or isinstance(capacity, bool) or not 1 <= capacity <= WHOLE:
            self._wrong(f"{where}/capacity", "A capacity is a whole number from 1 on.")
            return None
        if start is None or end is None:
            return None
        if end <= start:
            self._wrong(f"{where}/to", "It ends before it begins.")
            return None
        return Span(start, end, capacity)

    def _instant(self, value: Any, where: str) -> int | None:
        try:
            return micros(value if isinstance(value, datetime) else datetime.fromisoformat(value))
        except (ValueError, TypeError):
            self._wrong(where, "It must be a time with its zone, such as 2026-05-01T18:00:00+02:00.")
            return None

    def _date(self, value: Any, where: str) -> int | None:
        try:
            day = (value if isinstance(value, date) else date.fromisoformat(value)).toordinal()
            midnight(day)
        except (ValueError, TypeError):
            self._wrong(where, "It must be a date, such as 2026-12-25.")
            return None
        return day


def _is_date(value: Any) -> bool:
    return (isinstance(value, str) and len(value) == 10) or (
        isinstance(value, date) and not isinstance(value, datetime)
    )


def _clock(value: Any) -> int | None:
    """Microseconds after midnight."""
    if not isinstance(value, str) or len(value) != 5 or value[2] != ":":
        return None
    hours, minutes = value[:2], value[3:]
    if not (hours + minutes).isascii() or not (hours + minutes).isdigit():
        return None
    at = int(hours) * HOUR + int(minutes) * MINUTE
    return at if int(minutes) < 60 and at <= DAY else None
