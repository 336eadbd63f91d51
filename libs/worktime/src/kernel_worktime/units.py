"""Instants and durations as whole microseconds."""

from datetime import MAXYEAR, MINYEAR, UTC, date, datetime, timedelta

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_DAY = date(1970, 1, 1).toordinal()
_MICROSECOND = timedelta(microseconds=1)


def micros(at: datetime) -> int:
    """An aware datetime as an instant; ValueError for a naive one."""
    if at.tzinfo is None:
        raise ValueError("a time without its zone is no instant")
    return (at - EPOCH) // _MICROSECOND


def moment(at: int) -> datetime:
    """An instant as a datetime in UTC; OverflowError beyond the years 1 to 9999."""
    return EPOCH + timedelta(microseconds=at)


def duration(of: timedelta) -> int:
    return of // _MICROSECOND


def midnight(day: int) -> int:
    """The wall clock's midnight at which a day (proleptic ordinal) begins, in microseconds as if its zone were UTC."""
    return (day - EPOCH_DAY) * DAY


def year_start(year: int) -> int:
    """The instant at which a year begins in UTC."""
    return midnight(date(year, 1, 1).toordinal())


def year_of(at: int) -> int:
    """In UTC; the first or the last one for what lies beyond all years."""
    try:
        return moment(at).year
    except OverflowError:
        return MINYEAR if at < 0 else MAXYEAR
