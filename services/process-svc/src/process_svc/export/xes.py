"""XES 1.0 (IEEE 1849): a trace a case, with the extensions concept, time, lifecycle and organizational."""

import re
from collections.abc import Sequence
from typing import Final

from process_svc.domain.eventlog import Event

MEDIA: Final = "application/xml"
_EXTENSIONS: Final = (
    ("Concept", "concept"),
    ("Time", "time"),
    ("Lifecycle", "lifecycle"),
    ("Organizational", "org"),
)
_NO_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ESCAPES: Final = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}
)
_OWN: Final = ("command", "state", "outcome", "entity_type", "entity_id", "by", "reason")


class Xes:
    def __init__(self) -> None:
        self._case: str | None = None

    def head(self) -> str:
        extensions = "".join(
            f'<extension name="{name}" prefix="{prefix}" uri="http://www.xes-standard.org/{prefix}.xesext"/>\n'
            for name, prefix in _EXTENSIONS
        )
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            '<log xes.version="1.0" xes.features="" xmlns="http://www.xes-standard.org/">\n'
            f"{extensions}"
            f'<global scope="trace">{_text("concept:name", "UNKNOWN")}</global>\n'
            f'<global scope="event">{_text("concept:name", "UNKNOWN")}{_text("lifecycle:transition", "unknown")}'
            '<date key="time:timestamp" value="1970-01-01T00:00:00+00:00"/></global>\n'
            '<classifier name="Activity" keys="concept:name"/>\n'
            '<classifier name="Activity and lifecycle" keys="concept:name lifecycle:transition"/>\n'
            f"{_text('lifecycle:model', 'standard')}\n"
        )

    def events(self, some: Sequence[Event]) -> str:
        found = []
        for each in some:
            if each.case != self._case:
                end = "" if self._case is None else "</trace>\n"
                found.append(f"{end}<trace>{_text('concept:name', each.case)}\n")
                self._case = each.case
            found.append(_event(each))
        return "".join(found)

    def tail(self) -> str:
        return ("" if self._case is None else "</trace>\n") + "</log>\n"


def _event(each: Event) -> str:
    row = each.row
    own = "".join(_text(f"kernel:{name}", row[name]) for name in _OWN if row[name] is not None)
    return (
        f"<event>{_text('concept:name', each.activity)}{_text('concept:instance', each.instance)}"
        f'<date key="time:timestamp" value="{each.at.isoformat(timespec="milliseconds")}"/>'
        f"{_text('org:resource', each.resource)}{_text('lifecycle:transition', each.transition)}"
        f'<int key="kernel:pid" value="{row["pid"]}"/><int key="kernel:version" value="{row["version"]}"/>{own}</event>\n'
    )


def _text(key: str, value: str) -> str:
    return f'<string key="{key}" value="{_NO_XML.sub("", value).translate(_ESCAPES)}"/>'
