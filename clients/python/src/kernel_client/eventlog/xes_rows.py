"""Rows of an XES file (IEEE 1849), read as a stream, a trace at a time. Entities are refused: they can name files or blow up."""

import io
from collections.abc import Iterator
from typing import Any
from xml.parsers import expat

from kernel_client.eventlog.csv_rows import make_row
from kernel_client.eventlog.files import CUT_OFF
from kernel_client.eventlog.model import BadRows, LogError, Row

CHUNK = 1 << 16
LONGEST_TRACE = 1_000_000
ROLES = {
    "concept:name": "activity",
    "org:resource": "resource",
    "time:timestamp": "end",
    "lifecycle:transition": "transition",
    "concept:instance": "instance",
    "start_timestamp": "start",
    "case:concept:name": "case",
}
_CONTAINERS = ("trace", "event")


class XesRows:
    """Iterating gives the usable rows. Line numbers are those of the `event` elements."""

    def __init__(self, stream: io.BufferedReader, bad: BadRows) -> None:
        self._stream = stream
        self._bad = bad
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.EntityDeclHandler = _refuse_entity
        self._parser.ExternalEntityRefHandler = _refuse_reference
        self._path: list[str] = []
        self._trace = ""
        self._traces = 0
        self._events: list[tuple[int, dict[str, str]]] = []
        self._done: list[tuple[int, dict[str, str]]] = []
        self.columns = {role: key for key, role in ROLES.items() if role not in ("start", "case")}

    def __iter__(self) -> Iterator[Row]:
        whole = False
        while not whole:
            try:
                chunk = self._stream.read(CHUNK)
                whole = not chunk
                self._parser.Parse(chunk, whole)
            except CUT_OFF as error:
                self._bad.add(self._parser.CurrentLineNumber, f"the file is damaged from here on: {error}")
                whole = True
            except expat.ExpatError as error:
                self._bad.add(error.lineno, f"it is not well-formed from here on: {expat.ErrorString(error.code)}")
                whole = True
            for line, told in self._done:
                try:
                    yield make_row(line, told)
                except ValueError as error:
                    self._bad.add(line, str(error))
            self._done.clear()

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rpartition(" ")[2]
        parent = self._path[-1] if self._path else ""
        self._path.append(name)
        if name == "trace":
            self._traces += 1
            self._trace, self._events = f"trace {self._traces}", []
        elif name == "event":
            self._events.append((self._parser.CurrentLineNumber, {}))
            if len(self._events) > LONGEST_TRACE:
                raise LogError(f"a trace has more than {LONGEST_TRACE:,} events")
        elif parent in _CONTAINERS and "value" in attributes:
            self._attribute(parent, attributes.get("key", ""), attributes["value"])

    def _attribute(self, parent: str, key: str, value: str) -> None:
        if parent == "trace":
            if key == "concept:name" and value.strip():
                self._trace = value
        elif key in ROLES:
            self._events[-1][1][ROLES[key]] = value

    def _end(self, tag: str) -> None:
        name = self._path.pop()
        if name == "trace" or (name == "event" and "trace" not in self._path):
            self._done += [(line, {"case": self._trace, **told}) for line, told in self._events]
            self._trace, self._events = "", []


def _refuse_entity(*_: Any) -> None:
    raise LogError("the file declares XML entities; logs have no need of them, and they can do harm")


def _refuse_reference(*_: Any) -> int:
    raise LogError("the file refers to another file; that is not followed")
