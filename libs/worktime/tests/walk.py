"""An independent, slow reference: what the wall clock shows at each minute, and whether that lies in a window."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)


def instant(text: str, zone: str = "UTC") -> int:
    """Microseconds of a wall-clock time; the first of two where it is ambiguous."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        at = at.replace(tzinfo=ZoneInfo(zone))
    return round(at.timestamp()) * 1_000_000


def minutes(start: datetime, end: datetime) -> Iterator[datetime]:
    while start < end:
        yield start
        start += MINUTE


def shows_open(at: datetime, zone: ZoneInfo, windows: Sequence[tuple[str, str]]) -> bool:
    """Windows are the same each day; one that ends before it begins goes on into the next day."""
    wall = at.astimezone(zone).replace(tzinfo=None)
    for begins in (wall.date(), wall.date() - timedelta(days=1)):
        for first, last in windows:
            start = datetime.combine(begins, time.fromisoformat(first))
            end = datetime.combine(begins, time()) + timedelta(hours=int(last[:2]), minutes=int(last[3:]))
            if end <= start:
                end += timedelta(days=1)
            if start <= wall < end:
                return True
    return False


def changes(zone: ZoneInfo, year: int) -> list[datetime]:
    """Hours of UTC after which the zone has another offset than before."""
    found = []
    at = datetime(year, 1, 1, tzinfo=UTC)
    before = at.astimezone(zone).utcoffset()
    while at.year == year:
        after = (at + timedelta(days=1)).astimezone(zone).utcoffset()
        if after != before:
            for hour in range(24):
                begin = at + timedelta(hours=hour)
                if (
                    begin.astimezone(zone).utcoffset()
                    != (begin + timedelta(hours=1, microseconds=-1)).astimezone(zone).utcoffset()
                    or begin.astimezone(zone).utcoffset()
                    != (begin - timedelta(microseconds=1)).astimezone(zone).utcoffset()
                ):
                    found.append(begin)
            before = after
        at += timedelta(days=1)
    return found


def day(text: str) -> date:
    return date.fromisoformat(text)
