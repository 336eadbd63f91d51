"""Rows of a CSV file, one at a time."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence

from kernel_client.eventlog import columns, values
from kernel_client.eventlog.files import Tolerant
from kernel_client.eventlog.model import BadRows, LogError, Row

DELIMITERS = ",;\t|"
LONGEST_FIELD = 1 << 20


class CsvRows:
    """Iterating gives the usable rows; `columns` says which was taken for what, once the header is read."""

    def __init__(self, stream: io.BufferedReader, bad: BadRows, wanted: Mapping[str, str]) -> None:
        self._source = Tolerant(stream)
        self._bad = bad
        text = io.TextIOWrapper(
            io.BufferedReader(self._source, 1 << 16), encoding="utf-8-sig", errors="surrogateescape", newline=""
        )
        first = text.readline()
        delimiter = max(DELIMITERS, key=first.count)
        header = [title.strip() for title in next(csv.reader([first], delimiter=delimiter), [])]
        if not any(header):
            raise LogError("the file has no header line")
        self._places = columns.find(header, wanted)
        self.columns = {role: header[place] for role, place in self._places.items()}
        self._width = len(header)
        csv.field_size_limit(LONGEST_FIELD)
        self._reader = csv.reader(text, delimiter=delimiter)

    def __iter__(self) -> Iterator[Row]:
        line = 1
        while True:
            first = line + 1
            try:
                fields = next(self._reader)
                line = self._reader.line_num + 1
                if fields:
                    yield self._row(first, fields)
            except StopIteration:
                break
            except csv.Error as error:
                line = self._reader.line_num + 1
                self._bad.add(first, str(error))
            except ValueError as error:
                self._bad.add(first, str(error))
        if self._source.broken:
            self._bad.add(line, self._source.broken)

    def _row(self, line: int, fields: Sequence[str]) -> Row:
        if len(fields) != self._width:
            raise ValueError(f"it has {len(fields)} fields, the header {self._width}")
        return make_row(line, {role: fields[place] for role, place in self._places.items()})


def make_row(line: int, told: Mapping[str, str]) -> Row:
    """A row of what a log says by role; raises ValueError with what is wrong."""
    parts = {}
    for role in ("case", "activity", "resource"):
        try:
            parts[role] = values.name(told.get(role, ""))
        except ValueError as error:
            raise ValueError(f"{role}: {error}") from None
        if not parts[role] and role != "resource":
            raise ValueError(f"no {role}")
    end = _time("end", told)
    start = _time("start", told)
    if end is None:
        raise ValueError("no time")
    if start is not None and start > end:
        raise ValueError("it ends before it starts")
    return Row(
        line,
        parts["case"],
        parts["activity"],
        parts["resource"] or None,
        end,
        start,
        told.get("transition", "").strip().lower() or "complete",
        told.get("instance") or None,
    )


def _time(role: str, told: Mapping[str, str]) -> float | None:
    text = told.get(role, "")
    if not text.strip():
        return None
    try:
        return values.time(text)
    except ValueError as error:
        raise ValueError(f"{role}: {error}") from None
